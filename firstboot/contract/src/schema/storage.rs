//! `storage`: where the images lie, and how the share is mounted.

use serde::{Serialize, Serializer};

use super::decode::{Decoder, Field};
use super::secret::SecretValue;
use crate::strict::url::authority;
use crate::strict::{Mistake, unless_secret};

/// Where the images lie.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// A directory of a CephFS that every node mounts.
    Cephfs(Cephfs),
    /// A directory of this node, to try things out: nothing is shared.
    Local(Local),
}

/// A share on CephFS.
#[derive(Debug, Clone, Serialize)]
pub struct Cephfs {
    /// At least one, in the order given.
    pub monitors: Vec<Monitor>,
    /// The directory of the file system that is mounted.
    pub path: String,
    /// The file system's name; none: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_name: Option<String>,
    /// Where the node mounts it.
    pub mountpoint: String,
    /// The client's name without `client.`.
    pub client: String,
    /// The client's key.
    pub secret: SecretValue,
    /// Further mount options, none of which the agent sets itself.
    pub options: Vec<String>,
}

/// A directory of this node.
#[derive(Debug, Clone, Serialize)]
pub struct Local {
    /// Which.
    pub path: String,
}

/// A Ceph monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// Name, IPv4 address, or IPv6 address in brackets.
    pub host: String,
    /// The port; none: Ceph's own (3300 for protocol v2, 6789 for v1).
    pub port: Option<u16>,
}

impl std::fmt::Display for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Serialize for Monitor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Storage {
    /// The word that names it in the node config.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cephfs(_) => "cephfs",
            Self::Local(_) => "local",
        }
    }

    pub(super) fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let fields = d.fields(field, &["cephfs", "local"])?;
        let cephfs = d.maybe(&fields, "cephfs", Cephfs::decode);
        let local = d.maybe(&fields, "local", Local::decode);
        match (fields.has("cephfs"), fields.has("local")) {
            (true, false) => cephfs?.map(Self::Cephfs),
            (false, true) => local?.map(Self::Local),
            (true, true) => {
                d.note(field.at, &field.key, Mistake::new("has both cephfs and local").hint("leave one of them out"));
                None
            }
            (false, false) => {
                d.note(field.at, &field.key, "needs one of cephfs, local");
                None
            }
        }
    }
}

impl Cephfs {
    fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let known = ["monitors", "path", "fs_name", "mountpoint", "client", "secret", "options"];
        let fields = d.fields(field, &known)?;
        let monitors = d.need(&fields, "monitors", |d, f| {
            let monitors = d.list_of(f, monitor)?;
            if monitors.is_empty() { d.refuse(f, "must name at least one monitor") } else { Some(monitors) }
        });
        let path = d.need(&fields, "path", |d, f| d.parsed(f, ceph_path));
        let fs_name = d.maybe(&fields, "fs_name", |d, f| d.parsed(f, |text| ceph_word(text, "a file system's name")));
        let default = || "/mnt/cephfs/harbor".to_owned();
        let mountpoint = d.or(&fields, "mountpoint", default(), |d, f| d.parsed(f, |text| place(text, false)));
        let client = d.need(&fields, "client", |d, f| d.parsed(f, client));
        let secret = d.need(&fields, "secret", Decoder::secret);
        let options = d.or(&fields, "options", vec!["noatime".to_owned()], |d, f| d.list_of(f, option));
        Some(Self {
            monitors: monitors?,
            path: path?,
            fs_name: fs_name?,
            mountpoint: mountpoint?,
            client: client?,
            secret: secret?,
            options: options?,
        })
    }
}

impl Local {
    fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let fields = d.fields(field, &["path"])?;
        let path = d.need(&fields, "path", |d, f| d.parsed(f, |text| place(text, true)));
        Some(Self { path: path? })
    }
}

