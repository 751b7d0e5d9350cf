//! Boots machines under QEMU: the driver against tiny disks of our own, and the images that `habuild image` made.
//!
//! The images come as paths to qcow2 files in `HABUILD_VM_NOBLE` and `HABUILD_VM_BOOKWORM`; without them the tests
//! that need them fail. Machines run one at a time, so the order and number of test threads do not matter.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "kit/boot.rs"]
mod boot;
#[path = "vm/checks.rs"]
mod checks;
#[path = "vm/corruption.rs"]
mod corruption;
#[path = "vm/driver.rs"]
mod driver;
#[path = "vm/journal.rs"]
mod journal;
#[path = "kit/machine.rs"]
mod machine;
#[path = "kit/turns.rs"]
mod turns;
#[path = "vm/waits.rs"]
mod waits;

use std::time::Duration;

use habuild::boot::{Options, Until};
use habuild::spec::image::Firmware;

use machine::{Node, image, options};
use turns::turn;

#[test]
fn noble_bios() {
    let _turn = turn(1);
    let mut node = boot("HABUILD_VM_NOBLE", Firmware::Bios);
    let mut failures = checks::all(&mut node, Firmware::Bios);
    failures.extend(checks::saved(&node));
    let before = identity(&node);
    node.restart("systemctl reboot");
    let again = checks::all(&mut node, Firmware::Bios).into_iter();
    failures.extend(again.map(|failure| format!("after the reboot: {failure}")));
    let after = identity(&node);
    if before != after {
        failures.push(format!("the reboot changed machine id or host keys:\n{before}\nbecame\n{after}"));
    }
    report(&failures);
}

#[test]
fn noble_uefi() {
    let _turn = turn(1);
    report(&checks::all(&mut boot("HABUILD_VM_NOBLE", Firmware::Uefi), Firmware::Uefi));
}

#[test]
fn bookworm_bios() {
    let _turn = turn(1);
    let mut node = boot("HABUILD_VM_BOOKWORM", Firmware::Bios);
    let mut failures = checks::all(&mut node, Firmware::Bios);
    failures.extend(checks::saved(&node));
    report(&failures);
}

/// Boots an image and waits until ssh answers.
fn boot(name: &str, firmware: Firmware) -> Node {
    Node::start(&image(name), firmware, "", &[]).logged_in()
}

/// What a reboot must not change.
fn identity(node: &Node) -> String {
    node.root("cat /etc/machine-id; sha256sum /etc/ssh/ssh_host_*_key.pub").unwrap()
}

/// What a newcomer types: an image, and nothing else.
#[test]
fn noble_is_ready_without_anything() {
    ready("HABUILD_VM_NOBLE");
}

#[test]
fn bookworm_is_ready_without_anything() {
    ready("HABUILD_VM_BOOKWORM");
}

fn ready(name: &str) {
    let _turn = turn(1);
    let options = options(&image(name), Firmware::Bios);
    habuild::boot::run(&Options { until: Some(Until::Ready), timeout: Duration::from_secs(900), ..options }).unwrap();
}

#[test]
fn corrupt_superblock_panics() {
    corruption::panics(&image("HABUILD_VM_NOBLE"), |_root| 0);
}

#[test]
fn corrupt_systemd_panics() {
    corruption::panics(&image("HABUILD_VM_NOBLE"), |root| root.first_byte_of("usr/lib/systemd/systemd"));
}

fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} checks failed:\n- {}", failures.len(), failures.join("\n- "));
}
