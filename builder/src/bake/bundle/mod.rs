//! The Harbor bundle at bake time: read once, checked, its files in `/usr/share/habuild/bundle`, its container images
//! in Docker's store.
//!
//! Invariant: memory does not grow with the bundle's length; a bundle that is refused is named, with what is wrong.

mod files;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};
use contract::harbor::{Record, SCHEMA};
use flate2::read::MultiGzDecoder;

use crate::bake::ahead::read_ahead;
use crate::bake::foreign::Bad;
use crate::bake::packages::Packages;
use crate::bake::pinned;
use crate::bake::rootfs::Rootfs;
use crate::plan::layer::{BundleSource, PlannedBundle};
use crate::report::{Failure, Fault};
use crate::sys::digest::{Digest, Hashing};

/// The bundle's files in the image.
pub const FILES: &str = "/usr/share/habuild/bundle";
/// What the image says of its bundle.
pub const RECORD: &str = "/usr/share/habuild/bundle.json";
/// Docker's data.
pub const DOCKER: &str = "/var/lib/docker";

const REMEDY: &str = "fetch the offline installer again, and compare its digest";

/// Unpacks the planned bundle into `root`.
pub fn bake(bundle: &PlannedBundle, root: &Rootfs, cache: &Packages, offline: bool) -> Result<()> {
    match &bundle.from {
        BundleSource::File(path) => unpack(path, &path.display().to_string(), bundle.sha256, root),
        BundleSource::Url(url) => {
            let path = pinned::fetch(cache, url, bundle.sha256, offline)?;
            unpack(&path, url, bundle.sha256, root)
        }
    }
}

/// Unpacks the bundle in the file `path`, which people know as `called`, into `root`.
pub fn unpack(path: &Path, called: &str, sha256: Digest, root: &Rootfs) -> Result<()> {
    let (to, docker) = (root.make_directory(FILES)?, root.make_directory(DOCKER)?);
    let refused = |words: &str| Failure::new(Fault::Input, format!("bundle {called}: {words}"));
    let file = File::open(path).map_err(|error| refused("cannot be read").because(error))?;
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        return Err(refused("the file is empty").remedy(REMEDY).into());
    }
    let source = BufReader::with_capacity(1 << 20, Hashing::new(file));
    let (unpacked, source) = thread::scope(|scope| {
        let (ahead, thread) = read_ahead(scope, MultiGzDecoder::new(source));
        let unpacked = files::unpack(ahead, &to, &docker);
        let source = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, anyhow::Error>((unpacked, source))
    })?;
    let contents = unpacked.map_err(|error| match error.chain().find_map(|cause| cause.downcast_ref::<Bad>()) {
        Some(Bad(words)) => refused(words).remedy(REMEDY).into(),
        None => error.context(format!("failed to unpack bundle {called}")),
    })?;
    let mut source = source.into_inner();
    std::io::copy(&mut source, &mut std::io::sink()).with_context(|| format!("failed to read {called}"))?;
    let (digest, _, _) = source.into_inner().finish();
    if digest != sha256 {
        return Err(refused("changed since it was planned").remedy("run the build again").into());
    }
    let files::Contents { version, generation, images } = contents;
    let record = Record { schema: SCHEMA, version, generation, images };
    let mut text = serde_json::to_string(&record).context("a record that cannot be written")?;
    text.push('\n');
    root.write(RECORD, text.as_bytes(), 0o644)
}
