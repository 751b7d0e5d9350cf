//! The layer store: content-addressed tars, the keys that lead to them, and an unpacked tree beside each.
//!
//! ```text
//! FORMAT                 the format version of the store
//! keys/KEY.json          which layer a key stands for (written last: a key is a promise)
//! keys/KEY.lock          held by the build that makes the layer
//! layers/DIGEST.tar      the layer
//! trees/KEY/             the same, unpacked for overlay mounts; can be made again from the tar
//! trees/KEY.boot         the boot of the host in which the tree was made
//! work/                  scratch directories of running builds
//! ```
//!
//! Invariant: everything is made in `work/` and renamed; a build that is killed leaves scratch and nothing else.
//!
//! Tars and keys are flushed to the disk. Trees are not, since that would cost seconds in each build: a power cut may
//! leave files without their content. So a tree counts only until the host starts again; then it is made anew from its
//! tar when a build needs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::pack;
use crate::plan::layer::STORE_FORMAT as FORMAT;
use crate::report::{Failure, Fault};
use crate::sys::digest::Digest;
use crate::sys::file::{self, Lock, Scratch};

/// Tells one boot of the host from another.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Refuses a directory that holds something and is no cache of ours: `gc` removes what it does not know, and a project has
/// `layers` and `images` too. What other parts of habuild may have put there before the store is made does no harm.
fn refuse_foreign(cache: &Path) -> Result<()> {
    if cache.join("FORMAT").exists() {
        return Ok(());
    }
    let Ok(entries) = fs::read_dir(cache) else { return Ok(()) };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    // A disk of its own has lost+found.
    let harmless = ["packages", "index", "lock", "kvm", "lost+found"];
    let ours = |name: &String| name.starts_with('.') || harmless.contains(&name.as_str());
    match names.into_iter().find(|name| !ours(name)) {
        None => Ok(()),
        Some(name) => {
            let words = format!("{} is no cache of habuild's: it holds {name}, and no FORMAT", cache.display());
            Err(Failure::new(Fault::Usage, words).remedy("name an empty or a new directory with --cache").into())
        }
    }
}

/// A cache that cannot be made or written.
fn unusable(cache: &Path, why: anyhow::Error) -> Failure {
    Failure::new(Fault::Environment, format!("the cache {} cannot be written", cache.display()))
        .because(why)
        .remedy("name another directory with --cache")
}

/// What tells this boot of the host from others.
pub(super) fn boot_of_host() -> Result<String> {
    file::read_text(Path::new(BOOT))
}

/// A layer in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// The layer's name, for people.
    pub name: String,
    /// What it was made from.
    pub key: Digest,
    /// The digest of its tar.
    pub digest: Digest,
    /// The length of its tar in bytes.
    pub length: u64,
    /// The canonical text that the key is the digest of, for explaining a later miss.
    pub inputs: String,
}

