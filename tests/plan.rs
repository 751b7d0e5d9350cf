//! Locks, made by the host's apt from a small signed archive of the test's own. No network.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kit/repository.rs"]
mod repository;
#[path = "kit/specs.rs"]
mod specs;

use std::fs;
use std::path::PathBuf;

use habuild::plan::archive::Archive;
use habuild::plan::choice::Choice;
use habuild::plan::lock::{Lock, Request};
use habuild::report::{Fault, fault_of};
use habuild::spec::image::Base;
use habuild::spec::names::Distribution;

use repository::Repository;
use specs::base;

/// A cache and a recorded lock beside a repository. The paths hold blanks: apt splits what it reads at them.
struct Place {
    directory: tempfile::TempDir,
    repository: Repository,
    archive: Archive,
    base: Base,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("a place ").tempdir().unwrap();
        let repository = Repository::new();
        let keyring = directory.path().join("key ring.gpg");
        fs::copy(repository.keyring(), &keyring).unwrap();
        let archive = Archive {
            mirror: "the test's archive".into(),
            security: None,
            keyring,
            sources: format!("deb [arch=amd64] {} ./\n", repository.url()),
        };
        Self { directory, repository, archive, base: base(Distribution::Debian, "bookworm") }
    }

    fn recorded(&self) -> PathBuf {
        self.directory.path().join("image.lock")
    }

    /// The lock for a layer that asks for these packages.
    fn lock(&self, packages: &[&str], offline: bool) -> anyhow::Result<Lock> {
        let packages = packages.iter().map(|name| (*name).to_owned()).collect();
        Choice {
            locked: None,
            recorded: self.recorded(),
            offline,
            cache: &self.directory.path().join("the cache"),
            archive: &self.archive,
            base: &self.base,
            requests: &[Request { layer: "base".into(), above: Vec::new(), packages }],
        }
        .lock()
    }

    fn record(&self, lock: &Lock) {
        fs::write(self.recorded(), lock.text().unwrap()).unwrap();
    }
}

fn versions(lock: &Lock) -> Vec<String> {
    lock.versions().iter().map(|(name, version)| format!("{name}={version}")).collect()
}

const FIRST: &str = "Thu, 01 Jan 2026 00:00:00 UTC";
const LATER: &str = "Sun, 01 Feb 2026 00:00:00 UTC";

#[test]
fn what_stays_keeps_its_version_while_the_archive_has_it() {
    let place = Place::new();
    place.repository.offer(FIRST, &[("core", "1", ""), ("tool", "1", "")]);
    let first = place.lock(&["tool"], false).unwrap();
    assert_eq!(versions(&first), ["core=1", "tool=1"]);
    place.record(&first);
    // The archive goes on, and the spec asks for one package more.
    place
        .repository
        .offer(LATER, &[("core", "1", ""), ("core", "2", ""), ("tool", "1", ""), ("tool", "2", ""), ("more", "1", "")]);
    assert_eq!(place.lock(&["tool"], false).unwrap(), first, "a lock that fits is used as it is");
    let second = place.lock(&["tool", "more"], false).unwrap();
    assert_eq!(versions(&second), ["core=1", "more=1", "tool=1"]);
    assert_eq!(second.changes_from(&first), ["+ more 1"]);
    assert_eq!(second.epoch, first.epoch, "nothing moved: other layers stay what they were");
}

#[test]
fn what_the_archive_dropped_moves_and_is_told() {
    let place = Place::new();
    place.repository.offer(FIRST, &[("core", "1", ""), ("tool", "1", "")]);
    let first = place.lock(&["tool"], false).unwrap();
    place.record(&first);
    place.repository.offer(LATER, &[("core", "1", ""), ("core", "2", ""), ("tool", "2", ""), ("more", "1", "")]);
    let second = place.lock(&["tool", "more"], false).unwrap();
    assert_eq!(versions(&second), ["core=1", "more=1", "tool=2"]);
    assert_eq!(second.changes_from(&first), ["+ more 1", "  tool 1 -> 2"]);
    assert_eq!(second.epoch - first.epoch, 31 * 86_400);
}

#[test]
fn what_the_solver_cannot_keep_moves_and_is_told() {
    let place = Place::new();
    place.repository.offer(FIRST, &[("core", "1", ""), ("tool", "1", "")]);
    let first = place.lock(&["tool"], false).unwrap();
    place.record(&first);
    let more = ("more", "1", "tool (>= 2)");
    place.repository.offer(LATER, &[("core", "1", ""), ("tool", "1", ""), ("tool", "2", ""), more]);
    let second = place.lock(&["tool", "more"], false).unwrap();
    assert_eq!(versions(&second), ["core=1", "more=1", "tool=2"]);
    assert_eq!(second.changes_from(&first), ["+ more 1", "  tool 1 -> 2"]);
}

#[test]
fn a_recorded_lock_that_cannot_be_read_is_named_and_kept() {
    let place = Place::new();
    place.repository.offer(FIRST, &[("core", "1", ""), ("tool", "1", "")]);
    for text in ["version = 1\nthis is no lock\n", "", "version = 9\n"] {
        fs::write(place.recorded(), text).unwrap();
        let error = place.lock(&["tool"], false).unwrap_err();
        assert_eq!(fault_of(&error), Fault::Usage, "{error:#}");
        assert!(format!("{error:#}").contains("image.lock"), "{error:#}");
        assert_eq!(fs::read_to_string(place.recorded()).unwrap(), text);
    }
}

#[test]
fn offline_says_why_the_recorded_lock_does_not_do() {
    let place = Place::new();
    place.repository.offer(FIRST, &[("core", "1", ""), ("tool", "1", ""), ("more", "1", "")]);
    let error = place.lock(&["tool"], true).unwrap_err();
    assert!(format!("{error:#}").contains("it is not there"), "{error:#}");
    place.record(&place.lock(&["tool"], false).unwrap());
    let error = place.lock(&["tool", "more"], true).unwrap_err();
    assert!(format!("{error:#}").contains("layer base asks for more, which it lacks"), "{error:#}");
    assert_eq!(fault_of(&error), Fault::Input);
}

#[test]
fn an_index_that_another_key_signed() {
    let mut place = Place::new();
    place.repository.offer(FIRST, &[("core", "1", ""), ("tool", "1", "")]);
    let other = Repository::new();
    place.archive.keyring = other.keyring();
    let error = place.lock(&["tool"], false).unwrap_err();
    assert_eq!(fault_of(&error), Fault::Input, "{error:#}");
    assert!(format!("{error:#}").contains("is not signed by a key of"), "{error:#}");
}
