//! Equal lock, equal bits: in two directories, from two empty caches, as root and as an ordinary user, under two masks,
//! locales, time zones and working directories.
#![allow(clippy::disallowed_methods, reason = "compares files with cmp")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use habuild::export::manifest::Manifest;

use super::place::{SMALL, USER, alone, as_user, copy_project, elsewhere, full, lend_packages, root_command, run};

/// What surrounds the build of the other one; `place::full` has those of whoever runs the tests.
const THERE: &str = "umask 077; export LC_ALL=de_DE.UTF-8 LANG=tr_TR.UTF-8 TZ=Pacific/Chatham; cd /";

#[test]
fn root_and_an_ordinary_user_bake_the_same_bits() {
    let whole = full();
    let _alone = alone();
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    copy_project(dir.path());
    lend_packages(&whole.root.join("../cache/packages"), &dir.path().join("cache"));
    let program = dir.path().join("habuild");
    fs::copy(env!("CARGO_BIN_EXE_habuild"), &program).unwrap();
    fs::copy(&whole.lock, dir.path().join("lock")).unwrap();
    // Whoever runs the tests baked the whole image; the other one bakes here.
    let tests_run_as_root = root_command("true").get_program() == "true";
    let at = |name: &str| dir.path().join(name);
    let program = elsewhere(dir.path(), &program, THERE);
    let mut other = if tests_run_as_root {
        run(Command::new("chown").arg("-R").arg(USER).arg(dir.path()));
        as_user(USER, dir.path(), &program)
    } else {
        root_command(program.to_str().unwrap())
    };
    other.arg("--root").arg(dir.path()).args(["image", "--offline", "--set", SMALL, "--format", "raw,qcow2"]);
    other.arg("--locked").arg(at("lock")).arg("--cache").arg(at("cache")).arg("--output").arg(at("out"));
    run(&mut other);

    let (ours, theirs) = (whole.root.join("out"), at("out"));
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
