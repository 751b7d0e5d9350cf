//! A layer's key changes when, and only when, something changes that can change the layer.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::caches::{locked, planning};
use crate::places::{Place, run};

/// Changes the project, and says which keys change.
fn changed(change: impl FnOnce(&Place)) -> Vec<String> {
    let place = planning();
    let before = place.keys();
    change(&place);
    before.into_iter().zip(place.keys()).filter(|(a, b)| a != b).map(|(a, _)| a.0).collect()
}

fn edit(place: &Place, file: &str, change: impl FnOnce(String) -> String) {
    let path = place.path(file);
    fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
}

const DAEMON: &str = "layers/docker/files/daemon.json";

#[test]
fn nothing_changed() {
    assert!(changed(|_| ()).is_empty());
}

#[test]
fn the_content_of_a_file() {
    assert_eq!(changed(|place| edit(place, DAEMON, |text| text + "\n")), ["docker", "firstboot", "disk"]);
}

#[test]
fn a_file_that_no_action_names() {
    assert!(changed(|place| fs::write(place.path("layers/docker/files/notes"), "x").unwrap()).is_empty());
}

#[test]
fn the_time_of_a_file() {
    let touch = |place: &Place| {
        let file = fs::File::options().write(true).open(place.path(DAEMON)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    assert!(changed(touch).is_empty());
}

#[test]
fn the_mode_of_a_file() {
    let executable = |place: &Place| {
        fs::set_permissions(place.path(DAEMON), fs::Permissions::from_mode(0o755)).unwrap();
    };
    assert_eq!(changed(executable), ["docker", "firstboot", "disk"]);
    // Other bits do not reach the image: another umask bakes the same layer.
    let private = |place: &Place| {
        fs::set_permissions(place.path(DAEMON), fs::Permissions::from_mode(0o600)).unwrap();
    };
    assert!(changed(private).is_empty());
}

#[test]
fn an_action() {
    let action = "\n[[action]]\ndirectory = { path = \"/opt/more\" }\n";
    assert_eq!(
        changed(|place| edit(place, "layers/docker/layer.toml", |text| text + action)),
        ["docker", "firstboot", "disk"]
    );
}

#[test]
fn an_action_for_another_release() {
    let action = "\n[[action]]\nwhen = [\"debian\"]\ndirectory = { path = \"/opt/more\" }\n";
    assert!(changed(|place| edit(place, "layers/docker/layer.toml", |text| text + action)).is_empty());
}

#[test]
fn the_first_boot_binary() {
    let binary = "target/x86_64-unknown-linux-musl/release/habuild-firstboot";
    assert_eq!(changed(|place| fs::write(place.path(binary), "another").unwrap()), ["firstboot", "disk"]);
}

#[test]
fn the_initrds_program() {
    let binary = "target/x86_64-unknown-linux-musl/initrd/habuild-init";
    assert_eq!(changed(|place| fs::write(place.path(binary), "another").unwrap()), ["tools", "initrd", "disk"]);
}

#[test]
fn what_only_the_disk_is_made_from() {
    let size = |place: &Place| {
        edit(place, "images/harbor-node.toml", |text| text.replace("[\"bios\", \"uefi\"]", "[\"uefi\"]"))
    };
    assert_eq!(changed(size), ["disk"]);
}

#[test]
fn words_for_people() {
    let words = |place: &Place| {
        edit(place, "layers/docker/layer.toml", |text| text.replace("Docker and Compose", "Compose and Docker"));
        edit(place, "images/harbor-node.toml", |text| text + "# a comment\n");
    };
    assert!(changed(words).is_empty());
}

#[test]
fn the_order_of_layers() {
    let order = |place: &Place| {
        edit(place, "images/harbor-node.toml", |text| {
            text.replace("\"docker\", \"firstboot\"", "\"firstboot\", \"docker\"")
        });
    };
    let place = planning();
    order(&place);
    let (code, message) = super::people::failure(&mut place.locked("plan"));
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("lies on other layers there"), "{message}");
}

#[test]
fn the_pin_of_a_package() {
    let place = planning();
    let lock = fs::read_to_string(&locked().lock).unwrap();
    let at = lock.find("name = \"bc\"").unwrap();
    let digest = at + lock[at..].find("sha256 = \"").unwrap() + 10;
    let other = format!("{}{}{}", &lock[..digest], "0".repeat(64), &lock[digest + 64..]);
    fs::write(place.path("lock"), other).unwrap();
    let before = place.plan();
    let after = run(place.habuild("plan").args(["--json", "--locked"]).arg(place.path("lock")));
    let after: serde_json::Value = serde_json::from_str(&after).unwrap();
    let differ = |i: usize| before["layers"][i]["key"] != after["layers"][i]["key"];
    // tools, base, ceph, docker, firstboot
    assert_eq!([0, 1, 2, 3, 4].map(differ), [false, false, false, true, true]);
}
