//! Looks at the finished root before it becomes a disk: what must not be in an image that everyone boots.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use super::places;
use crate::bake::rootfs::Rootfs;

/// One look at the root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lint {
    /// Its name.
    pub name: &'static str,
    /// What it holds, for `habuild check --list`.
    pub description: &'static str,
    /// Gives what it found; the outer error is that it could not look.
    pub look: fn(&Rootfs) -> Result<Vec<String>>,
}

/// Every lint, in the order of `habuild check --list`.
pub(crate) const LINTS: [Lint; 9] = [
    Lint { name: "host-keys", description: "no ssh host key: each node makes its own", look: host_keys },
    Lint {
        name: "machine-id",
        description: "/etc/machine-id is there and empty: each node gets its own",
        look: machine_id,
    },
    Lint { name: "package-lists", description: "no package lists or package files", look: package_lists },
    Lint { name: "logs", description: "no file in /var/log", look: logs },
    Lint { name: "passwords", description: "no account has a password, none can log in without one", look: passwords },
    Lint { name: "secrets", description: "no private key and no Ceph key", look: secrets },
    Lint {
        name: "host-traces",
        description: "nothing of the build's host: resolver, host name, shell history",
        look: host_traces,
    },
    Lint {
        name: "places",
        description: "writable places are as designed: /home, /root, /srv, /mnt lead into /var, /boot is empty; everyone may enter /",
        look: writable_places,
    },
    Lint {
        name: "boot-units",
        description: "nothing waits for a person at the first boot; /var grows",
        look: boot_units,
    },
];

/// Runs every lint; gives what was found as `name: words`.
pub(crate) fn run(root: &Rootfs) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for lint in LINTS {
        let words = (lint.look)(root).with_context(|| format!("lint {} could not look", lint.name))?;
        found.extend(words.into_iter().map(|words| format!("{}: {words}", lint.name)));
    }
    Ok(found)
}

fn host_keys(root: &Rootfs) -> Result<Vec<String>> {
    let names = root.list("/etc/ssh")?;
    Ok(names.into_iter().filter(|name| name.starts_with("ssh_host_")).map(|name| format!("/etc/ssh/{name}")).collect())
}

fn machine_id(root: &Rootfs) -> Result<Vec<String>> {
    Ok(match root.read("/etc/machine-id")? {
        None => vec!["/etc/machine-id is missing".into()],
        Some(content) if content.is_empty() => Vec::new(),
        Some(content) => vec![format!("/etc/machine-id holds {} bytes", content.len())],
    })
}

fn package_lists(root: &Rootfs) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for directory in ["/var/lib/apt/lists", "/var/cache/apt/archives"] {
        found.extend(root.list(directory)?.into_iter().map(|name| format!("{directory}/{name}")));
    }
    Ok(found)
}

fn logs(root: &Rootfs) -> Result<Vec<String>> {
    let log = root.join("/var/log")?;
    let files = WalkDir::new(&log).into_iter().flatten().filter(|entry| !entry.file_type().is_dir());
    Ok(files
        .map(|entry| format!("/var/log/{}", entry.path().strip_prefix(&log).unwrap_or(entry.path()).display()))
        .collect())
}

fn passwords(root: &Rootfs) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (path, open) in [("/etc/shadow", true), ("/etc/passwd", false)] {
        let text = String::from_utf8_lossy(&root.read(path)?.unwrap_or_default()).into_owned();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (name, password) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            if password.starts_with('$') || password.len() > 12 {
                found.push(format!("{name} has a password in {path}"));
            } else if password.is_empty() && open {
                found.push(format!("{name} needs no password ({path})"));
            }
        }
    }
    Ok(found)
}

/// Reads what could be a secret: files outside `/usr` that are small, in the places where keys lie.
fn secrets(root: &Rootfs) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for top in ["/etc", "/var/lib", "/var/root", "/var/home"] {
        let at = root.join(top)?;
        for entry in WalkDir::new(&at).into_iter().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let inside = entry.path().strip_prefix(root.path()).unwrap_or(entry.path());
            // What container images hold, everybody who has the bundle has.
            if !metadata.is_file() || metadata.size() > 64 << 10 {
                continue;
            }
            let content =
                std::fs::read(entry.path()).with_context(|| format!("failed to read {}", entry.path().display()))?;
            let name = inside.display();
            if holds(&content, b"PRIVATE KEY-----") {
                found.push(format!("/{name} holds a private key"));
            } else if holds(&content, b"key = AQ") {
                found.push(format!("/{name} holds a Ceph key"));
            }
        }
    }
    Ok(found)
}

fn holds(content: &[u8], words: &[u8]) -> bool {
    content.windows(words.len()).any(|window| window == words)
}

fn host_traces(root: &Rootfs) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in [
        "/etc/hostname",
        "/etc/apt/sources.list",
        "/var/root/.bash_history",
        "/var/lib/systemd/random-seed",
        "/var/lib/cloud",
    ] {
        if root.has(path)? {
            found.push(format!("{path} is there"));
        }
    }
    if !root.join("/etc/resolv.conf")?.is_symlink() {
        found.push("/etc/resolv.conf is not a link to the resolver's own".into());
    }
    Ok(found)
}

fn writable_places(root: &Rootfs) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, place, mode) in places::LINKS {
        let link = std::fs::read_link(root.join(&format!("/{name}"))?).unwrap_or_default();
        if link.as_os_str() != place {
            found.push(format!("/{name} is not a link to {place}"));
        }
        let at = root.join(&format!("/{place}"))?;
        if !at.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o7777 == mode) {
            found.push(format!("/{place} is missing or its mode is not {mode:04o}"));
        }
    }
    for path in [places::ETC_UPPER, places::ETC_WORK] {
        if !root.has(path)? || !root.list(path)?.is_empty() {
            found.push(format!("{path} is missing or not empty"));
        }
    }
    for directory in ["/", "/etc", "/usr", "/var", "/var/lib", "/var/lib/habuild/etc"] {
        let mode = root.join(directory)?.metadata().map_or(0, |metadata| metadata.permissions().mode() & 0o7777);
        if mode != 0o755 {
            found.push(format!("{directory}: its mode is {mode:04o}, not 0755"));
        }
    }
    for directory in ["/boot", "/tmp", "/run"] {
        found.extend(
            root.list(directory)?.into_iter().map(|name| format!("{directory}/{name} would be hidden or is not used")),
        );
    }
    Ok(found)
}

fn boot_units(root: &Rootfs) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let wizard = root.join("/etc/systemd/system/systemd-firstboot.service")?;
    if std::fs::read_link(wizard).unwrap_or_default().as_os_str() != "/dev/null" {
        found.push("systemd-firstboot.service is not masked: it asks at the console".into());
    }
    for (path, package) in places::INITRD_RUNS {
        if !root.has(path)? {
            found.push(format!(
                "{path} is missing, with which the initrd checks /var and lets it grow: package {package} has it"
            ));
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
