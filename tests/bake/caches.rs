//! The images and caches that the tests share, each made by the first that asks, and places that use or copy them.
#![allow(clippy::disallowed_methods, reason = "copies caches with cp")]

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use habuild::plan::lock::Lock;
use serde_json::Value;

use super::small;
use crate::places::{Place, copy_project, habuild, project, run};
use crate::turns::turn;

/// The cache of the person who runs the tests: packages that it has are not fetched again.
fn own_packages() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    cache.map(|cache| cache.join("habuild/packages")).filter(|packages| packages.is_dir())
}

/// Gives `to` the files of another directory, as hard links: what a cache holds is removed or replaced, never written.
pub(crate) fn lend(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (file, name) = (entry.path(), entry.file_name());
        let whole =
            file.is_file() && !name.to_string_lossy().starts_with('.') && file.extension() != Some("lock".as_ref());
        if whole {
            link(&file, &to.join(&name));
        }
    }
}

/// A hard link, or a copy on another file system. What is there stays: it may be this very file, which a copy would empty.
fn link(from: &Path, to: &Path) {
    match fs::hard_link(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(_) => _ = fs::copy(from, to).unwrap(),
    }
}

/// Where a cache has a layer: its record and its tar.
pub(crate) fn layer(place: &Place, name: &str) -> [PathBuf; 2] {
    let (_, key) = place.keys().into_iter().find(|(layer, _)| layer == name).unwrap();
    let record = place.cache.join(format!("keys/{key}.json"));
    let text: Value = serde_json::from_str(&fs::read_to_string(&record).unwrap()).unwrap();
    let tar = place.cache.join(format!("layers/{}.tar", text["digest"].as_str().unwrap()));
    [record, tar]
}

/// Gives the cache `to` the tools layer of the warm cache: a bake there begins with the image's own layers.
pub(crate) fn lend_tools(to: &Path) {
    for (directory, file) in ["keys", "layers"].into_iter().zip(layer(warm(), "tools")) {
        fs::create_dir_all(to.join(directory)).unwrap();
        link(&file, &to.join(directory).join(file.file_name().unwrap()));
    }
    fs::copy(warm().cache.join("FORMAT"), to.join("FORMAT")).unwrap();
}

/// Copies the package files that the lock of `place` names, those that its cache has, into a directory; gives their
/// length.
pub(crate) fn copy_packages(place: &Place, to: &Path) -> u64 {
    let lock: Lock = toml::from_str(&fs::read_to_string(&place.lock).unwrap()).unwrap();
    fs::create_dir_all(to).unwrap();
    let packages = lock.layers.into_values().flat_map(|layer| layer.packages);
    let names = packages.map(|package| format!("{}.deb", package.sha256)).collect::<BTreeSet<_>>();
    let files = names.iter().map(|name| (place.cache.join("packages").join(name), to.join(name)));
    files.filter(|(from, _)| from.is_file()).map(|(from, to)| fs::copy(from, to).unwrap()).sum()
}

/// A project with the small image's definitions, its lock and a cache with an index and no layer.
pub(crate) fn locked() -> &'static Place {
    static LOCKED: OnceLock<Place> = OnceLock::new();
    LOCKED.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bake");
        for cache in ["cache", "full/cache"].map(|name| root.join(name)) {
            if cache.join("FORMAT").is_file() {
                // An ordinary user's layers belong to its subordinate ids: habuild can remove them, the user cannot.
                run(habuild(project()).args(["cache", "gc", "--all", "--cache"]).arg(cache));
            }
        }
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        copy_project(&root);
        small::shrink(&root);
        lock(root)
    })
}

/// The project in `root` with a lock, made anew.
fn lock(root: PathBuf) -> Place {
    let (cache, out) = (root.join("cache"), root.join("lock"));
    run(habuild(&root).args(["lock", "--cache"]).arg(&cache).arg("--output").arg(&out));
    Place { root, cache, lock: out.join("harbor-node.ubuntu-noble-amd64.lock"), _scratch: None }
}

/// The small image in the cache, and in `out`, which every test may read; made by the first that asks.
pub(crate) fn warm() -> &'static Place {
    static WARM: OnceLock<()> = OnceLock::new();
    let locked = locked();
    WARM.get_or_init(|| {
        let _turn = turn(2);
        if let Some(packages) = own_packages() {
            lend(&packages, &locked.cache.join("packages"));
        }
        run(locked.locked("image").args(["--format", "raw,qcow2"]));
    });
    locked
}

/// The default image, whole, to be baked: its cache has the tools layer, and the packages that are there already.
pub(crate) fn full() -> Place {
    let small = warm();
    let root = small.path("full");
    let cache = root.join("cache");
    fs::create_dir_all(&root).unwrap();
    copy_project(&root);
    small::disk(&root);
    lend_tools(&cache);
    lend(&small.cache.join("packages"), &cache.join("packages"));
    run(Command::new("cp").arg("-r").arg(small.cache.join("index")).arg(&cache));
    lock(root)
}

/// A project with the small image's definitions.
fn small(parent: &str) -> Place {
    let dir = tempfile::tempdir_in(parent).unwrap();
    copy_project(dir.path());
    small::shrink(dir.path());
    let (root, cache) = (dir.path().to_owned(), dir.path().join("cache"));
    Place { root, cache, lock: locked().lock.clone(), _scratch: Some(dir) }
}

/// A project with the warm cache, which it shares: for tests that damage nothing.
pub(crate) fn sharing() -> Place {
    Place { cache: warm().cache.clone(), ..planning() }
}

/// A project to be planned, for which nothing is baked.
pub(crate) fn planning() -> Place {
    small("/var/tmp")
}

/// A project with a copy of the warm cache: every layer, and no package file.
pub(crate) fn copying() -> Place {
    let place = small(env!("CARGO_TARGET_TMPDIR"));
    for name in ["keys", "layers"] {
        lend(&warm().cache.join(name), &place.cache.join(name));
    }
    fs::copy(warm().cache.join("FORMAT"), place.cache.join("FORMAT")).unwrap();
    place
}

/// Nothing half-written is in the output directory, and every layer of the cache reads back.
pub(crate) fn assert_whole(place: &Place) {
    assert_written(place);
    run(place.habuild("cache").arg("verify"));
}

/// Nothing half-written is in the output directory.
pub(crate) fn assert_written(place: &Place) {
    let out = place.path("out");
    let names: Vec<String> = fs::read_dir(&out)
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    if names.iter().any(|name| !name.starts_with('.')) {
        run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&out));
    }
}
