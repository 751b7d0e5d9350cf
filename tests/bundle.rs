//! Bundles unpacked for real into a directory: what the store then holds, and every bundle that must be refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "bundle/make.rs"]
mod make;
#[path = "bundle/refused.rs"]
mod refused;
#[path = "bundle/store.rs"]
mod store;

use std::path::Path;

use habuild::bake::bundle;
use habuild::bake::rootfs::Rootfs;
use habuild::sys::digest::Digest;
use tempfile::TempDir;

/// Unpacks a bundle into a root of its own.
fn unpack(bundle: &[u8]) -> anyhow::Result<TempDir> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("harbor.tgz");
    std::fs::write(&file, bundle).unwrap();
    let root = Rootfs::new(&directory.path().join("root"));
    bundle::unpack(&file, "harbor.tgz", Digest::of(bundle), &root)?;
    Ok(directory)
}

fn read(directory: &TempDir, path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(directory.path().join("root").join(path)).unwrap()
}
