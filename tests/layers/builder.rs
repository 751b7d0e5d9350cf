//! The crates that write bits are part of the builder's digests; others are not.

use std::fs;
use std::path::Path;

#[allow(dead_code, clippy::print_stdout, reason = "its main is cargo's")]
#[path = "../../builder/build.rs"]
mod build;

const WRITERS: [&str; 2] = ["tar", "zlib-rs"];

fn lock() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")).unwrap()
}

/// The version that follows a crate's name in a lock.
fn bumped(lock: &str, name: &str) -> String {
    let at = lock.find(&format!("name = \"{name}\"\nversion = \"")).unwrap();
    let version = at + lock[at..].find("version = \"").unwrap() + "version = \"".len();
    format!("{}9{}", &lock[..version], &lock[version..])
}

#[test]
fn a_crate_that_writes_bits_changes_the_digests_and_another_does_not() {
    let pinned = |lock: &str| build::pinned(lock, &WRITERS).unwrap();
    let now = pinned(&lock());
    assert_eq!(now.lines().count(), WRITERS.len(), "{now}");
    assert!(now.lines().all(|line| line.split(' ').filter(|word| !word.is_empty()).count() == 3), "{now}");
    for name in WRITERS {
        assert_ne!(pinned(&bumped(&lock(), name)), now, "{name}");
    }
    assert_eq!(pinned(&bumped(&lock(), "tempfile")), now);
    assert!(build::pinned(&lock(), &["no-such-crate"]).unwrap_err().contains("no-such-crate"));
}
