//! cloud-init user-data that carries a node config: written for one, and looked into.
//!
//! What cloud-init itself accepts is wider. Here it is told what would keep the node config from reaching the node, or
//! make cloud-init report a degraded boot: an unknown top-level key, an entry that is written too late or not at all.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;

use super::{NodeConfig, parse};
use crate::strict::{Mistake, Node, Place, Problem, Value, yaml};

/// Where the node config is delivered to.
pub const NODE_CONFIG: &str = "/etc/habuild/node.yaml";

/// The most that every cloud takes (EC2: 16 KiB, before base64).
const SMALLEST_LIMIT: usize = 16 * 1024;

const HEADER: &str = "#cloud-config";

/// Top-level keys of cloud-init 26.2 (`schema-cloud-config-v1.json`), and those that its schema leaves to datasources.
const KEYS: &str = "allow_public_ssh_keys ansible apk_repos apt apt_pipelining apt_reboot_if_required apt_update \
    apt_upgrade authkey_hash autoinstall bootcmd byobu_by_default ca-certs ca_certs chef chpasswd cloud_config_modules \
    cloud_final_modules cloud_init_modules create_hostname_file datasource datasource_list device_aliases \
    disable_ec2_metadata disable_root disable_root_opts disk_setup drivers fan final_message fqdn fs_setup groups \
    growpart grub-dpkg grub_dpkg hostname keyboard landscape launch-index locale locale_configfile lxd manage_etc_hosts \
    manage_resolv_conf mcollective merge_how merge_type migrate mount_default_fields mounts no_ssh_fingerprints ntp \
    output package_reboot_if_required package_update package_upgrade packages password phone_home power_state \
    prefer_fqdn_over_hostname preserve_hostname puppet random_seed reporting resize_rootfs resolv_conf rh_subscription \
    rpi rsyslog runcmd salt_minion snap spacewalk ssh ssh_authorized_keys ssh_deletekeys ssh_fp_console_blacklist \
    ssh_genkeytypes ssh_import_id ssh_key_console_blacklist ssh_keys ssh_publish_hostkeys ssh_pwauth ssh_quiet_keygen \
    swap system_info timezone ubuntu_advantage ubuntu_pro updates user users vendor_data version wireguard write_files \
    yum_repo_dir yum_repos zypper";

/// What user-data says about the node, and what is worth knowing about it.
#[derive(Debug)]
pub struct UserData {
    /// The node config in it, if it has one.
    pub config: Option<NodeConfig>,
    /// Whether it has `write_files`, which takes the place of an earlier part's.
    pub writes_files: bool,
    /// Whether it says itself how it is merged with earlier parts.
    pub merges: bool,
    /// Doubts, in the order of the text.
    pub warnings: Vec<Problem>,
}

/// The user-data that delivers a node config.
///
/// # Errors
/// What is wrong with the node config.
pub fn user_data(node_config: &str) -> Result<String, Vec<Problem>> {
    parse(node_config)?;
    let mut text = format!(
        "{HEADER}\nwrite_files:\n  - path: {NODE_CONFIG}\n    owner: root:root\n    permissions: '0600'\n    content: |\n"
    );
    for line in node_config.trim_end().lines() {
        if !line.trim_end().is_empty() {
            text.push_str("      ");
            text.push_str(line.trim_end());
        }
        text.push('\n');
    }
    // A node config that begins with a space would be taken for deeper indented; what is read must be what was given.
    match check_user_data(&text) {
        Ok(found) if found.config.is_some() => Ok(text),
        Ok(_) => Err(vec![Problem::new(Place::default(), "", "cannot be put into user-data")]),
        Err(problems) => Err(problems),
    }
}

/// Reads user-data that is one cloud-config, or says everything that is wrong with it and with the node config in it.
///
/// # Errors
/// At least one problem.
pub fn check_user_data(text: &str) -> Result<UserData, Vec<Problem>> {
    let mut found = check_cloud_config(text)?;
    if found.config.is_none() {
        found.warnings.push(Problem::new(Place { line: 1, column: 1 }, "", no_node_config()));
    }
    found.warnings.extend(too_long(text.len()).map(|doubt| Problem::new(Place { line: 1, column: 1 }, "", doubt)));
    found.warnings.sort();
    Ok(found)
}

/// What is said of user-data without a node config.
#[must_use]
pub fn no_node_config() -> Mistake {
    Mistake::new(format!("delivers no node config: no entry of write_files has the path {NODE_CONFIG}"))
        .hint("habuild user-data NODE.yaml writes one")
}

