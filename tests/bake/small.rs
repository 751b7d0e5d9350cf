//! The default image cut down to a few packages: enough for every stage to have its work, in a tenth of the time.
//!
//! The layers keep their names and actions, but those that run a command, which look for what the packages of the whole
//! image bring. There is a kernel, since a disk needs one, and no bundle.

use std::fs;
use std::path::Path;

/// Packages of the small layers.
const PACKAGES: [(&str, &str); 3] = [
    (
        "base",
        r#""e2fsprogs", "kmod", "linux-image-virtual", "systemd", "systemd-resolved", "systemd-sysv", "systemd-timesyncd", "udev""#,
    ),
    ("ceph", r#""jq", "less""#),
    ("docker", DOCKER),
];

/// What the small layer `docker` asks for.
pub(crate) const DOCKER: &str = r#""bc", "ed""#;

/// A `run` step of the small layer `docker`, which says what it sees.
const RUN: &str = r#"
[[action]]
run = { command = ["sh", "-c", "echo $(id -u) $(uname -n) $HOME $(umask) $(pwd) $(ls -A /run /tmp | wc -w) > /etc/ran"] }
"#;

/// Cuts the project in `root` down.
pub(crate) fn shrink(root: &Path) {
    for (layer, packages) in PACKAGES {
        let path = root.join(format!("layers/{layer}/layer.toml"));
        let text = fs::read_to_string(&path).unwrap();
        let (head, rest) = text.split_once("[packages]").unwrap();
        let (_, actions) = rest.split_once("\n\n").unwrap();
        let (start, actions) = actions.split_once("[[action]]").unwrap_or((actions, ""));
        let kept: Vec<&str> = actions.split("[[action]]").filter(|action| !action.contains("\nrun = ")).collect();
        let more = if layer == "docker" { RUN } else { "" };
        let kept = if kept.is_empty() { String::new() } else { format!("[[action]]{}", kept.join("[[action]]")) };
        fs::write(&path, format!("{head}[packages]\ndefault = [{packages}]\n\n{start}{kept}{more}")).unwrap();
    }
    let path = root.join("images/harbor-node.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once("[harbor]").unwrap();
    let (_, tail) = rest.split_once("[base]").unwrap();
    fs::write(&path, format!("{head}[base]{tail}").replace("\"harbor\", ", "")).unwrap();
    disk(root);
}

/// Makes the disk of the project in `root` smaller than one for people: its raw form is read from end to end.
pub(crate) fn disk(root: &Path) {
    let path = root.join("images/harbor-node.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"8GiB\""));
    fs::write(&path, text.replace("\"8GiB\"", "\"1GiB\"")).unwrap();
}
