//! What this image's Harbor cannot do is said before the share says that the cluster is of its version: a node that is refused
//! leaves the others alone.

use std::collections::BTreeMap;
use std::fs;

use super::machine::{Machine, healthy};
use super::report;

/// What the cluster knows of itself: everything that the agent keeps on the share, but which nodes were seen.
fn share(machine: &Machine) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(machine.at("srv/share/.habuild")) else { return BTreeMap::new() };
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

/// A node config with these settings of Harbor's, this database, and `more` at its end.
fn node(port: u16, settings: &str, database: &str, more: &str) -> String {
    format!(
        "version: 1\ncluster: hub\nharbor: {{external_url: 'http://hub.example.com', http_port: {port}, admin_password: \
         'ref+file:///etc/admin', settings: {{jobservice: {settings}}}}}\nstorage: {{local: {{path: /srv/share}}}}\n\
         database: {database}\nredis: bundled\n{more}"
    )
}

/// Boots it, which must be refused with these words, and must leave the share as it was.
fn refused(machine: &Machine, words: &str) {
    let before = share(machine);
    let output = machine.output();
    let said = report(&output);
    assert!(!output.status.success() && said.contains(words), "{said}");
    assert_eq!(share(machine), before, "{said}");
}

#[test]
fn a_setting_that_the_next_version_has_not_got() {
    let port = healthy();
    let machine = Machine::new("v2.14.1", port);
    machine.whole();
    assert!(!share(&machine).is_empty());
    machine.bundle("v2.15.2");
    let upgrade = "upgrade: {from: v2.14.1}\n";
    machine.tell(&node(port, "{max_job_worker: 3}", "bundled", upgrade));
    refused(&machine, "metadata: harbor.settings.jobservice.max_job_worker: Harbor v2.15.2 has no such setting");
    let before = share(&machine);
    machine.tell(&node(port, "{max_job_workers: 3}", "bundled", upgrade));
    machine.whole();
    assert_ne!(share(&machine), before, "the cluster is of the next version");
}

#[test]
fn a_password_that_is_fetched_and_that_harbor_would_cut() {
    let machine = Machine::new("v2.15.2", 80);
    machine.file("etc/password", "s3 cret\n");
    let database = "{kind: postgresql, host: 127.0.0.1, user: harbor, password: 'ref+file:///etc/password'}";
    machine.tell(&node(80, "{max_job_workers: 3}", database, ""));
    refused(&machine, "preflight: database.password: holds a blank");
    assert!(share(&machine).is_empty());
}
