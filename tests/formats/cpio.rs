//! An initrd's archive, unpacked and listed by `cpio`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use habuild::bake::cpio::Cpio;

use crate::{noise, run, text};

#[test]
fn cpio_lists_and_unpacks_what_was_put_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("initrd.cpio");
    let contents = [noise(1, 0), noise(2, 1), noise(3, 4095), noise(4, 4096)];
    let mut archive = Cpio::new();
    archive.add_file("usr/lib/modules/a-b/c.ko", 0o644, contents[2].clone());
    archive.add_file("init", 0o755, contents[3].clone());
    archive.add_device("dev/console", 0o600, 5, 1);
    archive.add_file("usr/lib/modules/a/empty", 0o644, contents[0].clone());
    archive.add_file("usr/lib/modules/a/one", 0o600, contents[1].clone());
    archive.add_directory("sys");
    fs::write(&path, archive.bytes().unwrap()).unwrap();

    let listed = run("sh", &["-c", "cpio -itv --quiet --numeric-uid-gid < \"$0\"", text(&path)]);
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    let seen: Vec<(&str, &str, &str)> = lines.iter().map(|l| (l[0], l[2], *l.last().unwrap())).collect();
    assert_eq!(
        seen,
        [
            ("drwxr-xr-x", "0", "dev"),
            ("crw-------", "0", "dev/console"),
            ("-rwxr-xr-x", "0", "init"),
            ("drwxr-xr-x", "0", "sys"),
            ("drwxr-xr-x", "0", "usr"),
            ("drwxr-xr-x", "0", "usr/lib"),
            ("drwxr-xr-x", "0", "usr/lib/modules"),
            ("drwxr-xr-x", "0", "usr/lib/modules/a"),
            ("drwxr-xr-x", "0", "usr/lib/modules/a-b"),
            ("-rw-r--r--", "0", "usr/lib/modules/a-b/c.ko"),
            ("-rw-r--r--", "0", "usr/lib/modules/a/empty"),
            ("-rw-------", "0", "usr/lib/modules/a/one"),
        ]
    );
    assert!(listed.contains("5,   1"), "{listed}");
    assert!(listed.contains("Jan  1  1970"), "{listed}");

    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let unpack = "cd \"$1\" && cpio -i --quiet --no-absolute-filenames 'init' usr 'usr/*' < \"$0\"";
    run("sh", &["-c", unpack, text(&path), text(&out)]);
    for (name, content) in
        [("usr/lib/modules/a/empty", 0), ("usr/lib/modules/a/one", 1), ("usr/lib/modules/a-b/c.ko", 2), ("init", 3)]
    {
        assert_eq!(fs::read(out.join(name)).unwrap(), contents[content], "{name}");
    }
    assert_eq!(fs::metadata(out.join("init")).unwrap().permissions().mode() & 0o777, 0o755);
}