/// What is said of user-data of that many bytes, as a cloud gets it.
#[must_use]
pub fn too_long(length: usize) -> Option<Mistake> {
    let message = format!("is {length} bytes long, and some clouds take {SMALLEST_LIMIT} at most");
    (length > SMALLEST_LIMIT).then(|| Mistake::new(message).hint("compress it: gzip --best"))
}

/// Reads one cloud-config, which may be a part of user-data, or says everything that is wrong with it.
///
/// # Errors
/// At least one problem.
pub fn check_cloud_config(text: &str) -> Result<UserData, Vec<Problem>> {
    let whole = |refusal: Mistake| vec![Problem::new(Place { line: 1, column: 1 }, "", refusal)];
    let first = text.lines().next().unwrap_or_default().trim_end();
    if first != HEADER {
        return Err(whole(not_cloud_config(text, first)));
    }
    // Comments alone are a config for cloud-init, and one that says nothing.
    let root = yaml::read(text).map_err(|problem| vec![problem])?;
    let Value::Map(entries) = &root.value else {
        return Err(vec![Problem::new(root.place, "", "must be a map of cloud-init's keys")]);
    };
    let (mut problems, mut warnings, mut config) = (Vec::new(), Vec::new(), None);
    let known: Vec<&str> = KEYS.split_whitespace().collect();
    for (i, entry) in entries.iter().enumerate() {
        if entries.iter().take(i).any(|earlier| earlier.key == entry.key) {
            let refusal = Mistake::new("is given twice, and cloud-init keeps the last one only");
            problems.push(Problem::new(entry.place, &entry.key, refusal.hint("put both into one")));
        }
        if !known.contains(&entry.key.as_str()) {
            let refusal = Mistake::new("is no key of cloud-init, which then reports a degraded boot");
            let refusal = refusal.perhaps(&entry.key, known.iter().copied());
            problems.push(Problem::new(entry.place, &entry.key, refusal));
        }
    }
    let files = entries.iter().filter(|entry| entry.key == "write_files");
    for (i, file) in files.flat_map(|entry| list(&entry.node)).enumerate() {
        let fields = Fields::of(file);
        if fields.text("path") != Some(NODE_CONFIG) {
            continue;
        }
        let key = format!("write_files[{i}]");
        if config.is_some() {
            problems.push(Problem::new(file.place, &key, format!("writes {NODE_CONFIG} a second time")));
        }
        config = Some(delivered(text, file, &fields, &key, &mut problems, &mut warnings));
    }
    problems.sort();
    warnings.sort();
    if !problems.is_empty() {
        return Err(problems);
    }
    let has = |key: &str| root.entry(key).is_some();
    let (writes_files, merges) = (has("write_files"), has("merge_how") || has("merge_type"));
    Ok(UserData { config: config.flatten(), writes_files, merges, warnings })
}

fn not_cloud_config(text: &str, first: &str) -> Mistake {
    if text.trim().is_empty() {
        return Mistake::new("is empty").hint("habuild user-data NODE.yaml writes user-data for a node config");
    }
    if first.starts_with("#!") {
        return Mistake::new("is a script, and delivers no node config")
            .hint(format!("user-data begins with {HEADER}"));
    }
    Mistake::new(format!("does not begin with {HEADER}")).hint("cloud-init takes it for nothing that it knows")
}

