//! An image that was captured from a node and is booted twice: two nodes, neither of them the one that was captured.

use std::collections::BTreeSet;
use std::fs;

use habuild::boot::{Until, trial};
use habuild::spec::image::Firmware;

use crate::machine::{Node, image};
use crate::{PASSWORD, off, report};

const SECRETS: &str = "sha256sum /var/lib/harbor/share/.habuild/*.json";
/// One line for each thing that no two machines may have in common.
const OWN: &str = "cat /etc/machine-id; cat /etc/ssh/ssh_host_*_key.pub | cut -d ' ' -f 2";

/// Boots an image to a ready Harbor, copies its disk, and boots the copy twice.
pub(crate) fn captured(name: &str) {
    let image = image(name);
    let trial = trial("http://harbor.test", 80, PASSWORD);
    let mut node = Node::start(&image, Firmware::Bios, &trial, &[]);
    node.says(Until::Ready);
    let secrets = node.root(SECRETS).unwrap();
    let mut own: Vec<String> = lines(&node);
    off(&mut node);
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let copy = dir.path().join("captured.qcow2");
    fs::copy(node.machine.disk(), &copy).unwrap();
    drop(node);
    let mut failures = Vec::new();
    // Their user-data differ by the key that logs in, and so does the instance id.
    let copies = [(); 2].map(|()| Node::start(&copy, Firmware::Bios, &trial, &[]));
    for (number, mut node) in copies.into_iter().enumerate() {
        node.says(Until::Ready);
        if node.root(SECRETS).unwrap() != secrets {
            failures.push(format!("copy {number} has other secrets"));
        }
        own.extend(lines(&node));
        // The journal of the machine before has a directory of its own, named by its id: one start was enough.
        let journals = node.root("ls /var/log/journal | wc -l").unwrap();
        if journals.trim() != "2" {
            failures.push(format!("copy {number} has {} machine ids in its journal", journals.trim()));
        }
        let kept = node.root("find /var/lib/habuild/instance -type f").unwrap();
        if kept.lines().count() > 1 {
            failures.push(format!("copy {number} keeps the secrets of others:\n{kept}"));
        }
    }
    let distinct: BTreeSet<&String> = own.iter().collect();
    if own.len() < 9 || distinct.len() != own.len() {
        failures.push(format!("machines have something in common, or too little:\n{}", own.join("\n")));
    }
    report(&failures);
}

fn lines(node: &Node) -> Vec<String> {
    node.root(OWN).unwrap().lines().map(str::to_owned).collect()
}
