//! The archives' key rings hold exactly the keys that the list beside them names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use habuild::sys::cmd::Cmd;

use super::{nothing, root};

const KEYS: &str = "layers/base/keys";
const LIST: &str = "FINGERPRINTS";

/// A key ring and the fingerprint of a key in it, subkeys too.
type Key = (String, String);

#[test]
fn key_rings_hold_the_listed_keys_and_no_other() {
    let directory = root().join(KEYS);
    let wanted = listed(&fs::read_to_string(directory.join(LIST)).unwrap());
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name != LIST {
            held.extend(fingerprints(&path).into_iter().map(|fingerprint| (name.clone(), fingerprint)));
        }
    }
    let words = |keys: Vec<&Key>, what: &str| -> Vec<String> {
        keys.into_iter().map(|(ring, key)| format!("{KEYS}/{ring}: {key} {what}")).collect()
    };
    let mut found = words(held.difference(&wanted).collect(), "is in the ring and not in the list");
    found.extend(words(wanted.difference(&held).collect(), "is in the list and not in the ring"));
    nothing(&format!("the key rings hold what {KEYS}/{LIST} says"), &found);
    assert!(!held.is_empty(), "there is no key ring in {KEYS}");
}

/// The keys of a list: `RING FINGERPRINT WHOSE`, one a line, and comments.
fn listed(text: &str) -> BTreeSet<Key> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let key = |line: &str| {
        let mut words = line.split_whitespace();
        let (ring, fingerprint) = (words.next()?, words.next()?);
        let good = fingerprint.len() == 40 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit());
        good.then(|| (ring.to_owned(), fingerprint.to_owned()))
    };
    lines.map(|line| key(line).unwrap_or_else(|| panic!("{LIST}: not RING FINGERPRINT: {line}"))).collect()
}

/// The fingerprints of all keys in a ring, as GnuPG reads them.
fn fingerprints(ring: &Path) -> Vec<String> {
    // GnuPG makes its directory where there is none: it gets one of its own.
    let home = tempfile::tempdir().unwrap();
    let gpg = Cmd::program("gpg").arg("--homedir").arg(home.path()).args(["--batch", "--show-keys", "--with-colons"]);
    let text = gpg.arg(ring).output_text();
    let text = text.unwrap_or_else(|error| panic!("tidy reads key rings with gpg: make setup installs it ({error:#})"));
    fingerprints_in(&text)
}

fn fingerprints_in(colons: &str) -> Vec<String> {
    let fields =
        colons.lines().filter_map(|line| line.strip_prefix("fpr:")?.split(':').find(|field| !field.is_empty()));
    fields.map(str::to_owned).collect()
}

#[test]
fn reads_what_gpg_says() {
    let text = "pub:-:4096:1:0E98404D386FA1D9:1:::-:::scSC::::::23::0:\nfpr:::::::::A7236886F3CCCAAD148A27F80E98404D386FA1D9:\nuid:-::::1::X::x::::::::::0:\n";
    assert_eq!(fingerprints_in(text), ["A7236886F3CCCAAD148A27F80E98404D386FA1D9"]);
    let line = "debian.gpg A7236886F3CCCAAD148A27F80E98404D386FA1D9 Archive (11)";
    assert_eq!(listed(&format!("# keys\n\n{line}\n")).len(), 1);
}
