//! Boots machines under QEMU: the driver against tiny disks of our own, and the images that `habuild image` made.
//!
//! The images come as paths to qcow2 files in `HABUILD_VM_NOBLE`, `HABUILD_VM_BOOKWORM` and so on; without them the tests
//! that need them fail. Two machines run side by side, the other tests wait for their turn, so the order and number of
//! test threads do not matter.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "vm/bare.rs"]
mod bare;
#[path = "kit/boot.rs"]
mod boot;
#[path = "kit/bundle.rs"]
mod bundle;
#[path = "vm/checks.rs"]
mod checks;
#[path = "vm/compose.rs"]
mod compose;
#[path = "vm/copies.rs"]
mod copies;
#[path = "vm/corruption.rs"]
mod corruption;
#[path = "vm/disk.rs"]
mod disk;
#[path = "vm/driver.rs"]
mod driver;
#[path = "vm/initrd.rs"]
mod initrd;
#[path = "vm/journal.rs"]
mod journal;
#[path = "vm/longer.rs"]
mod longer;
#[path = "kit/machine.rs"]
mod machine;
#[path = "vm/releases.rs"]
mod releases;
#[path = "vm/secrets.rs"]
mod secrets;
#[path = "kit/server.rs"]
mod server;
#[path = "vm/store.rs"]
mod store;
#[path = "kit/turns.rs"]
mod turns;
#[path = "vm/waits.rs"]
mod waits;

use std::time::Duration;

use habuild::boot::{Goal, Outcome, Until, trial};
use habuild::spec::image::Firmware;

use machine::{Node, image};
use turns::turn;

/// Of Harbor's administrator.
const PASSWORD: &str = "Trial-12345-of-the-test";

/// A node's life: its first boot under BIOS, up to a Harbor of its own; switched off; on again, under UEFI.
#[test]
fn noble() {
    let _turn = turn(2);
    let trial = trial("http://harbor.test", 80, PASSWORD);
    let mut node = Node::start(&image("HABUILD_VM_NOBLE"), Firmware::Bios, &trial, &[]);
    node.says(Until::Ready);
    let mut failures = checks::all(&mut node, Firmware::Bios);
    failures.extend(store::used(&node));
    failures.extend(secrets::leaks(&mut node, &[PASSWORD]));
    let before = identity(&node);
    off(&mut node);
    node.machine.power_cycle(Firmware::Uefi).unwrap();
    node.says(Until::Ready);
    let again = checks::all(&mut node, Firmware::Uefi).into_iter();
    failures.extend(again.map(|failure| format!("when it was on again: {failure}")));
    let after = identity(&node);
    if before != after {
        failures.push(format!("machine id or host keys are others after the first boot:\n{before}\nbecame\n{after}"));
    }
    report(&failures);
}

#[test]
fn bookworm() {
    let _turn = turn(2);
    let mut node = Node::start(&image("HABUILD_VM_BOOKWORM"), Firmware::Bios, "", &[]).logged_in();
    let failures = checks::all(&mut node, Firmware::Bios);
    report(&failures);
}

/// Powers the machine off and waits until it is.
fn off(node: &mut Node) {
    // The connection may end before the answer comes.
    let _ = node.root("systemctl poweroff");
    match node.machine.wait(Goal::End, Some(Duration::from_secs(300))) {
        Ok(Outcome::Reached) => {}
        other => panic!("{other:?}"),
    }
}

/// What must stay for as long as the node lives.
fn identity(node: &Node) -> String {
    node.root("cat /etc/machine-id; sha256sum /etc/ssh/ssh_host_*_key.pub").unwrap()
}

fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} checks failed:\n- {}", failures.len(), failures.join("\n- "));
}
