//! What the cache keeps of bundles: layers once, found again, and judged.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use habuild::bake::bundle::{self, Bundles};
use habuild::bake::docker::{self, Images};
use habuild::bake::packages::Packages;
use habuild::bake::store::Store;
use habuild::plan::layer::{BundleSource, PlannedBundle};
use habuild::sys::digest::Digest;
use tempfile::TempDir;

use super::make::{Blobs, Image, Tar, bundle, save, save_blobs, save_with};
use super::unpack_with;

const TAG: &str = "vmware/app:v1";

fn layer(content: &str) -> Vec<u8> {
    Tar::new().file("words", content).finish()
}

/// A cache and its store.
fn cache() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

fn inode(store: &Store, layer: &[u8]) -> u64 {
    let layer = Images::open(store).unwrap().find(Digest::of(layer)).unwrap().unwrap();
    fs::metadata(layer.diff().join("words")).unwrap().ino()
}

fn unpack(store: &Store, version: &str, saved: &[u8]) -> super::Unpacked {
    unpack_with(tempfile::tempdir().unwrap(), store, &bundle(version, &[TAG], saved)).unwrap()
}

#[test]
fn what_bundles_share_is_unpacked_once() {
    let (base, first, second) = (layer("base"), layer("1"), layer("2"));
    for archive in [
        save as fn(&[Image]) -> Vec<u8>,
        |images| save_blobs(images, Blobs::Plain),
        |images| save_blobs(images, Blobs::Zstd),
    ] {
        let (_directory, store) = cache();
        let one = unpack(&store, "v1.1.1", &archive(&[Image::new(TAG, &[&base, &first])]));
        let made = inode(&store, &base);
        let other = unpack(&store, "v1.1.2", &archive(&[Image::new(TAG, &[&base, &second])]));
        assert_eq!(inode(&store, &base), made);
        let of = |unpacked: &super::Unpacked| unpacked.bundle.layers.keys().copied().collect::<Vec<_>>();
        assert!(of(&one).contains(&Digest::of(&base)) && of(&other).contains(&Digest::of(&base)));
        assert!(of(&other).contains(&Digest::of(&second)) && !of(&other).contains(&Digest::of(&first)));
    }
}

/// The names of old archives are ids that another archive may use for something else: what its bytes say counts.
#[test]
fn a_name_that_means_another_layer_is_read_again() {
    let (_directory, store) = cache();
    unpack(&store, "v1.1.1", &save(&[Image::new(TAG, &[&layer("old")])]));
    let new = unpack(&store, "v1.1.2", &save(&[Image::new(TAG, &[&layer("new")])]));
    assert_eq!(new.bundle.layers.keys().copied().collect::<Vec<_>>(), [Digest::of(&layer("new"))]);
    assert_ne!(inode(&store, &layer("old")), inode(&store, &layer("new")));
    // And a bundle that is wrong is refused as it would be without a cache.
    let wrong = save_with(&[Image::new(TAG, &[&layer("old")])], |manifest| {
        manifest[0]["Layers"] = serde_json::json!([]);
    });
    let error = unpack_with(tempfile::tempdir().unwrap(), &store, &bundle("v1.1.3", &[TAG], &wrong)).unwrap_err();
    assert!(error.to_string().contains("it has 0 layers, its configuration names 1"), "{error:#}");
}

/// As a build takes the bundle `file`.
fn take(store: &Store, cache: &Path, file: &Path) -> (bundle::Bundle, bool) {
    let (sha256, _) = Digest::of_file(file).unwrap();
    let planned = PlannedBundle::whole(sha256, BundleSource::File(file.into()));
    bundle::take(&planned, store, &Packages::open(cache).unwrap(), true).unwrap()
}

