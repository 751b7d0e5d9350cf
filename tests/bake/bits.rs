//! Equal lock, equal bits: in two directories, from two empty caches, as root and as an ordinary user, under two masks,
//! locales, time zones and working directories.
#![allow(clippy::disallowed_methods, reason = "compares files with cmp")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use habuild::export::manifest::Manifest;

use super::caches::{copy_packages, full};
use super::people::{USER, as_user, elsewhere, root_command};
use super::small;
use crate::places::{copy_project, run};
use crate::turns::turn;

/// What surrounds the build of the other one.
const THERE: &str = "umask 077; export LC_ALL=de_DE.UTF-8 LANG=tr_TR.UTF-8 TZ=Pacific/Chatham; cd /";

#[test]
fn root_and_an_ordinary_user_bake_the_same_bits() {
    let whole = full();
    let _turn = turn(2);
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| dir.path().join(name);
    copy_project(dir.path());
    small::disk(dir.path());
    copy_packages(&whole, &at("cache/packages"));
    let habuild = Path::new(env!("CARGO_BIN_EXE_habuild"));
    fs::copy(habuild, at("habuild")).unwrap();
    fs::copy(&whole.lock, at("lock")).unwrap();

    // Whoever runs the tests.
    let here = format!("umask 022; export LC_ALL=C TZ=UTC; cd {}", whole.root.display());
    let mut one = Command::new(elsewhere(&whole.root, habuild, &here));
    one.arg("--root").arg(&whole.root).args(["image", "--format", "raw,qcow2", "--locked"]);
    one.arg(&whole.lock).arg("--cache").arg(&whole.cache).arg("--output").arg(whole.path("out"));

    // The other one.
    let tests_run_as_root = root_command("true").get_program() == "true";
    let program = elsewhere(dir.path(), &at("habuild"), THERE);
    let mut other = if tests_run_as_root {
        run(Command::new("chown").arg("-R").arg(USER).arg(dir.path()));
        as_user(USER, dir.path(), &program)
    } else {
        root_command(program.to_str().unwrap())
    };
    other.arg("--root").arg(dir.path()).args(["image", "--format", "raw,qcow2", "--locked"]);
    other.arg(at("lock")).arg("--cache").arg(at("cache")).arg("--output").arg(at("out"));

    // At once: much of a bake is one process that unpacks packages.
    thread::scope(|scope| {
        scope.spawn(|| run(&mut one));
        run(&mut other);
    });

    let (ours, theirs) = (whole.path("out"), at("out"));
    let layers = |out: &PathBuf| Manifest::read(out).unwrap().layers;
    assert_eq!(layers(&ours), layers(&theirs));
    assert_eq!(layers(&ours).len(), 6, "five layers and the initrd");
    for name in ["harbor-node.raw", "harbor-node.qcow2", "manifest.json", "SHA256SUMS"] {
        run(Command::new("cmp").arg(ours.join(name)).arg(theirs.join(name)));
    }
    run(Command::new("qemu-img").args(["check", "-q"]).arg(ours.join("harbor-node.qcow2")));
    run(Command::new("qemu-img")
        .args(["compare", "-q"])
        .args([ours.join("harbor-node.raw"), ours.join("harbor-node.qcow2")]));
    if !tests_run_as_root {
        run(root_command("rm").arg("-rf").arg(at("cache")).arg(at("out")));
    } else {
        // Its layers belong to subordinate ids.
        run(Command::new("rm").arg("-rf").arg(at("cache")));
    }
}
