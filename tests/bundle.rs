//! Bundles unpacked for real into a directory: what the store then holds, and every bundle that must be refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "bundle/checked.rs"]
mod checked;
#[path = "bundle/chosen.rs"]
mod chosen;
#[path = "bundle/hostile.rs"]
mod hostile;
#[path = "bundle/kept.rs"]
mod kept;
#[path = "bundle/make.rs"]
mod make;
#[path = "bundle/refused.rs"]
mod refused;
#[path = "bundle/store.rs"]
mod store;
#[path = "bundle/versions.rs"]
mod versions;

use std::path::Path;

use habuild::bake::bundle;
use habuild::bake::docker::{self, LaidOut};
use habuild::bake::rootfs::Rootfs;
use habuild::bake::store::Store;
use habuild::sys::digest::Digest;
use tempfile::TempDir;

/// A bundle that was unpacked: `cache`, a root with its files, and a store that is laid out.
#[derive(Debug)]
struct Unpacked {
    directory: TempDir,
    bundle: bundle::Bundle,
    laid_out: LaidOut,
}

/// Unpacks a bundle into a cache and a root of its own.
fn unpack(bundle: &[u8]) -> anyhow::Result<Unpacked> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("cache")).unwrap();
    unpack_with(directory, &store, bundle)
}

/// The same with the cache of `store`.
fn unpack_with(directory: TempDir, store: &Store, bytes: &[u8]) -> anyhow::Result<Unpacked> {
    let file = directory.path().join("harbor.tgz");
    std::fs::write(&file, bytes).unwrap();
    let bundle = bundle::unpack(&file, "harbor.tgz", Digest::of(bytes), store)?;
    bundle::install(&bundle, &Rootfs::new(&directory.path().join("root")))?;
    let laid_out = docker::lay_out(&directory.path().join("docker"), &bundle.images, &bundle.layers)?;
    Ok(Unpacked { directory, bundle, laid_out })
}

impl Unpacked {
    fn path(&self, path: impl AsRef<Path>) -> std::path::PathBuf {
        self.directory.path().join(path)
    }

    fn read(&self, path: impl AsRef<Path>) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }
}
