//! The mask of whoever starts a build decides no mode of an image. A mask belongs to the whole process, so each test
//! runs itself again in a process of its own.

use std::fs;

use habuild::bake::rootfs::Rootfs;
use habuild::bake::store::Store;
use habuild::sys::cmd::Cmd;
use habuild::sys::digest::Digest;

use super::mode;

/// Runs `test` of this program under mask 077; true in that process.
fn masked(test: &str) -> bool {
    if std::env::var_os("HABUILD_TEST_MASKED").is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let script = "umask 077; exec \"$0\" --exact \"$1\" --nocapture";
    let again = Cmd::program("sh").args(["-c", script]).arg(program).arg(test).env("HABUILD_TEST_MASKED", "1");
    let said = again.output_text().unwrap();
    assert!(said.contains("1 passed"), "{said}");
    false
}

#[test]
fn directories_of_a_root_have_their_modes_by_name() {
    if !masked("umask::directories_of_a_root_have_their_modes_by_name") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = Rootfs::new(dir.path());
    fs::create_dir(dir.path().join("private")).unwrap();
    root.write("/a/b/file", b"", 0o640).unwrap();
    root.link("/c/d/link", "x").unwrap();
    root.make_directory("/e/f").unwrap();
    root.make_directory("/private/g").unwrap();
    for name in ["a", "a/b", "c", "c/d", "e", "e/f", "private/g"] {
        assert_eq!(mode(&dir.path().join(name)), 0o755, "{name}");
    }
    assert_eq!(mode(&dir.path().join("a/b/file")), 0o640);
    assert_eq!(mode(&dir.path().join("private")), 0o700, "a directory that is there keeps its mode");
}

#[test]
fn directories_that_become_a_root_have_their_modes_by_name() {
    if !masked("umask::directories_that_become_a_root_have_their_modes_by_name") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let scratch = store.scratch().unwrap();
    let upper = scratch.directory("upper").unwrap();
    assert_eq!(mode(&upper), 0o755, "an overlay's upper directory");
    let key = Digest::of(b"key");
    let tree = store.keep_tree(key, &upper).unwrap();
    let layer = store.commit("a", key, "layer a\n", &tree, scratch.path()).unwrap();
    fs::remove_dir(&tree).unwrap();
    assert_eq!(mode(&store.tree(&layer, scratch.path()).unwrap()), 0o755, "a tree from its tar");
}
