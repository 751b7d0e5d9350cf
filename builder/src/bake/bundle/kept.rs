//! Bundles in the cache.
//!
//! ```text
//! bundles/KEY/files/        the bundle's own files
//! bundles/KEY/bundle.json   everything else about it; its time says when a build last used it
//! ```
//!
//! The layers of its container images lie in `images/`. As they do, a bundle counts until the host starts again only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use contract::harbor::{COMPOSE_FILE, Defaults, Generation, Version};
use serde::{Deserialize, Serialize};

use super::files::Contents;
use crate::bake::docker::{self, Archive, BUILDER, Image, Images, StoredLayer};
use crate::bake::store::{Store, boot_of_host};
use crate::sys::digest::Digest;
use crate::sys::file::{self, Lock};

/// The directory of the bundle's own files.
pub(super) const FILES: &str = "files";
const RECORD: &str = "bundle.json";

/// A bundle in the cache.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What people know it as: a path or a URL.
    pub called: String,
    /// Harbor's version.
    pub version: Version,
    /// How this version is configured.
    pub generation: Generation,
    /// Its container images, in the archive's order.
    pub images: Vec<Image>,
    /// Their layers, by the digest of their tar.
    pub layers: BTreeMap<Digest, StoredLayer>,
    /// The directory of its own files.
    pub files: PathBuf,
    /// The image's defaults for Harbor's own settings; the cache knows of none.
    pub settings: Defaults,
}

/// What `bundle.json` holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The bundle's digest, for people.
    sha256: Digest,
    boot: String,
    /// Whose code unpacked it.
    builder: String,
    version: Version,
    generation: Generation,
    images: Vec<Image>,
    names: BTreeMap<String, Digest>,
}

/// The bundles of a cache.
#[derive(Debug)]
pub struct Bundles {
    root: PathBuf,
    store: Store,
    images: Images,
}

impl Bundles {
    /// Those in the cache that `store` lies in.
    pub fn open(store: &Store) -> Result<Self> {
        let root = store.root().join("bundles");
        file::make_directory(&root)?;
        Ok(Self { root, store: store.clone(), images: Images::open(store)? })
    }

    /// Waits until no other build unpacks the bundle.
    pub(super) fn lock(&self, sha256: Digest) -> Result<Lock> {
        self.store.lock(key(sha256))
    }

    /// The bundle of that digest, if it is here with every layer; its use is noted.
    pub(super) fn find(&self, sha256: Digest, called: &str) -> Result<Option<Bundle>> {
        let at = self.root.join(key(sha256).to_string());
        let Some(kept) = self.read(&at)?.filter(|kept| kept.sha256 == sha256) else { return Ok(None) };
        // One whose compose file is gone has lost its files.
        if kept.boot != boot_of_host()? || !at.join(FILES).join(COMPOSE_FILE).exists() {
            return Ok(None);
        }
        let Some(layers) = self.layers_of(&kept.images)? else { return Ok(None) };
        file::touch(&at.join(RECORD))?;
        let Kept { version, generation, images, .. } = kept;
        let (called, files, settings) = (called.to_owned(), at.join(FILES), Defaults::default());
        Ok(Some(Bundle { called, version, generation, images, layers, files, settings }))
    }

    fn layers_of(&self, images: &[Image]) -> Result<Option<BTreeMap<Digest, StoredLayer>>> {
        let mut layers = BTreeMap::new();
        for diff_id in images.iter().flat_map(|image| &image.layers) {
            match self.images.find(*diff_id)? {
                Some(layer) => layers.insert(*diff_id, layer),
                None => return Ok(None),
            };
        }
        Ok(Some(layers))
    }