fn monitor(text: &str) -> Result<Monitor, Mistake> {
    if text.starts_with("v1:") || text.starts_with("v2:") || text.starts_with("[v") {
        return Err(Mistake::new("must be HOST:PORT").hint("leave v1: or v2: out; port 3300 speaks v2, 6789 v1"));
    }
    if text.contains([',', ';']) {
        return Err(Mistake::new("holds several monitors").hint("give each its own item of the list"));
    }
    if text.contains("://") || text.contains('/') {
        return Err(Mistake::new("must be HOST:PORT, without scheme or path"));
    }
    authority(text).map(|(host, port)| Monitor { host, port })
}

fn clean(text: &str) -> Result<(), Mistake> {
    if !text.starts_with('/') {
        return Err(Mistake::new("must be an absolute path"));
    }
    if text.len() > 1 && text.ends_with('/') {
        return Err(Mistake::new("must not end with /"));
    }
    if text.contains("//") || text.split('/').any(|part| part == "." || part == "..") {
        return Err(Mistake::new("must be a clean path, without //, . and .."));
    }
    // fstab, systemd and Compose each escape other characters in their own way; none of them needs to for these.
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@".contains(c)) {
        return Err(Mistake::new("holds a character that fstab or Compose would misread")
            .hint("use letters, digits and . _ - + @"));
    }
    Ok(())
}

fn ceph_path(text: &str) -> Result<String, Mistake> {
    clean(text)?;
    Ok(text.to_owned())
}

/// What must not be mounted over, nor be inside the share.
const TAKEN: [&str; 13] = [
    "/var/lib/habuild",
    "/var/lib/harbor",
    "/var/lib/harbor/database",
    "/var/lib/harbor/redis",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/cloud",
    "/var/lib/systemd",
    "/var/lib/dpkg",
    "/var/log",
    "/var/cache",
    "/var/tmp",
    "/var/run",
];

/// A directory that the node may mount on or keep images in. Only what lies on the state partition can be made.
fn place(text: &str, local: bool) -> Result<String, Mistake> {
    clean(text)?;
    let below = |root: &str| text.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    if !["/mnt", "/srv", "/var"].into_iter().any(below) {
        return Err(Mistake::new("must lie below /mnt, /srv or /var: the rest of the node cannot be written"));
    }
    for taken in TAKEN {
        let inside = text == taken || below(taken);
        let around = taken.strip_prefix(text).is_some_and(|rest| rest.starts_with('/'));
        if around || inside && !(local && taken == "/var/lib/harbor" && text != taken) {
            return Err(Mistake::new(format!("collides with {taken}, which the node needs itself")));
        }
    }
    Ok(text.to_owned())
}

fn ceph_word(text: &str, what: &str) -> Result<String, Mistake> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.is_empty() || text.len() > 128 || !text.chars().all(plain) || text.starts_with('-') {
        return Err(Mistake::new(format!("must be {what}: letters, digits and . _ -")));
    }
    Ok(text.to_owned())
}

fn client(text: &str) -> Result<String, Mistake> {
    match text.strip_prefix("client.") {
        Some(_) => Err(Mistake::new("must be the name without client.")),
        None => ceph_word(text, "a Ceph client's name"),
    }
}

/// Options that the agent sets itself, or that would break the node, and why.
fn refusal(name: &str) -> Option<Mistake> {
    Some(match name {
        "secret" => Mistake::new("would show the key on a command line").hint("use storage.cephfs.secret"),
        "secretfile" | "keyring" => Mistake::new("is set by habuild").hint("use storage.cephfs.secret"),
        "name" => Mistake::new("is set by habuild").hint("use storage.cephfs.client"),
        "fs" | "mds_namespace" => Mistake::new("is set by habuild").hint("use storage.cephfs.fs_name"),
        "mon_addr" => Mistake::new("is set by habuild").hint("use storage.cephfs.monitors"),
        "ro" => Mistake::new("would make the share read-only, and Harbor writes"),
        "noauto" | "auto" | "nofail" | "_netdev" | "bg" => {
            Mistake::new("is decided by habuild, which mounts in its own order")
        }
        "user" | "users" | "owner" | "group" => Mistake::new("would let others unmount the share"),
        name if name.starts_with("x-systemd.") => Mistake::new("is decided by habuild, which mounts in its own order"),
        _ => return None,
    })
}

