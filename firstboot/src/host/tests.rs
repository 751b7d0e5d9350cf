//! Files below a root, links that lead out of it, and the consoles.

use super::*;

#[test]
fn a_line_reaches_every_console_and_a_missing_one_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("sys/class/tty/console")).unwrap();
    std::fs::create_dir_all(root.path().join("dev")).unwrap();
    std::fs::write(root.path().join("sys/class/tty/console/active"), "tty0 ttyS9 ../passwd ttyS0\n").unwrap();
    for name in ["dev/tty0", "dev/ttyS0", "passwd"] {
        std::fs::write(root.path().join(name), "before\n").unwrap();
    }
    let host = Host::new(root.path());
    host.announce("habuild: one");
    host.announce("habuild: two");
    for name in ["dev/tty0", "dev/ttyS0"] {
        let text = std::fs::read_to_string(root.path().join(name)).unwrap();
        assert_eq!(text, "before\nhabuild: one\nhabuild: two\n", "{name}");
    }
    assert_eq!(std::fs::read_to_string(root.path().join("passwd")).unwrap(), "before\n");
    assert!(!root.path().join("dev/ttyS9").exists());
}

#[test]
fn links_lead_nowhere_outside_the_root() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::create_dir(directory.path().join("outside")).unwrap();
    std::fs::write(directory.path().join("outside/file"), "outside").unwrap();
    std::fs::write(root.join("etc/file"), "inside").unwrap();
    let outside = directory.path().join("outside");
    for (name, target) in [
        ("absolute", Path::new("/etc")),
        ("relative", Path::new("etc")),
        ("above", Path::new("../../../../etc")),
        ("away", outside.as_path()),
        ("circle", Path::new("circle")),
    ] {
        std::os::unix::fs::symlink(target, root.join(name)).unwrap();
    }
    std::os::unix::fs::symlink(outside.join("file"), root.join("etc/away")).unwrap();
    let host = Host::new(&root);
    for path in ["/absolute/file", "/relative/file", "/above/file", "/etc/../../etc/file", "etc/file"] {
        assert_eq!(host.read(Path::new(path)).unwrap().bytes, b"inside", "{path}");
        assert_eq!(host.without_links(Path::new(path)).unwrap(), Path::new("/etc/file"), "{path}");
    }
    for path in ["/away/file", "/circle/file", "/etc/away"] {
        assert!(host.read(Path::new(path)).is_err() && !host.exists(Path::new(path)), "{path}");
    }
    // A file is written in place of a link, not where that leads.
    host.write(Path::new("/etc/away"), b"new", 0o600).unwrap();
    assert_eq!(host.read(Path::new("/etc/away")).unwrap().bytes, b"new");
    assert_eq!(std::fs::read(outside.join("file")).unwrap(), b"outside");
}

#[test]
fn only_regular_files_are_read() {
    let root = tempfile::tempdir().unwrap();
    nix::unistd::mkfifo(&root.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let host = Host::new(root.path());
    assert_eq!(host.read(Path::new("/pipe")).unwrap_err().to_string(), "is not a regular file");
    assert_eq!(host.read(Path::new("/")).unwrap_err().to_string(), "is not a regular file");
    assert_eq!(host.read(Path::new("/none")).unwrap_err().kind(), io::ErrorKind::NotFound);
}
