//! The Harbor bundle at bake time: read once, checked, kept in the cache; its files go into the layer that asks for them,
//! its container images into the state file system.
//!
//! Invariant: memory does not grow with the bundle's length; a bundle that is refused is named, with what is wrong.

mod chosen;
mod complete;
mod files;
mod judged;
mod kept;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};
use contract::harbor::{ImageList, ImageRecord, Record, SCHEMA};
use flate2::bufread::MultiGzDecoder;

use crate::bake::ahead::read_ahead;
use crate::bake::copy;
use crate::bake::docker::{self, Images, OtherLayer};
use crate::bake::foreign::Bad;
use crate::bake::packages::Packages;
use crate::bake::pinned;
use crate::bake::rootfs::Rootfs;
use crate::bake::store::Store;
use crate::plan::layer::{BundleSource, PlannedBundle};
use crate::report::{Failure, Fault};
use crate::sys::digest::{Digest, Hashing};
use crate::sys::file;

use files::Layers;
pub use kept::{Bundle, Bundles};

/// The bundle's files in the image.
pub const FILES: &str = "/usr/share/habuild/bundle";
/// What the image says of its bundle.
pub const RECORD: &str = "/usr/share/habuild/bundle.json";
/// What the image says of the container images in Docker's store.
pub const IMAGES: &str = "/usr/share/habuild/images.json";

/// The directory that every bundle has at its top.
const TOP: &str = "harbor";

/// Against damage.
const AGAIN: &str = "fetch the offline installer again, and compare its digest";
/// Against what a server sent in place of the file.
const ITSELF: &str = "fetch the file itself: curl --fail --location --remote-name URL";
/// Against a build between releases, and a new name.
const NAMED: &str = "use a release; habuild goes by that name, so give it back if the archive has a new one";
/// Against another file than the one that is meant.
const OFFLINE: &str = "give Harbor's offline installer: harbor-offline-installer-vX.Y.Z.tgz";
/// Against one that somebody has changed, or one that is newer than habuild.
const RELEASED: &str = "use the offline installer as it was released; if it is that, this habuild is too old for it";

/// The planned bundle, unpacked in the cache; and whether it was there already. What is doubtful about it is told.
pub fn take(bundle: &PlannedBundle, store: &Store, packages: &Packages, offline: bool) -> Result<(Bundle, bool)> {
    let (taken, cached) = find_or_unpack(bundle, store, packages, offline)?;
    for doubt in taken.doubts() {
        tracing::warn!("bundle {}: {doubt}", taken.called);
    }
    Ok((taken, cached))
}

fn find_or_unpack(bundle: &PlannedBundle, store: &Store, packages: &Packages, offline: bool) -> Result<(Bundle, bool)> {
    let called = match &bundle.from {
        BundleSource::File(path) => path.display().to_string(),
        BundleSource::Url(url) => url.clone(),
    };
    let bundles = Bundles::open(store)?;
    let _lock = bundles.lock(bundle.sha256)?;
    if let Some(found) = bundles.find(bundle.sha256, &called)? {
        return Ok((found, true));
    }
    let path = match &bundle.from {
        BundleSource::File(path) => path.clone(),
        BundleSource::Url(url) => pinned::fetch(packages, url, bundle.sha256, offline)?,
    };
    Ok((unpack(&path, &called, bundle.sha256, store)?, false))
}

/// Unpacks the bundle in the file `path`, which people know as `called`, into the cache of `store`.
pub fn unpack(path: &Path, called: &str, sha256: Digest, store: &Store) -> Result<Bundle> {
    let (bundles, cache) = (Bundles::open(store)?, Images::open(store)?);
    let known = bundles.names()?;
    match unpack_once(path, called, sha256, store, &cache, &known) {
        Err(error) if error.chain().any(|cause| cause.is::<OtherLayer>()) => {
            unpack_once(path, called, sha256, store, &cache, &BTreeMap::new())
        }
        outcome => outcome,
    }
}

fn unpack_once(
    path: &Path,
    called: &str,
    sha256: Digest,
    store: &Store,
    cache: &Images,
    known: &BTreeMap<String, Digest>,
) -> Result<Bundle> {
    let refused = |words: &str| Failure::new(Fault::Input, format!("bundle {called}: {words}"));
    let mut file = File::open(path).map_err(|error| refused("cannot be read").because(error))?;
    if let Some((words, remedy)) = complete::no_bundle(&mut file)? {
        return Err(refused(words).remedy(remedy).into());
    }
    let scratch = store.scratch()?;
    let (directory, incoming) = (scratch.directory("bundle")?, scratch.directory("incoming")?);
    let to = directory.join(kept::FILES);
    file::make_directory_with_mode(&to, 0o755)?;
    let layers = Layers { cache, known, scratch: &incoming };
    let source = BufReader::with_capacity(1 << 20, Hashing::new(file));
    let (unpacked, source) = thread::scope(|scope| {
        let (ahead, thread) = read_ahead(scope, MultiGzDecoder::new(source));
        let unpacked = files::unpack(ahead, &to, layers);
        let source = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, anyhow::Error>((unpacked, source))
    })?;
    let contents = unpacked.map_err(|error| match error.chain().find_map(|cause| cause.downcast_ref::<Bad>()) {
        Some(Bad { words, remedy }) => refused(words).remedy(remedy.unwrap_or(AGAIN)).into(),
        None => error.context(format!("failed to unpack bundle {called}")),
    })?;
    let mut source = source.into_inner();
    std::io::copy(&mut source, &mut std::io::sink()).with_context(|| format!("failed to read {called}"))?;
    let (digest, _, _) = source.into_inner().finish();
    if digest != sha256 {
        return Err(refused("changed since it was planned").remedy("run the build again").into());
    }
    Bundles::open(store)?.keep(sha256, called, contents, &directory)
}

/// Puts the files of `bundle`, and what the node must know of it, into the root of a layer.
pub fn install(bundle: &Bundle, root: &Rootfs) -> Result<()> {
    copy::tree(&bundle.files, &root.make_directory(FILES)?)?;
    let mut names: Vec<String> = bundle.images.iter().flat_map(|image| image.tags.clone()).collect();
    names.sort();
    let record = Record {
        schema: SCHEMA,
        version: bundle.version.clone(),
        generation: bundle.generation,
        images: names,
        settings: bundle.settings.clone(),
    };
    write_json(root, RECORD, &record)?;
    let of = |(image, (id, chains)): (&docker::Image, (Digest, Vec<Digest>))| ImageRecord {
        id: id.to_string(),
        names: image.tags.clone(),
        chains: chains.iter().map(Digest::to_string).collect(),
    };
    let images = bundle.images.iter().zip(docker::chains(&bundle.images)).map(of).collect();
    write_json(root, IMAGES, &ImageList { schema: SCHEMA, images })
}

fn write_json(root: &Rootfs, path: &str, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string(value).context("a record that cannot be written")?;
    text.push('\n');
    root.write(path, text.as_bytes(), 0o644)
}
