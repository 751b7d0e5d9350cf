//! Step `storage`: the share, mounted and proved.
//!
//! Invariant: nothing is written below the mountpoint before it is proved to be the share; the empty directory below an
//! absent mount is immutable.

use std::path::Path;
use std::time::Duration;

use super::proof::{self, Expected, For};
use crate::host::Host;
use crate::host::journal;
use crate::secrets::Resolved;
use crate::steps::fstab;
use crate::trouble::Trouble;
use contract::schema::{Cephfs, NodeConfig, Storage};

const FSTAB: &str = "/etc/fstab";
/// Longer than the unit's own limit of 60 s.
const MOUNT_TIME: Duration = Duration::from_secs(100);

/// Where the share is mounted; with `storage.local`, the directory in its place.
pub(crate) fn mountpoint(config: &NodeConfig) -> &str {
    match &config.storage {
        Storage::Cephfs(cephfs) => &cephfs.mountpoint,
        Storage::Local(local) => &local.path,
    }
}

/// Mounts and proves; gives what later proofs are about.
pub(super) fn prepare(
    host: &Host,
    config: &NodeConfig,
    secrets: &Resolved,
    instance: &str,
) -> Result<Expected, Trouble> {
    let given = mountpoint(config);
    let made = |error: std::io::Error| Trouble::passing(format!("{given}: cannot be made: {error}"));
    // Only the way to it: below a mount that hangs, even looking would.
    let above = Path::new(given).parent().unwrap_or(Path::new("/"));
    host.make_directory(above, 0o755).map_err(made)?;
    let above = host.without_links(above).map_err(made)?;
    let place = above.join(Path::new(given).file_name().unwrap_or_default()).to_string_lossy().into_owned();
    match &config.storage {
        Storage::Local(_) => {
            if drop_in(host, None)? {
                systemctl(host, &["daemon-reload"])?;
            }
            host.make_directory(Path::new(&place), 0o755).map_err(made)?;
        }
        Storage::Cephfs(cephfs) => mount(host, cephfs, &place, secrets.need("storage.cephfs.secret")?)?,
    }
    let expected = Expected {
        mountpoint: place,
        cephfs: matches!(config.storage, Storage::Cephfs(_)),
        instance: instance.to_owned(),
        cluster: config.cluster.clone(),
        settled: None,
    };
    expected.record_unless_settled(host)?;
    if let Some(doubt) = proof::ask(host, For::Agent)? {
        journal::say(&format!("warning: {doubt}"));
    }
    Ok(expected)
}

/// The line of fstab, the client's key, and the mount unit started.
fn mount(host: &Host, share: &Cephfs, place: &str, key: &str) -> Result<(), Trouble> {
    let written = |path: &str, error: std::io::Error| Trouble::passing(format!("{path} cannot be written: {error}"));
    host.make_directory(Path::new("/etc/ceph"), 0o755).map_err(|error| written("/etc/ceph", error))?;
    host.write(Path::new(fstab::SECRET_FILE), format!("{key}\n").as_bytes(), 0o600)
        .map_err(|error| written(fstab::SECRET_FILE, error))?;
    let old = host.read(Path::new(FSTAB)).map_err(|error| Trouble::passing(format!("{FSTAB}: {error}")))?;
    let old = String::from_utf8(old.bytes)
        .map_err(|_| Trouble::lasting(format!("{FSTAB}: is not UTF-8")).hint("mend it by hand"))?;
    let mounted = proof::mount(host, place);
    if mounted.is_none() {
        free(host, Path::new(place))?;
    }
    let line = fstab::line(share, place, recovers(host));
    let new = fstab::with_block(&old, Some(&line)).map_err(|what| Trouble::lasting(format!("{FSTAB}: {what}")))?;
    let mut changed = host.write(Path::new(FSTAB), new.as_bytes(), 0o644).map_err(|error| written(FSTAB, error))?;
    changed |= drop_in(host, Some(place))?;
    let unit = fstab::mount_unit(place);
    // Without a mount in any case: whoever changed the line may have ended before systemd read it.
    if changed || mounted.is_none() {
        systemctl(host, &["daemon-reload"])?;
    }
    if let Some(mounted) = mounted {
        // It may be an older line's mount, in a later attempt too: of another directory, or with another client.
        if changed || !mounted.is_of(share) {
            systemctl(host, &["restart", &unit]).map_err(|trouble| explained(share, &unit, trouble))?;
        }
        return Ok(());
    }
    let at = Path::new(place);
    host.make_directory(at, 0o755).map_err(|error| written(place, error))?;
    host.make_immutable(at).map_err(|error| Trouble::passing(format!("{place}: cannot be made immutable: {error}")))?;
    // What failed before counts against the unit's limit of starts.
    let _ = systemctl(host, &["reset-failed", &unit]);
    systemctl(host, &["start", &unit]).map_err(|trouble| explained(share, &unit, trouble))
}

