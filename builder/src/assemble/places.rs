//! The shape of an immutable node: what is read-only, what is writable, what each node makes for itself.
//!
//! The root is read-only. `/var` is the state partition; `/etc` is an overlay whose upper directory is on it; homes
//! and mountpoints are links into it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use anyhow::{Context as _, Result};
use uuid::Uuid;

use crate::bake::rootfs::Rootfs;
use crate::sys::file;

/// Directories of the root that are links into `/var`: name, place, mode.
pub(crate) const LINKS: [(&str, &str, u32); 4] =
    [("home", "var/home", 0o755), ("root", "var/root", 0o700), ("srv", "var/srv", 0o755), ("mnt", "var/mnt", 0o755)];

/// Where `/etc`'s overlay keeps what is written.
pub(crate) const ETC_UPPER: &str = "/var/lib/habuild/etc/upper";
/// The overlay's work directory, beside it.
pub(crate) const ETC_WORK: &str = "/var/lib/habuild/etc/work";

/// Programs of the root that the initrd runs (`firstboot/initrd/src/{check,grow}.rs`), and their packages.
pub(crate) const INITRD_RUNS: [(&str, &str); 3] =
    [("/sbin/e2fsck", "e2fsprogs"), ("/sbin/resize2fs", "e2fsprogs"), ("/usr/bin/partx", "util-linux")];

/// Gives the mounted root of an image its places.
pub(crate) fn shape(root: &Rootfs, state: Uuid, epoch: i64) -> Result<()> {
    for (name, place, mode) in LINKS {
        move_into_var(root, name, place, mode)?;
    }
    let directories = [
        ("/var/lib/habuild", 0o700),
        ("/var/lib/habuild/etc", 0o755),
        (ETC_UPPER, 0o755),
        (ETC_WORK, 0o755),
        ("/boot", 0o755),
    ];
    for (path, mode) in directories {
        let at = root.make_directory(path)?;
        set_mode(&at, mode)?;
    }
    // The initrd (`firstboot/initrd/src/mounts.rs`) mounts the first two so, before there is a systemd; these lines tell systemd
    // that it did, and people how.
    let fstab = format!(
        "# The state partition, and /etc's overlay on it: mounted by the initrd.\n\
         UUID={state} /var ext4 defaults,x-initrd.mount 0 2\n\
         overlay /etc overlay lowerdir=/sysroot/etc,upperdir=/sysroot{ETC_UPPER},workdir=/sysroot{ETC_WORK},\
         x-initrd.mount,x-systemd.requires-mounts-for=/sysroot/var 0 0\n\
         tmpfs /tmp tmpfs mode=1777,nosuid,nodev,size=50% 0 0\n"
    );
    root.write("/etc/fstab", fstab.as_bytes(), 0o644)?;
    // Empty: an id is made at the first boot and kept. The word `uninitialized` would bring the first-boot wizard.
    root.write("/etc/machine-id", b"", 0o444)?;
    root.link("/var/lib/dbus/machine-id", "/etc/machine-id")?;
    root.link("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")?;
    // Not older than /usr: nothing has to be brought up to date at the first boot.
    for directory in ["/etc", "/var"] {
        let text = format!("# Made by habuild.\nTIMESTAMP_NSEC={epoch}000000000\n");
        root.write(&format!("{directory}/.updated"), text.as_bytes(), 0o644)?;
    }
    // The kernel and its initrd are on the ESP.
    for name in root.list("/boot")? {
        root.remove(&format!("/boot/{name}"))?;
    }
    for name in ["vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old"] {
        root.remove(&format!("/{name}"))?;
    }
    Ok(())
}

/// Moves `/NAME` to `/PLACE`, with what the packages put there, and leaves a link.
fn move_into_var(root: &Rootfs, name: &str, place: &str, mode: u32) -> Result<()> {
    let to = root.make_directory(&format!("/{place}"))?;
    move_content(&root.join(&format!("/{name}"))?, &to)?;
    set_mode(&to, mode)?;
    root.link(&format!("/{name}"), place)
}