/// Unpacking needs a place for scratch, and here is none.
#[test]
fn a_layer_that_the_cache_has_is_not_unpacked_again() {
    for archive in [save as fn(&[Image]) -> Vec<u8>, |images| save_blobs(images, Blobs::Zstd)] {
        let (directory, store) = cache();
        let (saved, images) = (archive(&[Image::new(TAG, &[&layer("words")])]), Images::open(&store).unwrap());
        let scratch = directory.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let first = docker::read(saved.as_slice(), "x", &images, &BTreeMap::new(), &scratch).unwrap();
        let nowhere = directory.path().join("a file");
        fs::write(&nowhere, "").unwrap();
        let again = |known| docker::read(saved.as_slice(), "x", &images, known, &nowhere);
        assert_eq!(again(&first.names).unwrap().layers, first.layers);
        images.forget(&first.layers[&Digest::of(&layer("words"))]).unwrap();
        assert!(again(&first.names).is_err(), "it is unpacked when the cache has lost it");
    }
}

#[test]
fn a_damaged_layer_is_seen_and_made_again() {
    let (cache, store) = cache();
    let file = cache.path().join("harbor.tgz");
    fs::write(&file, bundle("v1.1.2", &[TAG], &save(&[Image::new(TAG, &[&layer("words")])]))).unwrap();
    let take = || take(&store, cache.path(), &file);
    let bundles = Bundles::open(&store).unwrap();
    assert!(!take().1 && take().1, "made, then found");
    assert_eq!(bundles.verify().unwrap(), (1, Vec::new()));
    let diff_id = Digest::of(&layer("words"));
    let layer = Images::open(&store).unwrap().find(diff_id).unwrap().unwrap();
    fs::write(layer.diff().join("words"), "swords").unwrap();
    let (whole, damaged) = bundles.verify().unwrap();
    assert_eq!((whole, damaged.len(), damaged[0].0.diff_id), (0, 1, diff_id));
    bundles.forget_layer(&layer).unwrap();
    assert!(!take().1, "made again");
    assert_eq!(bundles.verify().unwrap(), (1, Vec::new()));
}

#[test]
fn a_bundle_of_an_earlier_boot_counts_as_none_and_is_swept() {
    let (cache, store) = cache();
    let file = cache.path().join("harbor.tgz");
    fs::write(&file, bundle("v1.1.2", &[TAG], &save(&[Image::new(TAG, &[&layer("words")])]))).unwrap();
    let take = || take(&store, cache.path(), &file);
    take();
    let bundles = Bundles::open(&store).unwrap();
    bundles.sweep().unwrap();
    assert!(take().1, "what a bundle uses stays");
    let record =
        fs::read_dir(cache.path().join("bundles")).unwrap().next().unwrap().unwrap().path().join("bundle.json");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let text = fs::read_to_string(&record).unwrap().replace(boot.trim(), "another boot");
    fs::write(&record, text).unwrap();
    assert!(!take().1, "made again");
    let text = fs::read_to_string(&record).unwrap().replace(boot.trim(), "another boot");
    fs::write(&record, text).unwrap();
    bundles.sweep().unwrap();
    assert_eq!(
        fs::read_dir(cache.path().join("images"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().is_dir())
            .count(),
        0
    );
}

/// A part that is lost counts as not there, and is made anew.
#[test]
fn what_has_lost_a_part_is_made_again() {
    let (directory, store) = cache();
    let file = directory.path().join("harbor.tgz");
    let one = layer("one");
    fs::write(&file, bundle("v1.1.2", &[TAG], &save(&[Image::new(TAG, &[&one])]))).unwrap();
    let (bundle, cached) = take(&store, directory.path(), &file);
    assert!(!cached && take(&store, directory.path(), &file).1);
    let kept = |part: &str| bundle.layers[&Digest::of(&one)].diff().with_file_name(part);
    for part in [kept("marks"), kept("tar-split.json.gz"), kept("diff"), bundle.files.join("docker-compose.yml")] {
        if part.is_dir() { fs::remove_dir_all(&part) } else { fs::remove_file(&part) }.unwrap();
        assert!(!take(&store, directory.path(), &file).1, "{part:?}");
        assert!(part.exists() && take(&store, directory.path(), &file).1, "{part:?}");
    }
}