/// Whether the mountpoint is nobody else's: a share mounted there would lie elsewhere, or hide what is there.
fn free(host: &Host, at: &Path) -> Result<(), Trouble> {
    let shown = at.display();
    let looked = |error: std::io::Error| Trouble::passing(format!("{shown}: cannot be looked at: {error}"));
    let elsewhere = "or name another storage.cephfs.mountpoint";
    if host.is_link(at) {
        let message = format!("the mountpoint {shown} is a link: the share would lie where it leads");
        return Err(Trouble::lasting(message).hint(format!("remove the link, {elsewhere}")));
    }
    if !host.exists(at) {
        return Ok(());
    }
    if host.is_mountpoint(at).map_err(looked)? {
        let message = format!("the mountpoint {shown} has another file system than a CephFS mounted on it");
        return Err(Trouble::lasting(message).hint(format!("unmount it, {elsewhere}")));
    }
    if !host.is_empty(at).map_err(|error| Trouble::lasting(format!("the mountpoint {shown}: {error}")))? {
        let message = format!("the mountpoint {shown} is not empty: the share would hide what is there");
        return Err(Trouble::lasting(message).hint(format!("move that away, {elsewhere}")));
    }
    Ok(())
}

fn explained(share: &Cephfs, unit: &str, trouble: Trouble) -> Trouble {
    let monitors: Vec<String> = share.monitors.iter().map(ToString::to_string).collect();
    Trouble::passing(format!("{}:{} cannot be mounted: {}", monitors.join(","), share.path, trouble.message))
        .hint(format!("journalctl -b -u {unit}; check monitors, path, client and secret of storage.cephfs"))
}

/// Makes `harbor.service` depend on the share; `true` when something changed.
fn drop_in(host: &Host, mountpoint: Option<&str>) -> Result<bool, Trouble> {
    let directory = "/etc/systemd/system/harbor.service.d";
    let path = format!("{directory}/share.conf");
    let failed = |error: std::io::Error| Trouble::passing(format!("{path} cannot be written: {error}"));
    match mountpoint {
        None => {
            let there = host.exists(Path::new(&path));
            host.remove(Path::new(&path)).map(|()| there).map_err(failed)
        }
        Some(mountpoint) => {
            host.make_directory(Path::new(directory), 0o755).map_err(failed)?;
            let text = format!("# Written by habuild-firstboot.\n[Unit]\nRequiresMountsFor={mountpoint}\n");
            host.write(Path::new(&path), text.as_bytes(), 0o644).map_err(failed)
        }
    }
}

/// Whether this kernel's client can come back after it was evicted: from Linux 5.4 on (`recover_session` in
/// `fs/ceph/super.c`).
fn recovers(host: &Host) -> bool {
    let release = host.read(Path::new("/proc/sys/kernel/osrelease")).map(|content| content.bytes).unwrap_or_default();
    let release = String::from_utf8_lossy(&release).into_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.trim().parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 4)
}

/// Runs systemctl.
pub(crate) fn systemctl(host: &Host, args: &[&str]) -> Result<(), Trouble> {
    let run = host.command("systemctl").args(args).time(MOUNT_TIME).run();
    run.map(|_| ()).map_err(|error| Trouble::passing(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::TestMachine;
    use std::fs;

    #[test]
    fn a_mountpoint_is_nobody_elses() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        for directory in ["mnt/empty", "mnt/used", "srv"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("mnt/used/precious"), "x").unwrap();
        fs::write(root.path().join("mnt/file"), "x").unwrap();
        std::os::unix::fs::symlink("/srv", root.path().join("mnt/link")).unwrap();
        for (place, expected) in [
            ("/mnt/absent", None),
            ("/mnt/empty", None),
            ("/mnt/used", Some("is not empty: the share would hide what is there (move that away")),
            ("/mnt/file", Some("Not a directory")),
            ("/mnt/link", Some("is a link: the share would lie where it leads (remove the link")),
        ] {
            match (free(&host, Path::new(place)), expected) {
                (Ok(()), None) => {}
                (Err(trouble), Some(words)) => {
                    assert!(trouble.to_string().contains(words) && !trouble.passing, "{trouble}");
                }
                (outcome, _) => panic!("{place}: {outcome:?}"),
            }
        }
        // /proc is mounted on every machine that runs this.
        let machine = Host::new(Path::new("/"));
        let trouble = free(&machine, Path::new("/proc")).unwrap_err();
        assert!(trouble.message.contains("another file system than a CephFS"), "{trouble}");
    }

    /// An older line's mount stays the wrong one, however often the step is tried.
    #[test]
    fn another_directorys_mount_is_never_taken_for_the_share() {
        let machine = TestMachine::new();
        let other = "9 1 0:4 / /mnt/share rw - ceph 10.0.0.1:6789:/old rw,name=harbor\n";
        machine.file("etc/fstab", "").file("proc/self/mountinfo", other);
        machine.program("systemctl", "test $1 != restart");
        let share = fstab::tests::share("");
        let tried = || (mount(&machine.host, &share, "/mnt/share", "key").is_ok(), machine.calls());
        for _ in 0..2 {
            let (done, calls) = tried();
            assert!(!done && calls.iter().any(|call| call == "systemctl restart mnt-share.mount"), "{calls:?}");
        }
        machine.file("proc/self/mountinfo", &other.replace("/old", "/apps/harbor"));
        let (done, calls) = tried();
        assert!(done && calls.is_empty(), "{calls:?}");
        // And a line that systemd has not read yet is read in each attempt.
        machine.file("proc/self/mountinfo", "").program("systemctl", "test $1 != daemon-reload");
        for _ in 0..2 {
            let (done, calls) = tried();
            assert!(!done && calls == ["systemctl daemon-reload"], "{calls:?}");
        }
    }
}
