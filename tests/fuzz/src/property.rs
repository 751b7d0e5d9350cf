//! What must hold for every archive that somebody hands us, whatever it holds: it is unpacked into a store that lays
//! out, or it is refused as what it is. Nothing is written beside the place for it.
//!
//! Each function takes the input of one fuzz target; `tests/corpus.rs` calls them with every input that was kept.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path};

use anyhow::Error;
use habuild::bake::bundle::{self, Bundle, Bundles};
use habuild::bake::docker::{self, StoredLayer, marks};
use habuild::bake::rootfs::Rootfs;
use habuild::bake::store::Store;
use habuild::report::{Fault, fault_of};
use habuild::sys::digest::Digest;

#[path = "../../bundle/make.rs"]
pub(crate) mod make;
#[path = "tars.rs"]
pub(crate) mod tars;

use make::{Image, Tar, gzip, save};

const GZIP: &[u8] = &[0x1f, 0x8b];

/// The tar of one layer.
pub(crate) fn layer(tar: &[u8]) {
    let mut tar = tar.to_vec();
    if let Some(owner) = only_own() {
        tars::give(&mut tar, owner);
    }
    whole(&around(&save(&[Image::new("app:1", &[&tar])])));
}

/// What `docker save` wrote, not compressed.
pub(crate) fn images(archive: &[u8]) {
    let mut archive = archive.to_vec();
    if let Some(owner) = only_own() {
        tars::give_layers(&mut archive, owner);
    }
    whole(&around(&archive));
}

/// A layer's file, compressed somehow. No configuration names what it holds.
pub(crate) fn compressed(blob: &[u8]) {
    let name = format!("blobs/sha256/{}", Digest::of(blob));
    whole(&around(&Tar::new().file(&name, blob).file("manifest.json", "[]").finish()));
}

/// A bundle, compressed; or its tar, where the image archive is a plain tar too.
pub(crate) fn bundle(bytes: &[u8]) {
    if bytes.starts_with(GZIP) {
        return whole(bytes);
    }
    let mut tar = bytes.to_vec();
    let is_archive = |piece: &tars::Piece| piece.name.starts_with("harbor/harbor.") && piece.name.ends_with(".tar.gz");
    // The last first, since what lies behind a changed one moves.
    for piece in tars::pieces(&tar).into_iter().rev().filter(is_archive) {
        let mut archive = tar[piece.content.clone()].to_vec();
        if archive.starts_with(GZIP) {
            continue;
        }
        if let Some(owner) = only_own() {
            tars::give_layers(&mut archive, owner);
        }
        tars::set_content(&mut tar, &piece, &gzip(&archive));
    }
    whole(&gzip(&tar));
}

/// A bundle with that image archive, and a compose file that wants nothing of it.
fn around(archive: &[u8]) -> Vec<u8> {
    let files = Tar::new().file("harbor/docker-compose.yml", "services: {}\n");
    gzip(&files.file("harbor/harbor.v1.1.2.tar.gz", gzip(archive)).finish())
}

/// Who must own what is unpacked here. A build is root, in a namespace of its own.
fn only_own() -> Option<(u32, u32)> {
    let own = fs::metadata("/proc/self").unwrap();
    (own.uid() != 0).then(|| (own.uid(), own.gid()))
}

/// The property itself.
fn whole(tgz: &[u8]) {
    let place = tempfile::tempdir().unwrap();
    // What climbs out a little is seen in these.
    let at = place.path().join("1/2/3/4");
    fs::create_dir_all(&at).unwrap();
    let file = at.join("harbor.tgz");
    fs::write(&file, tgz).unwrap();
    {
        let store = Store::open(&at.join("cache")).unwrap();
        let unpack = || bundle::unpack(&file, "harbor.tgz", Digest::of(tgz), &store);
        match unpack() {
            Err(error) => refused(&error),
            Ok(bundle) => {
                laid_out(&bundle, &store, &at);
                let again = unpack().expect("what was good is good with a cache too");
                assert_eq!((again.images, again.layers), (bundle.images, bundle.layers));
            }
        }
    }
    nothing_beside(place.path());
    if only_own().is_some() {
        make_removable(place.path());
    }
}

