//! Boots machines under QEMU: the driver against tiny disks of our own, and the images that `habuild image` made.
//!
//! The images come as paths to qcow2 files in `HABUILD_VM_NOBLE` and `HABUILD_VM_BOOKWORM`; without them the tests
//! that need them fail. Machines run one at a time, so the order and number of test threads do not matter.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "vm/checks.rs"]
mod checks;
#[path = "vm/corruption.rs"]
mod corruption;
#[path = "vm/driver.rs"]
mod driver;
#[path = "vm/journal.rs"]
mod journal;
#[path = "vm/node.rs"]
#[allow(dead_code, reason = "the lab needs more of it")]
mod node;
#[path = "vm/waits.rs"]
mod waits;

use std::time::Duration;

use habuild::boot::{self, Options, Until};
use habuild::spec::image::Firmware;

use node::{Node, image};

#[test]
fn noble_bios() {
    let mut node = Node::boot(&image("HABUILD_VM_NOBLE"), Firmware::Bios);
    let mut failures = checks::all(&mut node);
    let before = node.identity();
    node.reboot();
    failures.extend(checks::all(&mut node).into_iter().map(|failure| format!("after the reboot: {failure}")));
    let after = node.identity();
    if before != after {
        failures.push(format!("the reboot changed machine id or host keys:\n{before}\nbecame\n{after}"));
    }
    report(&failures);
}

#[test]
fn noble_uefi() {
    report(&checks::all(&mut Node::boot(&image("HABUILD_VM_NOBLE"), Firmware::Uefi)));
}

#[test]
fn bookworm_bios() {
    report(&checks::all(&mut Node::boot(&image("HABUILD_VM_BOOKWORM"), Firmware::Bios)));
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
    let _alone = node::alone();
    let options = node::options(&image(name), Firmware::Bios);
    boot::run(&Options { until: Some(Until::Ready), timeout: Duration::from_secs(900), ..options }).unwrap();
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