/// The store in a cache directory.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store below `cache`, making it if need be.
    pub fn open(cache: &Path) -> Result<Self> {
        let store = Self { root: cache.into() };
        Self::prepare(cache)?;
        let format = store.root.join("FORMAT");
        match fs::read_to_string(&format) {
            Ok(text) if text.trim() == FORMAT.to_string() => {}
            Ok(text) => {
                return Err(Failure::new(
                    Fault::Environment,
                    format!("the cache {} is of format {}, this habuild writes {FORMAT}", cache.display(), text.trim()),
                )
                .remedy("name another directory with --cache, or remove that one with habuild cache gc --all")
                .into());
            }
            // Before anything else: it says whose directory this is.
            Err(_) => {
                file::write_atomic(&format, format!("{FORMAT}\n").as_bytes()).map_err(|why| unusable(cache, why))?;
            }
        }
        for directory in ["keys", "layers", "trees", "work"] {
            file::make_directory(&store.root.join(directory))?;
        }
        Ok(store)
    }

    /// Makes the directory of a cache, and refuses one that is none or cannot be.
    pub fn prepare(cache: &Path) -> Result<()> {
        refuse_foreign(cache)?;
        Ok(file::make_directory(cache).map_err(|why| unusable(cache, why))?)
    }

    /// The cache that it lies in.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A scratch directory on the store's file system.
    pub fn scratch(&self) -> Result<Scratch> {
        Scratch::new(&self.root.join("work"))
    }

    /// Removes the scratch directories of builds that were killed.
    pub fn sweep_scratch(&self) -> Result<()> {
        Scratch::sweep(&self.root.join("work"))
    }

    /// Waits until no other build makes the layer of `key`.
    pub fn lock(&self, key: Digest) -> Result<Lock> {
        file::lock(&self.root.join(format!("keys/{key}.lock")))
    }

    /// The layer of `key`, if it is there: its tar has the length that was written. (`verify` reads it all.)
    pub fn find(&self, key: Digest) -> Result<Option<Layer>> {
        let layer = self.record(key)?;
        Ok(layer.filter(|layer| fs::metadata(self.tar(layer)).is_ok_and(|metadata| metadata.len() == layer.length)))
    }

    /// The layer of `key`, to be used by a build. A tar that has to be unpacked is read first; a damaged one is
    /// forgotten, so that the layer is baked again. What no build uses for long is cleaned away: the use is noted.
    pub fn take(&self, key: Digest) -> Result<Option<Layer>> {
        let Some(layer) = self.find(key)? else { return Ok(None) };
        if !self.has_tree(key)? && Digest::of_file(&self.tar(&layer))?.0 != layer.digest {
            tracing::warn!("layer {} in the cache is damaged ({}); it is baked again", layer.name, key.short());
            self.forget(&layer)?;
            return Ok(None);
        }
        file::touch(&self.key_file(key))?;
        Ok(Some(layer))
    }

    /// Every layer that was recorded, sorted by key, damaged or not.
    pub fn layers(&self) -> Result<Vec<Layer>> {
        let records = self.keys()?.into_iter().map(|key| self.record(key)).collect::<Result<Vec<_>>>()?;
        Ok(records.into_iter().flatten().collect())
    }

    /// The records that say nothing: their layers count as missing.
    pub fn torn_records(&self) -> Result<Vec<PathBuf>> {
        let mut torn = Vec::new();
        for key in self.keys()? {
            if self.record(key)?.is_none() {
                torn.push(self.key_file(key));
            }
        }
        Ok(torn)
    }

    fn keys(&self) -> Result<Vec<Digest>> {
        let names = self.names("keys")?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".json").and_then(Digest::parse)).collect())
    }

    fn record(&self, key: Digest) -> Result<Option<Layer>> {
        let path = self.key_file(key);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
    }

    /// Packs `tree` and puts it into the store as the layer of `key`; `scratch` is on the store's file system.
    /// The tree is moved first, by [`Self::keep_tree`]; a key is written last.
    pub fn commit(&self, name: &str, key: Digest, inputs: &str, tree: &Path, scratch: &Path) -> Result<Layer> {
        let partial = scratch.join(format!("{key}.tar"));
        let (digest, length) = pack::pack(tree, &partial)?;
        let layer = Layer { name: name.into(), key, digest, length, inputs: inputs.into() };
        file::rename(&partial, &self.tar(&layer))?;
        let mut text = serde_json::to_string_pretty(&layer).context("a layer that cannot be written")?;
        text.push('\n');
        file::write_atomic(&self.key_file(key), text.as_bytes())?;
        Ok(layer)
    }

    /// Moves a finished tree to its place, in place of a left-over of an interrupted build.
    pub fn keep_tree(&self, key: Digest, tree: &Path) -> Result<PathBuf> {
        let (at, boot) = (self.tree_path(key), self.boot_file(key));
        // No mark without its tree: it is written last.
        file::remove(&boot)?;
        file::remove(&at)?;
        file::rename(tree, &at)?;
        file::write(&boot, boot_of_host()?)?;
        Ok(at)
    }

    /// The unpacked tree of a layer, made from its tar when it is gone or of another boot. The caller holds
    /// [`Self::lock`].
    pub fn tree(&self, layer: &Layer, scratch: &Path) -> Result<PathBuf> {
        if self.has_tree(layer.key)? {
            return Ok(self.tree_path(layer.key));
        }
        let partial = scratch.join(format!("{}.tree", layer.key));
        file::remove(&partial)?;
        file::make_directory_with_mode(&partial, 0o755)?;
        pack::unpack(&self.tar(layer), &partial)?;
        self.keep_tree(layer.key, &partial)
    }

    /// Whether the tree of a key is there, and made in this boot of the host.
    fn has_tree(&self, key: Digest) -> Result<bool> {
        let boot = boot_of_host()?;
        Ok(self.tree_path(key).is_dir() && fs::read_to_string(self.boot_file(key)).is_ok_and(|made| made == boot))
    }

    /// Where a layer's tar lies.
    #[must_use]
    pub fn tar(&self, layer: &Layer) -> PathBuf {
        self.root.join(format!("layers/{}.tar", layer.digest))
    }

    /// Reads a layer's tar and tree and says what is wrong with them, if anything is. A tree that no build will use
    /// as it is counts as none.
    pub fn verify(&self, layer: &Layer) -> Result<Option<String>> {
        if !self.tar(layer).is_file() {
            return Ok(Some(format!("layers/{}.tar is missing", layer.digest)));
        }
        let (digest, length) = Digest::of_file(&self.tar(layer))?;
        if digest != layer.digest {
            return Ok(Some(format!("layers/{}.tar has digest {digest} and {length} bytes", layer.digest)));
        }
        if self.has_tree(layer.key)? && pack::digest(&self.tree_path(layer.key))? != layer.digest {
            return Ok(Some(format!("trees/{} is not what layers/{}.tar holds", layer.key, layer.digest)));
        }
        Ok(None)
    }

    /// Held by every build while it runs; waits for a `gc`.
    pub fn in_use(&self) -> Result<Lock> {
        file::lock_shared(&self.root.join("lock"))
    }

    /// Held by `gc`: no build is running.
    pub fn alone(&self) -> Result<Lock> {
        file::try_lock(&self.root.join("lock"))?.ok_or_else(|| {
            Failure::new(Fault::Environment, format!("a build is using the cache {}", self.root.display()))
                .remedy("wait for it")
                .into()
        })
    }

    /// Forgets a layer that is damaged, with its tar and tree; gives how many bytes went.
    pub fn forget(&self, layer: &Layer) -> Result<u64> {
        file::remove(&self.key_file(layer.key))?;
        file::remove(&self.boot_file(layer.key))?;
        let tree = file::remove_counted(&self.tree_path(layer.key))?;
        Ok(tree + file::remove_counted(&self.tar(layer))?)
    }

    /// Forgets the layers that no build has used for `age`; gives how many. `sweep` then removes the tars and trees:
    /// a tar may belong to several layers.
    pub fn forget_unused(&self, age: Duration) -> Result<usize> {
        let mut forgotten = 0;
        for layer in self.layers()? {
            if file::unused_for(&self.key_file(layer.key)).is_some_and(|unused| unused >= age) {
                file::remove(&self.key_file(layer.key))?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    /// Removes everything below `cache`, packages and indexes too, whatever format the store has.
    pub fn clear(cache: &Path) -> Result<()> {
        Self::prepare(cache)?;
        let store = Self { root: cache.into() };
        let _alone = store.alone()?;
        for name in ["keys", "trees", "layers", "bundles", "images", "work", "packages", "index", "FORMAT"] {
            file::remove(&cache.join(name))?;
        }
        Ok(())
    }

    /// Removes tars and trees that no key leads to; gives how many bytes went.
    pub fn sweep(&self) -> Result<u64> {
        let layers = self.layers()?;
        let mut freed = 0;
        for name in self.names("layers")? {
            if !layers.iter().any(|layer| name == format!("{}.tar", layer.digest)) {
                freed += file::remove_counted(&self.root.join("layers").join(&name))?;
            }
        }
        for name in self.names("trees")? {
            let key = name.strip_suffix(".boot").unwrap_or(&name);
            if !layers.iter().any(|layer| key == layer.key.to_string()) {
                freed += file::remove_counted(&self.root.join("trees").join(&name))?;
            }
        }
        Ok(freed)
    }

    fn names(&self, directory: &str) -> Result<Vec<String>> {
        let at = self.root.join(directory);
        let mut names = fs::read_dir(&at)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect())
            .with_context(|| format!("failed to list {}", at.display()))
            .map(|names: Vec<String>| names)?;
        names.sort();
        Ok(names)
    }

    fn key_file(&self, key: Digest) -> PathBuf {
        self.root.join(format!("keys/{key}.json"))
    }

    fn boot_file(&self, key: Digest) -> PathBuf {
        self.root.join(format!("trees/{key}.boot"))
    }

    fn tree_path(&self, key: Digest) -> PathBuf {
        self.root.join(format!("trees/{key}"))
    }
}
