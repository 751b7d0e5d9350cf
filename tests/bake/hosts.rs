//! Hosts that lack something: room on the disk, subordinate ids, user namespaces.
#![allow(clippy::disallowed_methods, reason = "starts habuild in namespaces of the test's own")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use habuild::export::manifest::Manifest;

use super::caches::{assert_whole, assert_written, copy_packages, lend_tools, sharing, warm};
use super::people::{as_user, failure, root_command};
use crate::mirror::{Manner, Mirror};
use crate::places::{Place, habuild, run};
use crate::turns::turn;

/// habuild with `directory` on a file system with these options and a copy of `content`. The mount ends with the
/// process.
fn on_a_disk(directory: &Path, options: &str, content: &Path, habuild: &Command) -> Command {
    for directory in [directory, content] {
        fs::create_dir_all(directory).unwrap();
    }
    let script = "mount -t tmpfs -o \"$1\" none \"$2\" && cp -r \"$3/.\" \"$2\" && shift 3 && exec \"$@\"";
    let mut command = root_command("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", options]).arg(directory).arg(content);
    command.arg(habuild.get_program()).args(habuild.get_args());
    command
}

#[test]
fn a_full_disk_under_the_output() {
    warm();
    let _turn = turn(2);
    let place = sharing();
    let mut command = on_a_disk(&place.path("out"), "size=60m", &place.path("empty"), &place.locked("image"));
    let (code, message) = failure(&mut command);
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("No space left on device") && message.contains("remedy: free some space"), "{message}");
    assert_whole(&place);
}

#[test]
fn a_full_disk_under_the_cache() {
    warm();
    let _turn = turn(2);
    let place = sharing();
    let small = place.path("small");
    let mut habuild = self::habuild(&place.root);
    habuild.args(["image", "--offline", "--locked"]).arg(&warm().lock).arg("--output").arg(place.path("out"));
    habuild.arg("--cache").arg(small.join("cache"));
    // Room for the packages of the small image and half a base layer.
    let content = place.path("content");
    let mebibytes = (copy_packages(warm(), &content.join("cache/packages")) >> 20) + 64;
    let mut command = on_a_disk(&small, &format!("size={mebibytes}m"), &content, &habuild);
    let (code, message) = failure(&mut command);
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("the disk is full while layer "), "{message}");
    assert!(message.contains("remedy: free some space"), "{message}");
    assert!(!place.path("out/manifest.json").exists());
}

#[test]
fn a_cache_on_a_restricted_disk_with_a_blank_in_its_path() {
    warm();
    let _turn = turn(2);
    let place = sharing();
    let disk = place.path("a disk");
    let mut habuild = self::habuild(&place.root);
    habuild.args(["image", "--locked"]).arg(&warm().lock).arg("--output").arg(place.path("out"));
    habuild.arg("--cache").arg(disk.join("the cache"));
    let mirror = Mirror::start(&warm().lock, &warm().cache.join("packages"), Manner::Good);
    habuild.args(["--mirror", &mirror.url()]);
    let content = place.path("content");
    lend_tools(&content.join("the cache"));
    run(&mut on_a_disk(&disk, "size=3g,nosuid,nodev", &content, &habuild));
    assert_written(&place);
    let layers = |place: &Place| Manifest::read(&place.path("out")).unwrap().layers;
    assert_eq!(layers(&place), layers(warm()));
}

/// A directory and a habuild that anyone may use.
fn for_everyone(place: &Place) -> std::path::PathBuf {
    let program = place.path("habuild");
    fs::copy(env!("CARGO_BIN_EXE_habuild"), &program).unwrap();
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(&warm().lock, place.path("lock")).unwrap();
    program
}

#[test]
fn a_user_without_subordinate_ids() {
    let place = sharing();
    let program = for_everyone(&place);
    let mut command = as_user("nobody", &place.path("home"), &program);
    command.arg("--root").arg(place.path("")).arg("image").arg("--output").arg(place.path("out"));
    let (code, message) = failure(command.arg("--locked").arg(place.path("lock")));
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("nobody has no range") && message.contains("/etc/subuid"), "{message}");
    assert!(message.contains("usermod --add-subuids"), "{message}");
    assert!(!place.path("out").exists());
}

#[test]
fn a_host_without_user_namespaces() {
    let place = sharing();
    let program = for_everyone(&place);
    // The limit holds in a user namespace of the test's own and below; the host keeps its own.
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"",
        "sh",
    ]);
    command.arg(program).arg("--root").arg(place.path("")).arg("image").arg("--output").arg(place.path("out"));
    let (code, message) = failure(command.arg("--cache").arg(place.path("c")).arg("--locked").arg(place.path("lock")));
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("user namespace") && message.contains("remedy: "), "{message}");
    assert!(!place.path("out").exists());
}

/// Runs `habuild` with a cache on a disk that has room for `left` more files; gives its exit code, its words, and what
/// is in the cache's `work` then.
fn with_room_for(left: usize, arguments: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    habuild::bake::store::Store::open(&cache).unwrap();
    fs::create_dir_all(cache.join("images")).unwrap();
    for name in ["bundles", "packages"] {
        fs::create_dir_all(cache.join(name)).unwrap();
    }
    for name in ["lock", "no.tgz"] {
        // At first sight an archive (gzip): others are refused before anything is made for them.
        fs::write(cache.join(name), b"\x1f\x8bno bundle").unwrap();
    }
    let script = "mount -t tmpfs -o nr_inodes=100 none \"$2\" && cp -r \"$1/.\" \"$2\" && cd \"$2\" || exit 99
        rm -f fill; i=0; while : > packages/$i; do i=$((i+1)); done 2> /dev/null
        n=0; while [ $n -lt $3 ]; do n=$((n+1)); rm packages/$((i-n)); done
        shift 3; timeout 60 \"$@\"; code=$?; echo; ls work; exit $code";
    let at = directory.path().join("disk");
    fs::create_dir(&at).unwrap();
    let mut command = root_command("unshare");
    command.args(["--mount", "bash", "-c", script, "sh"]).arg(&cache).arg(&at).arg(left.to_string());
    let output = command.arg(env!("CARGO_BIN_EXE_habuild")).args(arguments).arg("--cache").arg(&at).output().unwrap();
    let [words, work] = [output.stderr, output.stdout].map(|text| String::from_utf8(text).unwrap());
    (output.status.code().unwrap(), words, work)
}

#[test]
fn gc_needs_no_room() {
    let (code, words, said) = with_room_for(0, &["cache", "gc"]);
    assert_eq!((code, said.trim()), (0, "freed 0 KiB"), "{words}");
}

#[test]
fn scratch_that_cannot_be_made_leaves_no_lock() {
    // One for the bundle's lock and one for that of the scratch directory.
    let (code, words, work) = with_room_for(2, &["bundle", "no.tgz"]);
    assert_eq!(code, 3, "{words}");
    assert!(words.contains("failed to make directory") && words.contains("No space left"), "{words}");
    assert!(!work.contains(".lock"), "{work}");
}
