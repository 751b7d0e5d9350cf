//! What a layer must not hold: traces of the build's clock, of its randomness, and of this host.

use std::fs;

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use super::rootfs::Rootfs;

/// Files and directories that go, whoever wrote them.
const REMOVED: [&str; 27] = [
    // The build's packages and where they came from.
    "/etc/apt/apt.conf.d/99mmdebstrap",
    "/etc/apt/sources.list",
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/apt/srcpkgcache.bin",
    // Backups that tools leave.
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/etc/.pwd.lock",
    "/var/cache/debconf/config.dat-old",
    "/var/cache/debconf/passwords.dat-old",
    "/var/cache/debconf/templates.dat-old",
    "/var/lib/dpkg/available-old",
    "/var/lib/dpkg/diversions-old",
    "/var/lib/dpkg/statoverride-old",
    "/var/lib/dpkg/status-old",
    // What each node makes for itself.
    "/etc/hostname",
    "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    "/var/lib/cloud",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/random-seed",
    // Holds inode numbers and times.
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/apt/extended_states",
];

/// Directories that stay, empty.
const EMPTIED: [&str; 8] = [
    "/run",
    "/tmp",
    "/var/tmp",
    "/var/lib/apt/lists",
    "/var/cache/apt/archives",
    "/var/cache/man",
    "/var/lib/apt/mirrors",
    "/var/crash",
];

/// Cleans the mounted root of a layer that was just made.
pub(crate) fn clean(root: &Rootfs, epoch: i64) -> Result<()> {
    for path in REMOVED {
        root.remove(path)?;
    }
    for directory in EMPTIED {
        for name in root.list(directory)? {
            root.remove(&format!("{directory}/{name}"))?;
        }
    }
    for name in root.list("/etc/ssh")? {
        if name.starts_with("ssh_host_") {
            root.remove(&format!("/etc/ssh/{name}"))?;
        }
    }
    // The host's resolver, copied in by the bootstrap; a link to systemd-resolved's stays.
    if root.join("/etc/resolv.conf")?.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
        root.remove("/etc/resolv.conf")?;
    }
    // An empty file, not a missing one: see `assemble::places`.
    if root.read("/etc/machine-id")?.is_some_and(|content| !content.is_empty()) {
        root.write("/etc/machine-id", b"", 0o444)?;
    }
    remove_logs(root)?;
    settle_shadow(root, epoch)
}

/// Directories of `/var/log` belong to their packages; the files in them to the build.
fn remove_logs(root: &Rootfs) -> Result<()> {
    let log = root.join("/var/log")?;
    for entry in WalkDir::new(&log).sort_by_file_name() {
        let Ok(entry) = entry else { continue };
        if !entry.file_type().is_dir() {
            fs::remove_file(entry.path()).with_context(|| format!("failed to remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// The day on which a password was last changed is the clock's: it becomes the epoch's.
fn settle_shadow(root: &Rootfs, epoch: i64) -> Result<()> {
    let Some(content) = root.read("/etc/shadow")? else { return Ok(()) };
    let text = String::from_utf8(content).context("/etc/shadow is not UTF-8")?;
    let settled = settled_shadow(&text, epoch / 86_400);
    if settled != text {
        // In place: its owner and mode are the package's.
        let at = root.join("/etc/shadow")?;
        fs::write(&at, settled).with_context(|| format!("failed to write {}", at.display()))?;
    }
    Ok(())
}

fn settled_shadow(text: &str, day: i64) -> String {
    let line = |line: &str| {
        let mut fields: Vec<&str> = line.split(':').collect();
        let day = day.to_string();
        match fields.get_mut(2) {
            Some(field) if !field.is_empty() => *field = &day,
            _ => return line.to_owned(),
        }
        fields.join(":")
    };
    text.lines().map(line).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::settled_shadow;

    #[test]
    fn the_day_of_the_build_goes() {
        let text = "root:*:20780:0:99999:7:::\nsshd:!:20780::::::\nx:!:::::::\n";
        assert_eq!(settled_shadow(text, 19_000), "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\nx:!:::::::\n");
    }
}