/// Moves what is in `from` into `to`. A directory of a lower layer cannot be renamed on an overlay: it is made anew.
fn move_content(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("failed to list {}", from.display()))? {
        let entry = entry.with_context(|| format!("failed to list {}", from.display()))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let metadata = entry.metadata().with_context(|| format!("failed to read {}", from.display()))?;
        if metadata.is_dir() {
            file::make_directory(&to)?;
            move_content(&from, &to)?;
            // The owner first: a change of it takes the set-group-id bit away.
            chown(&to, Some(metadata.uid()), Some(metadata.gid()))
                .with_context(|| format!("failed to set the owner of {}", to.display()))?;
            set_mode(&to, metadata.mode() & 0o7777)?;
        } else {
            file::rename(&from, &to)?;
        }
    }
    Ok(())
}

pub(super) fn set_mode(at: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(at, fs::Permissions::from_mode(mode))
        .with_context(|| format!("failed to set the mode of {}", at.display()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sys::cmd::Cmd;

    /// Runs the test `name` again in a process of its own, as root of a user namespace if need be and under umask
    /// 077, and says that it did; `false` in that process. A umask is the whole process's, as other tests would see.
    pub(in crate::assemble) fn again_under_umask_077(name: &str) -> bool {
        const AGAIN: &str = "HABUILD_TEST_AGAIN";
        if std::env::var_os(AGAIN).is_some() {
            return false;
        }
        let root = nix::unistd::geteuid().is_root();
        let namespace = if root { "exec" } else { "exec unshare --user --map-root-user --map-auto" };
        let script = format!("umask 077 && {namespace} \"$0\" --exact --nocapture {name}");
        let test = std::env::current_exe().unwrap();
        let said = Cmd::program("sh").args(["-c", &script]).arg(test).env(AGAIN, "1").output_text().unwrap();
        assert!(said.contains("1 passed"), "{name} was not run: {said}");
        true
    }

    fn mode_and_owner(path: &Path) -> (u32, u32, u32) {
        let metadata = path.symlink_metadata().unwrap();
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
    }

    #[test]
    fn what_is_made_has_its_mode_under_any_umask() {
        if again_under_umask_077("assemble::places::tests::what_is_made_has_its_mode_under_any_umask") {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let root = Rootfs::new(directory.path());
        for name in ["home", "root", "srv", "mnt", "var", "etc", "usr"] {
            let at = directory.path().join(name);
            fs::create_dir(&at).unwrap();
            set_mode(&at, 0o755).unwrap();
        }
        shape(&root, Uuid::nil(), 5).unwrap();
        for (path, mode) in [
            ("var", 0o755),
            ("var/lib", 0o755),
            ("var/lib/dbus", 0o755),
            ("var/lib/habuild", 0o700),
            ("var/lib/habuild/etc", 0o755),
            ("var/lib/habuild/etc/upper", 0o755),
            ("var/lib/habuild/etc/work", 0o755),
            ("var/home", 0o755),
            ("var/root", 0o700),
            ("boot", 0o755),
        ] {
            let found = mode_and_owner(&directory.path().join(path)).0;
            assert_eq!(found, mode, "{path}: {found:o}");
        }
    }

    #[test]
    fn what_packages_put_into_a_home_keeps_owner_and_mode() {
        let name = "assemble::places::tests::what_packages_put_into_a_home_keeps_owner_and_mode";
        if again_under_umask_077(name) {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("srv"), directory.path().join("var-srv"));
        let inner = from.join("git/deep");
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        for (path, mode, uid, gid) in [("git/deep/file", 0o640, 7, 8), ("git/deep", 0o2750, 5, 6), ("git", 0o711, 3, 4)]
        {
            chown(from.join(path), Some(uid), Some(gid)).unwrap();
            set_mode(&from.join(path), mode).unwrap();
        }
        move_content(&from, &to).unwrap();
        assert_eq!(mode_and_owner(&to.join("git/deep/file")), (0o640, 7, 8));
        assert_eq!(mode_and_owner(&to.join("git/deep")), (0o2750, 5, 6));
        assert_eq!(mode_and_owner(&to.join("git")), (0o711, 3, 4));
    }
}