/// Options of the kernel's client that are known to be harmless.
pub(super) const KNOWN_OPTIONS: [&str; 42] = [
    "acl",
    "asyncreaddir",
    "caps_max",
    "caps_wanted_delay_max",
    "caps_wanted_delay_min",
    "cephx_require_signatures",
    "cephx_sign_messages",
    "conf",
    "copyfrom",
    "crc",
    "crush_location",
    "dcache",
    "defaults",
    "dirstat",
    "fsc",
    "fsid",
    "ino32",
    "lazytime",
    "mount_timeout",
    "ms_mode",
    "noacl",
    "noasyncreaddir",
    "noatime",
    "nocopyfrom",
    "nocrc",
    "nodcache",
    "nodev",
    "nodiratime",
    "noexec",
    "norbytes",
    "norequire_active_mds",
    "noshare",
    "nosuid",
    "nowsync",
    "quotadf",
    "noquotadf",
    "rasize",
    "rbytes",
    "read_from_replica",
    "relatime",
    "rsize",
    "wsize",
];

fn option(text: &str) -> Result<String, Mistake> {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    if let Some(refusal) = refusal(name) {
        return Err(Mistake {
            message: format!("option {} {}", unless_secret(name), refusal.message),
            hint: refusal.hint,
        });
    }
    if text.contains(',') {
        return Err(Mistake::new("holds several options").hint("give each its own item of the list"));
    }
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || "\\\"'#".contains(c)) {
        return Err(Mistake::new("is not a mount option"));
    }
    Ok(text.to_owned())
}

/// What is odd about an option that is let through.
pub(super) fn option_doubt(text: &str) -> Option<Mistake> {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    if KNOWN_OPTIONS.contains(&name) || ["wsync", "readdir_max_bytes", "readdir_max_entries"].contains(&name) {
        return None;
    }
    let doubt = Mistake::new(format!(
        "option {} is not known, and the kernel refuses a mount with a wrong one",
        unless_secret(name)
    ));
    Some(doubt.perhaps(name, KNOWN_OPTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitors() {
        for text in ["10.0.0.11:6789", "10.0.0.11", "mon.internal:3300", "[fd00::1]:6789", "[fd00::1]"] {
            assert_eq!(monitor(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            ":6789",
            "fd00::1",
            "[fd00::1",
            "[x]:1",
            "a:0",
            "a:65536",
            "a:+1",
            "v2:a:1",
            "[v2:a:1,v1:a:2]",
            "a,b",
            "a/b",
        ] {
            assert!(monitor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn places() {
        let cases = [
            ("/mnt/cephfs/harbor", true, true),
            ("/srv/x", true, true),
            ("/var/lib/harbor/share", false, true),
            ("/var/lib/harbor", false, false),
            ("/var/lib/harbor-share", true, true),
            ("/var/lib/docker/x", false, false),
            ("/var/lib", false, false),
            ("/mnt", false, false),
            ("/mntx/a", false, false),
            ("/opt/x", false, false),
            ("mnt/x", false, false),
            ("/mnt/x/", false, false),
            ("/mnt//x", false, false),
            ("/mnt/../etc", false, false),
            ("/mnt/a b", false, false),
            ("/mnt/a:b", false, false),
        ];
        for (text, mountpoint, local) in cases {
            assert_eq!((place(text, false).is_ok(), place(text, true).is_ok()), (mountpoint, local), "{text}");
        }
    }

    #[test]
    fn options_that_break_a_node_are_refused_without_their_value() {
        for text in
            ["secret=s3cret", "name=s3cret", "secretfile=/s3cret", "ro", "nofail", "_netdev", "x-systemd.automount"]
        {
            let refusal = option(text).unwrap_err();
            assert!(!format!("{refusal:?}").contains("s3cret"), "{refusal:?}");
        }
        for text in ["noatime", "ms_mode=prefer-crc", "wsize=65536", "read_from_replica=localize"] {
            assert_eq!(option(text).unwrap(), text);
            assert_eq!(option_doubt(text), None, "{text}");
        }
        assert!(option_doubt("noatme").unwrap().hint.unwrap().contains("noatime"));
    }
}
