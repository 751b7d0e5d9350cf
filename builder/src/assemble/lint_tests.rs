//! Each lint on a root of a few files: silent on a good one, and heard when its own fault is put in.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

/// A root that every lint passes.
fn good() -> (TempDir, Rootfs) {
    let directory = tempfile::tempdir().unwrap();
    let root = Rootfs::new(directory.path());
    for (name, place, mode) in places::LINKS {
        let at = root.make_directory(&format!("/{place}")).unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
        root.link(&format!("/{name}"), place).unwrap();
    }
    for path in [places::ETC_UPPER, places::ETC_WORK, "/boot", "/tmp", "/run", "/var/log/apt", "/etc/ssh"] {
        root.make_directory(path).unwrap();
    }
    let files = [
        ("/etc/machine-id", ""),
        ("/etc/shadow", "root:*:1::::::\nsshd:!:1::::::\nsystemd-network:!*:1::::::\n"),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
        ("/usr/share/doc/key", "-----BEGIN PRIVATE KEY-----"),
    ];
    for (path, text) in files.into_iter().chain(places::INITRD_RUNS.map(|(path, _)| (path, ""))) {
        root.write(path, text.as_bytes(), 0o644).unwrap();
    }
    for directory in ["/", "/etc", "/usr", "/var", "/var/lib", "/var/lib/habuild/etc"] {
        set_mode(&root, directory, 0o755);
    }
    root.link("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf").unwrap();
    root.link("/etc/systemd/system/systemd-firstboot.service", "/dev/null").unwrap();
    (directory, root)
}

/// Puts a fault into a root.
type Fault = fn(&Rootfs);

fn write(root: &Rootfs, path: &str, text: &str) {
    root.write(path, text.as_bytes(), 0o644).unwrap();
}

/// A lint, a fault, and what is said of it.
const FAULTS: [(&str, Fault, &str); 23] = [
    ("host-keys", |root| write(root, "/etc/ssh/ssh_host_rsa_key", ""), "/etc/ssh/ssh_host_rsa_key"),
    ("machine-id", |root| root.remove("/etc/machine-id").unwrap(), "is missing"),
    ("machine-id", |root| write(root, "/etc/machine-id", "uninitialized\n"), "holds 14 bytes"),
    ("package-lists", |root| write(root, "/var/lib/apt/lists/x_InRelease", ""), "/var/lib/apt/lists/x_InRelease"),
    ("package-lists", |root| write(root, "/var/cache/apt/archives/x.deb", ""), "/var/cache/apt/archives/x.deb"),
    ("logs", |root| write(root, "/var/log/apt/history.log", ""), "/var/log/apt/history.log"),
    ("passwords", |root| write(root, "/etc/shadow", "root:$y$j9T$x:1::::::\n"), "root has a password in /etc/shadow"),
    ("passwords", |root| write(root, "/etc/shadow", "daemon::1::::::\n"), "daemon needs no password"),
    ("passwords", |root| write(root, "/etc/passwd", "root:aaaaaaaaaaaaa:0:\n"), "root has a password in /etc/passwd"),
    ("secrets", |root| write(root, "/etc/ssl/x.key", "-----BEGIN RSA PRIVATE KEY-----\n"), "holds a private key"),
    ("secrets", |root| write(root, "/var/root/ceph.keyring", "[client.a]\n\tkey = AQBx==\n"), "holds a Ceph key"),
    ("host-traces", |root| write(root, "/etc/hostname", "builder"), "/etc/hostname is there"),
    ("host-traces", |root| write(root, "/var/lib/cloud/seed", ""), "/var/lib/cloud is there"),
    ("host-traces", |root| write(root, "/etc/resolv.conf", "nameserver 10.0.0.1"), "/etc/resolv.conf is not a link"),
    ("places", |root| root.link("/srv", "/elsewhere").unwrap(), "/srv is not a link to var/srv"),
    ("places", |root| set_mode(root, "/var/root", 0o755), "/var/root is missing or its mode is not 0700"),
    ("places", |root| root.remove(places::ETC_WORK).unwrap(), "/etc/work is missing or not empty"),
    ("places", |root| write(root, "/var/lib/habuild/etc/upper/x", ""), "/etc/upper is missing or not empty"),
    ("places", |root| write(root, "/boot/vmlinuz", ""), "/boot/vmlinuz would be hidden"),
    ("places", |root| set_mode(root, "/var", 0o700), "/var: its mode is 0700, not 0755"),
    ("boot-units", |root| root.remove("/etc/systemd/system/systemd-firstboot.service").unwrap(), "is not masked"),
    ("boot-units", |root| root.remove("/sbin/resize2fs").unwrap(), "/sbin/resize2fs is missing"),
    ("boot-units", |root| root.remove("/usr/bin/partx").unwrap(), "package util-linux has it"),
];

fn set_mode(root: &Rootfs, path: &str, mode: u32) {
    fs::set_permissions(root.join(path).unwrap(), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_good_root_passes() {
    assert_eq!(run(&good().1).unwrap(), Vec::<String>::new());
}

#[test]
fn each_lint_is_heard_and_no_other() {
    for (name, fault, words) in FAULTS {
        let (_directory, root) = good();
        fault(&root);
        let found = run(&root).unwrap();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(found[0].starts_with(&format!("{name}: ")) && found[0].contains(words), "{name}: {found:?}");
    }
    let silent: Vec<_> = LINTS.iter().filter(|lint| FAULTS.iter().all(|(name, ..)| *name != lint.name)).collect();
    assert!(silent.is_empty(), "no fault for {silent:?}");
}
