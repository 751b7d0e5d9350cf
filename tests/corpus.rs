//! Every input of the fuzz corpus, through what the fuzz target of its name calls: see `fuzz/run.sh`.
//!
//! With `HABUILD_SEEDS=DIRECTORY` the inputs that fuzzing begins with are written there: a directory for each target.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "fuzz/src/property.rs"]
mod property;
#[path = "fuzz/src/seeds.rs"]
mod seeds;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// All inputs of a target hold, and the seeds that there are.
fn hold(target: &str, property: fn(&[u8])) {
    let seeds = seeds::seeds().into_iter().filter(|(of, ..)| *of == target);
    let mut inputs: Vec<(PathBuf, Vec<u8>)> = seeds.map(|(_, name, bytes)| (name.into(), bytes)).collect();
    if let Ok(to) = std::env::var("HABUILD_SEEDS") {
        let to = Path::new(&to).join(target);
        fs::create_dir_all(&to).unwrap();
        inputs.iter().for_each(|(name, bytes)| fs::write(to.join(name), bytes).unwrap());
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let kept = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut kept: Vec<_> = kept.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    kept.sort();
    assert!(!kept.is_empty(), "no inputs in {}", directory.display());
    inputs.append(&mut kept);
    inputs.retain(|(_, bytes)| catch_unwind(|| property(bytes)).is_err());
    let failed: Vec<PathBuf> = inputs.into_iter().map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "what each panicked with stands above: {failed:?}");
}

#[test]
fn layers() {
    hold("layer", property::layer);
}

#[test]
fn image_archives() {
    hold("images", property::images);
}

#[test]
fn bundles() {
    hold("bundle", property::bundle);
}

#[test]
fn compressed_layers() {
    hold("compressed", property::compressed);
}
