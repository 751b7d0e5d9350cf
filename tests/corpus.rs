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

/// A seed of every kind and all inputs of a target hold.
fn hold(target: &str, property: fn(&[u8])) {
    for (of, name, bytes) in seeds::seeds().into_iter().filter(|(of, ..)| *of == target) {
        property(&bytes);
        if let Ok(to) = std::env::var("HABUILD_SEEDS") {
            let to = Path::new(&to).join(of);
            fs::create_dir_all(&to).unwrap();
            fs::write(to.join(name), bytes).unwrap();
        }
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let inputs = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<PathBuf> = inputs.collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "no inputs in {}", directory.display());
    let holds = |input: &PathBuf| catch_unwind(|| property(&fs::read(input).unwrap())).is_ok();
    inputs.retain(|input| !holds(input));
    assert!(inputs.is_empty(), "what each panicked with stands above: {inputs:?}");
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
