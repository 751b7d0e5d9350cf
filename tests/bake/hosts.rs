//! Hosts that lack something: room on the disk, subordinate ids, user namespaces.
#![allow(clippy::disallowed_methods, reason = "starts habuild in namespaces of the test's own")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::caches::{assert_whole, copy_packages, sharing, warm};
use super::people::{as_user, failure, root_command};
use crate::alone::alone;
use crate::mirror::{Manner, Mirror};
use crate::places::{Place, habuild, run};

/// habuild with `directory` on a file system of so many MiB. The mount ends with the process.
fn on_a_small_disk(directory: &Path, mebibytes: u32, habuild: &Command) -> Command {
    on_a_disk(directory, &format!("size={mebibytes}m"), habuild)
}

/// The same with other options of the file system.
fn on_a_disk(directory: &Path, options: &str, habuild: &Command) -> Command {
    fs::create_dir_all(directory).unwrap();
    let mut command = root_command("unshare");
    command.args(["--mount", "sh", "-c"]);
    command.arg(format!("mount -t tmpfs -o {options} none '{}' && exec \"$@\"", directory.display()));
    command.arg("sh").arg(habuild.get_program()).args(habuild.get_args());
    command
}

#[test]
fn a_full_disk_under_the_output() {
    warm();
    let _alone = alone();
    let place = sharing();
    let mut command = on_a_small_disk(&place.path("out"), 100, &place.locked("image"));
    let (code, message) = failure(&mut command);
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("No space left on device") && message.contains("remedy: free some space"), "{message}");
    assert_whole(&place);
}

#[test]
fn a_full_disk_under_the_cache() {
    warm();
    let _alone = alone();
    let place = sharing();
    let small = place.path("small");
    let mut habuild = self::habuild(&place.root);
    habuild.args(["image", "--offline", "--locked"]).arg(&warm().lock).arg("--output").arg(place.path("out"));
    habuild.arg("--cache").arg(small.join("cache"));
    // Room for the packages of the small image and half a base layer.
    let packages = place.path("packages");
    let mebibytes = (copy_packages(warm(), &packages) >> 20) + 64;
    let mut command = on_a_small_disk(&small, mebibytes.try_into().unwrap(), &habuild);
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let script = arguments.iter().position(|argument| argument.starts_with("mount ")).unwrap();
    let fill = format!("mkdir -p {0}/cache && cp -r {1} {0}/cache/ && exec", small.display(), packages.display());
    let mut filled = Command::new(command.get_program());
    for (i, argument) in arguments.iter().enumerate() {
        filled.arg(if i == script { argument.replace("exec", &fill) } else { argument.clone() });
    }
    command = filled;
    let (code, message) = failure(&mut command);
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("the disk is full while layer "), "{message}");
    assert!(message.contains("remedy: free some space"), "{message}");
    assert!(!place.path("out/manifest.json").exists());
}

#[test]
fn a_cache_on_a_restricted_disk_with_a_blank_in_its_path() {
    warm();
    let _alone = alone();
    let place = sharing();
    let disk = place.path("a disk");
    let mut habuild = self::habuild(&place.root);
    habuild.args(["image", "--locked"]).arg(&warm().lock).arg("--output").arg(place.path("out"));
    habuild.arg("--cache").arg(disk.join("the cache"));
    let mirror = Mirror::start(&warm().lock, &warm().cache.join("packages"), Manner::Good);
    habuild.args(["--mirror", &mirror.url()]);
    run(&mut on_a_disk(&disk, "size=3g,nosuid,nodev", &habuild));
    assert_whole(&place);
    assert!(place.path("out/manifest.json").exists());
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