fn refused(error: &Error) {
    let may_not = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    if only_own().is_some() && error.chain().any(may_not) {
        return;
    }
    let words = format!("{error:#}");
    assert_eq!(fault_of(error), Fault::Input, "{words}");
    assert!(!words.contains(char::is_control), "a message for a terminal: {words:?}");
    assert!(words.len() < 10_000, "a message for people: {} bytes", words.len());
}

fn laid_out(bundle: &Bundle, store: &Store, at: &Path) {
    bundle::install(bundle, &Rootfs::new(&at.join("root"))).unwrap();
    docker::lay_out(&at.join("docker"), &bundle.images, &bundle.layers).unwrap();
    bundle.layers.values().for_each(marks_can_be_made);
    let (_, mut damaged) = Bundles::open(store).unwrap().verify().unwrap();
    // A file without permissions can be read by root only.
    damaged.retain(|(_, words)| only_own().is_none() || !words.contains("Permission denied"));
    assert_eq!(damaged, [], "the tar can be made again");
}

/// `assemble` finds for each mark what it is about, and nothing where it makes something.
fn marks_can_be_made(layer: &StoredLayer) {
    let mut marks = layer.marks.clone();
    assert_eq!(marks::parse(&marks::text(&mut marks)).unwrap(), layer.marks);
    let diff = layer.diff();
    let is_node = |path: &Path| layer.marks.iter().any(|m| m.path == path && matches!(m.what, marks::What::Node(_)));
    for mark in &layer.marks {
        let path = &mark.path;
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{mark:?} leads out");
        assert!(!path.as_os_str().as_encoded_bytes().ends_with(b"/"), "{mark:?} ends in a slash");
        let there = fs::symlink_metadata(diff.join(path)).ok();
        match mark.what {
            marks::What::Whiteout | marks::What::Node(_) => {
                let parent = path.parent().expect("it takes a name to make something");
                assert!(diff.join(parent).symlink_metadata().unwrap().is_dir(), "{mark:?} lies in no directory");
                assert!(there.is_none(), "{mark:?} is there already");
            }
            marks::What::Opaque => assert!(there.unwrap().is_dir(), "{mark:?} is no directory"),
            _ => assert!(there.is_some() || is_node(path), "{mark:?} is about nothing"),
        }
    }
}

/// Whatever was unpacked, it lies where it should.
fn nothing_beside(place: &Path) {
    for (below, names) in [
        ("", &["1"][..]),
        ("1", &["2"]),
        ("1/2", &["3"]),
        ("1/2/3", &["4"]),
        ("1/2/3/4", &["cache", "docker", "harbor.tgz", "root"]),
        ("1/2/3/4/cache", &["FORMAT", "bundles", "images", "keys", "layers", "trees", "work"]),
        ("1/2/3/4/cache/work", &[]),
        ("1/2/3/4/cache/layers", &[]),
        ("1/2/3/4/cache/trees", &[]),
        ("1/2/3/4/cache/keys", &[]),
        ("1/2/3/4/root", &["usr"]),
    ] {
        only(&place.join(below), names);
    }
    for (of, names) in
        [("images", &["diff", "layer.json", "marks", "tar-split.json.gz"][..]), ("bundles", &["bundle.json", "files"])]
    {
        for entry in fs::read_dir(place.join("1/2/3/4/cache").join(of)).unwrap().map(|entry| entry.unwrap()) {
            match entry.file_name() == "lock" {
                true => assert_eq!(entry.metadata().unwrap().len(), 0),
                false => only(&entry.path(), names),
            }
        }
    }
}

/// A directory, if it is there, has no other names than these.
fn only(directory: &Path, names: &[&str]) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let found: BTreeSet<String> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into()).collect();
    let other: Vec<&String> = found.iter().filter(|name| !names.contains(&name.as_str())).collect();
    assert!(other.is_empty(), "{other:?} in {}", directory.display());
}

/// What has no permissions cannot be removed by an ordinary user.
fn make_removable(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_removable(&entry.path());
        }
    }
}