/// The node config of one entry of `write_files`; problems in it are placed in the user-data where its lines are.
fn delivered(
    text: &str,
    file: &Node,
    fields: &Fields<'_>,
    key: &str,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Option<NodeConfig> {
    let mut note = |node: Option<&Node>, name: &str, refusal: Mistake| {
        let place = node.map_or(file.place, |node| node.place);
        problems.push(Problem::new(place, &format!("{key}.{name}"), refusal));
    };
    if fields.text("defer").is_some_and(|word| matches!(word, "true" | "yes" | "on" | "True")) {
        let refusal = Mistake::new("writes the file after the node has looked for it").hint("leave defer out");
        note(fields.get("defer"), "defer", refusal);
    }
    if fields.text("append").is_some_and(|word| matches!(word, "true" | "yes" | "on" | "True")) {
        note(
            fields.get("append"),
            "append",
            Mistake::new("adds to the file at each new instance").hint("leave append out"),
        );
    }
    match fields.text("permissions") {
        Some("0600" | "0o600" | "0400") => {}
        Some(_) => {
            let doubt = Mistake::new("lets others read it, or is no mode").hint("write permissions: '0600'");
            let place = fields.get("permissions").map_or(file.place, |node| node.place);
            warnings.push(Problem::new(place, &format!("{key}.permissions"), doubt));
        }
        None => {
            let doubt = Mistake::new("is missing: others may read it").hint("write permissions: '0600'");
            warnings.push(Problem::new(file.place, &format!("{key}.permissions"), doubt));
        }
    }
    let Some(content) = fields.get("content") else {
        note(None, "content", Mistake::new("is missing"));
        return None;
    };
    let Value::Scalar { text: inner, .. } = &content.value else {
        note(Some(content), "content", Mistake::new("must be text"));
        return None;
    };
    let (inner, block) = match fields.text("encoding") {
        None | Some("text/plain") => (inner.clone(), Block::find(text, content.place)),
        Some("b64" | "base64") => match decode_base64(inner).and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(inner) => (inner, None),
            None => {
                note(Some(content), "content", Mistake::new("is not base64 of UTF-8 text"));
                return None;
            }
        },
        Some("gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64") => match decode_base64(inner).and_then(inflated) {
            Some(inner) => (inner, None),
            None => {
                note(Some(content), "content", Mistake::new("is not base64 of compressed UTF-8 text"));
                return None;
            }
        },
        Some(_) => {
            let refusal =
                Mistake::new("cannot be looked into here").hint("give the content as plain text, as b64, or as gz+b64");
            note(fields.get("encoding"), "encoding", refusal);
            return None;
        }
    };
    let placed = |problem: Problem| match &block {
        Some(block) => block.placed(problem),
        None => {
            let message = match problem.line {
                0 => problem.message,
                line => format!("{} (line {line} of the node config)", problem.message),
            };
            Problem { line: content.place.line, column: content.place.column, message, ..problem }
        }
    };
    match parse(&inner) {
        Ok(config) => {
            warnings.extend(super::warnings(&config).into_iter().map(placed));
            Some(config.moved(placed))
        }
        Err(found) => {
            problems.extend(found.into_iter().map(placed));
            None
        }
    }
}

/// A literal block: where its lines are in the text around it.
struct Block {
    /// The line of the `|`.
    line: usize,
    indent: usize,
}

impl Block {
    /// The parser places a block at its first line; the `|` is at the end of the line above.
    fn find(text: &str, place: Place) -> Option<Self> {
        let above = text.lines().enumerate().take(place.line.saturating_sub(1));
        let (line, opener) = above.filter(|(_, line)| !line.trim().is_empty()).last()?;
        let marker = opener.rsplit(' ').next()?;
        if !matches!(marker, "|" | "|-" | "|+") {
            return None;
        }
        let inner = text.lines().skip(line + 1).find(|line| !line.trim().is_empty())?;
        Some(Self { line: line + 1, indent: inner.len() - inner.trim_start_matches(' ').len() })
    }

    fn placed(&self, problem: Problem) -> Problem {
        match problem.line {
            0 => Problem { line: self.line, column: 1, ..problem },
            line => Problem { line: self.line + line, column: self.indent + problem.column, ..problem },
        }
    }
}

/// A map's entries, for looking only.
struct Fields<'t>(Vec<(&'t str, &'t Node)>);

impl<'t> Fields<'t> {
    fn of(node: &'t Node) -> Self {
        match &node.value {
            Value::Map(entries) => Self(entries.iter().map(|entry| (entry.key.as_str(), &entry.node)).collect()),
            _ => Self(Vec::new()),
        }
    }

    fn get(&self, name: &str) -> Option<&'t Node> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, node)| *node)
    }

    fn text(&self, name: &str) -> Option<&'t str> {
        match &self.get(name)?.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

fn list(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => &[],
    }
}

/// Base64 as cloud-init reads it (Python's `b64decode`): the standard alphabet, padded, with line breaks as they come.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(bytes).ok()
}

/// The text in a gzip file; none when it is longer than a node config may be.
fn inflated(bytes: Vec<u8>) -> Option<String> {
    let mut text = String::new();
    let most = yaml::SIZE_LIMIT as u64 + 1;
    GzDecoder::new(bytes.as_slice()).take(most).read_to_string(&mut text).ok()?;
    (text.len() <= yaml::SIZE_LIMIT).then_some(text)
}

#[cfg(test)]
#[path = "user_data_tests.rs"]
mod tests;
