//! Boots that `make test` leaves out: damaged roots, a first boot under UEFI, each release as a newcomer starts it, all that
//! Docker can be asked about the store, and a node that things are done to.

use std::time::Duration;

use habuild::boot::{Forward, Options, Until, trial};
use habuild::spec::image::Firmware;

use crate::machine::{Node, image, options};
use crate::turns::turn;
use crate::{PASSWORD, checks, compose, copies, corruption, identity, initrd, releases, report, store};

#[test]
fn noble_first_under_uefi_and_reset() {
    let _turn = turn(1);
    let mut node = Node::start(&image("HABUILD_VM_NOBLE"), Firmware::Uefi, "", &[]).logged_in();
    let mut failures = checks::all(&mut node, Firmware::Uefi);
    let before = identity(&node);
    node.restart("systemctl reboot");
    let again = checks::all(&mut node, Firmware::Uefi).into_iter();
    failures.extend(again.map(|failure| format!("after the reset: {failure}")));
    assert_eq!(before, identity(&node));
    report(&failures);
}

#[test]
fn release_noble() {
    releases::seen("HABUILD_VM_NOBLE");
}

#[test]
fn release_bookworm() {
    releases::seen("HABUILD_VM_BOOKWORM");
}

#[test]
fn release_trixie() {
    releases::seen("HABUILD_VM_TRIXIE");
}

#[test]
fn release_jammy() {
    releases::seen("HABUILD_VM_JAMMY");
}

#[test]
fn release_resolute() {
    releases::seen("HABUILD_VM_RESOLUTE");
}

#[test]
fn noble_store() {
    store("HABUILD_VM_NOBLE");
}

#[test]
fn bookworm_store() {
    store("HABUILD_VM_BOOKWORM");
}

/// A Harbor of its own, and everything that Docker can be asked about the store that was baked.
fn store(name: &str) {
    let _turn = turn(1);
    // The registry's clients, here and on the node, call it by one name: so the port is the same here and there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let trial = trial(&format!("http://{}:{port}", store::NAME), port, PASSWORD);
    let forward = Forward { host: port, guest: port };
    let mut node = Node::start(&image(name), Firmware::Bios, &trial, &[forward]);
    node.says(Until::Ready);
    let mut failures = checks::all(&mut node, Firmware::Bios);
    failures.extend(store::used(&node));
    failures.extend(compose::refused(&node));
    failures.extend(store::saved(&node));
    failures.extend(store::loaded_again(&node));
    failures.extend(store::pushed(&node, port, PASSWORD));
    report(&failures);
}

/// Whatever is killed, Harbor is back by itself, with the secrets that it had.
#[test]
fn noble_comes_back() {
    let _turn = turn(1);
    let trial = trial("http://harbor.test", 80, PASSWORD);
    let mut node = Node::start(&image("HABUILD_VM_NOBLE"), Firmware::Bios, &trial, &[]);
    node.says(Until::Ready);
    // The plug is pulled with everything just begun to be written.
    node.machine.power_cycle(Firmware::Bios).unwrap();
    node.says(Until::Ready);
    let secrets = "sha256sum /var/lib/harbor/share/.habuild/*";
    let before = node.root(secrets).unwrap();
    let healthy = "set -e
answers() { test \"$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1/$1)\" = $2; }
timeout 300 sh -c 'until docker ps | grep -q harbor-ui && curl -sf http://127.0.0.1/api/repositories/top; do sleep 1; done'
answers / 200; answers v2/ 401; timeout 60 sh -c 'until habuild-firstboot status; do sleep 1; done'";
    for (what, act) in [
        ("a killed container", "docker kill harbor-ui registry"),
        ("a restart of Docker", "systemctl restart docker"),
        ("a killed supervisor", "systemctl kill --kill-whom=main --signal=KILL harbor"),
        ("a killed Docker", "systemctl kill --kill-whom=main --signal=KILL docker"),
        ("a killed agent", "systemctl kill --kill-whom=main --signal=KILL habuild-firstboot"),
        ("a removed container", "docker rm --force nginx"),
    ] {
        node.root(act).unwrap_or_else(|error| panic!("{what}: {error:#}"));
        node.root(healthy).unwrap_or_else(|error| panic!("after {what}: {error:#}"));
    }
    assert_eq!(node.root(secrets).unwrap(), before);
    node.restart("systemctl reboot");
    node.root(healthy).unwrap_or_else(|error| panic!("after a reset: {error:#}"));
    assert_eq!(node.root(secrets).unwrap(), before);
}

#[test]
fn noble_captured() {
    let _turn = turn(2);
    copies::captured("HABUILD_VM_NOBLE");
}

#[test]
fn bookworm_captured() {
    let _turn = turn(2);
    copies::captured("HABUILD_VM_BOOKWORM");
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

#[test]
fn corrupt_program_panics_when_it_is_read() {
    corruption::panics_late(&image("HABUILD_VM_NOBLE"), "usr/bin/dpkg");
}

#[test]
fn noble_refuses_disks_that_cannot_be_started() {
    initrd::refuses(&image("HABUILD_VM_NOBLE"));
}

#[test]
fn bookworm_refuses_disks_that_cannot_be_started() {
    initrd::refuses(&image("HABUILD_VM_BOOKWORM"));
}

#[test]
fn a_shell_for_whoever_asks() {
    initrd::shell(&image("HABUILD_VM_NOBLE"));
    initrd::shell(&image("HABUILD_VM_BOOKWORM"));
}