    /// Keeps what was unpacked into `directory`.
    pub(super) fn keep(&self, sha256: Digest, called: &str, contents: Contents, directory: &Path) -> Result<Bundle> {
        let Contents { version, generation, archive: Archive { images, layers, names } } = contents;
        let kept =
            Kept { sha256, boot: boot_of_host()?, builder: BUILDER.to_owned(), version, generation, images, names };
        let text = serde_json::to_vec_pretty(&kept).context("a bundle that cannot be described")?;
        file::write(&directory.join(RECORD), text)?;
        let at = self.root.join(key(sha256).to_string());
        file::remove(&at)?;
        file::rename(directory, &at)?;
        let Kept { version, generation, images, .. } = kept;
        let (called, files, settings) = (called.to_owned(), at.join(FILES), Defaults::default());
        Ok(Bundle { called, version, generation, images, layers, files, settings })
    }

    /// What names meant in the archives of all bundles here.
    pub(super) fn names(&self) -> Result<BTreeMap<String, Digest>> {
        let mut names = BTreeMap::new();
        for at in self.all()? {
            names.extend(self.read(&at)?.map(|kept| kept.names).unwrap_or_default());
        }
        Ok(names)
    }

    /// Says of every layer of a container image that is damaged what is wrong with it; the others are counted.
    pub fn verify(&self) -> Result<(usize, Vec<(StoredLayer, String)>)> {
        let (mut whole, mut damaged) = (0, Vec::new());
        for layer in self.images.all()? {
            match self.images.verify(&layer)? {
                None => whole += 1,
                Some(words) => damaged.push((layer, words)),
            }
        }
        Ok((whole, damaged))
    }

    /// Every bundle here: digest, version, and the number of its images.
    pub fn list(&self) -> Result<Vec<(Digest, Version, usize)>> {
        let kept = self.all()?.iter().map(|at| self.read(at)).collect::<Result<Vec<_>>>()?;
        Ok(kept.into_iter().flatten().map(|kept| (kept.sha256, kept.version, kept.images.len())).collect())
    }

    /// Removes a layer of container images; gives how many bytes went.
    pub fn forget_layer(&self, layer: &StoredLayer) -> Result<u64> {
        self.images.forget(layer)
    }

    /// Removes the bundles that no build has used for `age`; gives how many, and how many bytes went. `sweep` then
    /// removes their layers.
    pub fn forget_unused(&self, age: Duration) -> Result<(usize, u64)> {
        let (mut forgotten, mut freed) = (0, 0);
        for at in self.all()? {
            if file::unused_for(&at.join(RECORD)).is_some_and(|unused| unused >= age) {
                freed += remove(&at)?;
                forgotten += 1;
            }
        }
        Ok((forgotten, freed))
    }

    /// Removes bundles that no build will use as they are, and the layers that no bundle has; gives how many bytes went.
    pub fn sweep(&self) -> Result<u64> {
        let boot = boot_of_host()?;
        let (mut used, mut freed) = (BTreeSet::new(), 0);
        for at in self.all()? {
            let Some(kept) = self.read(&at)?.filter(|kept| kept.boot == boot) else {
                freed += remove(&at)?;
                continue;
            };
            let layers = kept.images.iter().flat_map(|image| &image.layers);
            used.extend(layers.map(|diff_id| docker::layer_key(&kept.builder, *diff_id)));
        }
        Ok(freed + self.images.sweep(&used)?)
    }

    fn all(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.root).with_context(|| format!("failed to list {}", self.root.display()))?;
        let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        all.sort();
        Ok(all)
    }

    fn read(&self, at: &Path) -> Result<Option<Kept>> {
        match fs::read(at.join(RECORD)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", at.display())),
        }
    }
}

/// The record first: what is half removed counts as missing.
fn remove(at: &Path) -> Result<u64> {
    file::remove(&at.join(RECORD))?;
    file::remove_counted(at)
}

/// What an unpacked bundle is made from: its bytes, and the code that unpacks it.
fn key(sha256: Digest) -> Digest {
    Digest::of(format!("bundle\nbuilder {BUILDER}\nsha256 {sha256}\n").as_bytes())
}
