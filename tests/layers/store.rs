//! The store: a tree counts only in the boot of the host in which it was made.

use std::fs;
use std::path::{Path, PathBuf};

use habuild::bake::store::{Layer, Store};
use habuild::sys::digest::Digest;

/// A store with one layer of one file, and the layer's tree.
fn store(cache: &Path) -> (Store, Layer, PathBuf) {
    let store = Store::open(cache).unwrap();
    let made = cache.join("made");
    fs::create_dir(&made).unwrap();
    fs::write(made.join("file"), "content").unwrap();
    habuild::bake::pack::settle(&made, 1).unwrap();
    let key = Digest::of(b"key");
    let tree = store.keep_tree(key, &made).unwrap();
    let scratch = store.scratch().unwrap();
    let layer = store.commit("a", key, "layer a\n", &tree, scratch.path()).unwrap();
    (store, layer, tree)
}

/// What a power cut may leave of a tree that was never flushed, and the mark of another boot.
fn cut_power(tree: &Path) {
    fs::write(tree.join("file"), "").unwrap();
    let mark = tree.with_extension("boot");
    if mark.exists() {
        fs::write(mark, "00000000-0000-0000-0000-000000000000\n").unwrap();
    }
}

#[test]
fn a_tree_of_an_earlier_boot_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (store, layer, tree) = store(dir.path());
    cut_power(&tree);
    // Such a tree is not damage: no build uses it as it is.
    let scratch = store.scratch().unwrap();
    assert_eq!(store.verify(&layer).unwrap(), None);
    assert_eq!(store.take(layer.key).unwrap(), Some(layer.clone()));
    assert_eq!(store.tree(&layer, scratch.path()).unwrap(), tree);
    assert_eq!(fs::read_to_string(tree.join("file")).unwrap(), "content");
    // Now it is of this boot: it is used as it is, and looked at by `cache verify`.
    fs::write(tree.join("file"), "changed").unwrap();
    store.tree(&layer, scratch.path()).unwrap();
    assert_eq!(fs::read_to_string(tree.join("file")).unwrap(), "changed");
    assert!(store.verify(&layer).unwrap().is_some_and(|words| words.contains("is not what")));
}

#[test]
fn a_damaged_tar_is_noticed_when_the_tree_is_of_an_earlier_boot() {
    let dir = tempfile::tempdir().unwrap();
    let (store, layer, tree) = store(dir.path());
    cut_power(&tree);
    let tar = store.tar(&layer);
    let mut bytes = fs::read(&tar).unwrap();
    bytes[600] ^= 1;
    fs::write(&tar, bytes).unwrap();
    assert_eq!(store.take(layer.key).unwrap(), None, "it has to be baked again");
}

#[test]
fn a_layer_that_is_forgotten_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, layer, _) = store(dir.path());
    store.sweep().unwrap();
    let count = |name: &str| fs::read_dir(dir.path().join(name)).unwrap().count();
    assert!(count("trees") >= 1 && count("layers") == 1, "a layer in use was swept away");
    store.forget_unused(std::time::Duration::ZERO).unwrap();
    store.sweep().unwrap();
    assert_eq!((count("trees"), count("layers"), count("keys")), (0, 0, 0));
    assert_eq!(store.find(layer.key).unwrap(), None);
}

#[test]
fn a_directory_that_is_no_cache_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let project = directory.path().join("project");
    fs::create_dir_all(project.join("layers/base")).unwrap();
    for error in [Store::open(&project).unwrap_err(), Store::clear(&project).unwrap_err()] {
        assert_eq!(habuild::report::fault_of(&error), habuild::report::Fault::Usage);
        assert!(error.to_string().contains("is no cache of habuild's: it holds layers"), "{error}");
    }
    assert!(project.join("layers/base").is_dir() && !project.join("FORMAT").exists());
    let fetched = directory.path().join("fetched");
    fs::create_dir_all(fetched.join("packages")).unwrap();
    fs::create_dir(fetched.join("lost+found")).unwrap();
    Store::open(&fetched).unwrap();
    Store::open(&fetched).unwrap();
    Store::clear(&fetched).unwrap();
}
