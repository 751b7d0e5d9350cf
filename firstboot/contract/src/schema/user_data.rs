//! cloud-init user-data that carries a node config: written for one, and looked into.
//!
//! What cloud-init itself accepts is wider. Here it is told what would keep the node config from reaching the node, or
//! make cloud-init report a degraded boot: an unknown top-level key, an entry that is written too late or not at all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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

/// Reads user-data, or says everything that is wrong with it and with the node config in it.
///
/// # Errors
/// At least one problem.
pub fn check_user_data(text: &str) -> Result<UserData, Vec<Problem>> {
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
    for entry in entries {
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
    if config.is_none() {
        let doubt =
            Mistake::new(format!("delivers no node config: no entry of write_files has the path {NODE_CONFIG}"));
        let doubt = doubt.hint("habuild user-data NODE.yaml writes one");
        warnings.push(Problem::new(Place { line: 1, column: 1 }, "", doubt));
    }
    if text.len() > SMALLEST_LIMIT {
        let doubt = format!("is {} bytes long, and some clouds take {SMALLEST_LIMIT} at most", text.len());
        warnings.push(Problem::new(Place { line: 1, column: 1 }, "", doubt));
    }
    problems.sort();
    warnings.sort();
    if problems.is_empty() { Ok(UserData { config: config.flatten(), warnings }) } else { Err(problems) }
}

fn not_cloud_config(text: &str, first: &str) -> Mistake {
    if text.trim().is_empty() {
        return Mistake::new("is empty").hint("habuild user-data NODE.yaml writes user-data for a node config");
    }
    if first.starts_with("Content-Type:") || first.starts_with("MIME-Version:") {
        return Mistake::new("is a multi-part archive").hint("check its cloud-config part by itself");
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
        Some("b64" | "base64") => match decode_base64(inner) {
            Some(inner) => (inner, None),
            None => {
                note(Some(content), "content", Mistake::new("is not base64 of UTF-8 text"));
                return None;
            }
        },
        Some(_) => {
            let refusal = Mistake::new("cannot be looked into here").hint("give the content as plain text, or as b64");
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
            Some(config)
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
fn decode_base64(text: &str) -> Option<String> {
    let bytes: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    String::from_utf8(STANDARD.decode(bytes).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "# mine\nversion: 1\ncluster: hub\nharbor: {external_url: http://hub.example.com, admin_password: x1}\n\
                        storage:\n  local: {path: /srv/share}\n\nredis: {host: redis}\n\
                        database: {kind: mysql, host: db, user: harbor, password: x2}\n";

    fn problems(text: &str) -> Vec<String> {
        check_user_data(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let text = user_data(NODE).unwrap();
        assert!(text.starts_with("#cloud-config\nwrite_files:\n  - path: /etc/habuild/node.yaml\n"), "{text}");
        assert_eq!(check_user_data(&text).unwrap().config.unwrap().cluster, "hub");
        assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
        let indented: String = NODE.lines().map(|line| format!("  {line}\n")).collect();
        assert_eq!(check_user_data(&user_data(&indented).unwrap()).unwrap().config.unwrap().cluster, "hub");
        assert!(user_data("version: 1\n").is_err());
    }

    #[test]
    fn problems_are_where_they_stand() {
        let text =
            user_data(NODE).unwrap().replace("cluster: hub", "clustre: hub").replace("path: /srv/share", "path: x");
        let found = problems(&text);
        assert_eq!(found.len(), 2, "{found:?}");
        let line = |needle: &str| text.lines().position(|line| line.contains(needle)).unwrap() + 1;
        assert!(found[0].starts_with(&format!("{}:7: clustre: unknown key", line("clustre"))), "{found:?}");
        let column = text.lines().find_map(|line| line.find("path: x}")).unwrap() + "path: ".len() + 1;
        let expected = format!("{}:{column}: storage.local.path: ", line("path: x}"));
        assert!(found[1].starts_with(&expected), "{found:?}");
    }

    #[test]
    fn what_would_not_reach_the_node() {
        let good = user_data(NODE).unwrap();
        for (text, expected) in [
            ("", "is empty"),
            ("#!/bin/sh\n", "is a script"),
            ("Content-Type: multipart/mixed\n", "multi-part"),
            ("version: 1\n", "does not begin with #cloud-config"),
            ("#cloud-config\n- a\n", "must be a map"),
            (&good.replace("write_files", "write_file"), "did you mean \"write_files\"?"),
            (&good.replace("    owner", "    defer: true\n    owner"), "write_files[0].defer: writes the file after"),
            (&good.replace("    owner", "    encoding: gz+b64\n    owner"), "cannot be looked into here"),
            (&good.replace("    owner", "    encoding: b64\n    owner"), "is not base64"),
        ] {
            let found = problems(text);
            assert!(found.first().is_some_and(|problem| problem.contains(expected)), "{text}: {found:?}");
        }
        let bomb = format!("#cloud-config\n{}", "[".repeat(64 * 1024));
        assert_eq!(problems(&bomb).len(), 1);
    }

    #[test]
    fn what_is_doubtful() {
        let good = user_data(NODE).unwrap();
        let doubts = |text: &str| -> Vec<String> {
            check_user_data(text).unwrap().warnings.iter().map(ToString::to_string).collect()
        };
        let open = doubts(&good.replace("'0600'", "'0644'"));
        assert!(open.iter().any(|doubt| doubt.contains("write_files[0].permissions: lets others read it")), "{open:?}");
        let none = doubts("#cloud-config\nhostname: x\n");
        assert!(none[0].contains("delivers no node config"), "{none:?}");
    }

    #[test]
    fn base64() {
        let text = "#cloud-config\nwrite_files:\n- {path: /etc/habuild/node.yaml, permissions: '0600', encoding: b64, content: dmVyc2lvbjogMQo=}\n";
        let found = problems(text);
        assert!(
            found.iter().any(|problem| problem.contains("cluster: is missing (line 1 of the node config)")),
            "{found:?}"
        );
    }

    #[test]
    fn base64_that_cloud_init_would_not_read() {
        assert_eq!(decode_base64("Pz8+\n Pj4=\n").as_deref(), Some("??>>>"));
        // The alphabet of URLs, and a padding that is not there: cloud-init drops the one and stops at the other.
        assert_eq!(decode_base64("Pz8-Pj4="), None);
        assert_eq!(decode_base64("Pj4"), None);
    }
}
