//! Unpacked layers of container images in the cache, by the digest of their tar: what bundles share is unpacked once.
//!
//! ```text
//! images/KEY/diff/               the layer's files
//! images/KEY/tar-split.json.gz   the rest of its tar
//! images/KEY/marks               what no build can make, see `marks`
//! images/KEY/layer.json          its digest and size, and the boot of the host in which it was made
//! images/lock                    held while one is put in its place
//! ```
//!
//! The key stands for the tar and for the code that unpacks it: another builder unpacks anew.
//!
//! Invariant: a layer is made in scratch and renamed. As the store's trees, it counts until the host starts again only:
//! a power cut may leave files without their content.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::layer::{DIFF, SPLIT, Unpacked};
use super::marks::{self, Mark};
use super::split;
use crate::bake::store::{Store, boot_of_host};
use crate::sys::digest::Digest;
use crate::sys::file;

const MARKS: &str = "marks";
const RECORD: &str = "layer.json";

/// The layers in a cache.
#[derive(Debug, Clone)]
pub struct Images {
    root: PathBuf,
}

/// A layer in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLayer {
    /// The digest of its tar.
    pub diff_id: Digest,
    /// The length of its files and symbolic links in bytes, as Docker counts it.
    pub size: u64,
    /// What no build can make; paths are relative to the layer's top.
    pub marks: Vec<Mark>,
    at: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    diff_id: Digest,
    size: u64,
    boot: String,
}

impl StoredLayer {
    /// Its files.
    #[must_use]
    pub fn diff(&self) -> PathBuf {
        self.at.join(DIFF)
    }

    /// The rest of its tar.
    #[must_use]
    pub fn split(&self) -> PathBuf {
        self.at.join(SPLIT)
    }
}

impl Images {
    /// The layers in the cache that `store` lies in.
    pub fn open(store: &Store) -> Result<Self> {
        let images = Self { root: store.root().join("images") };
        file::make_directory(&images.root)?;
        Ok(images)
    }

    /// A layer, if it is there and of this boot of the host.
    pub fn find(&self, diff_id: Digest) -> Result<Option<StoredLayer>> {
        Self::read(self.at(diff_id))
    }

    fn read(at: PathBuf) -> Result<Option<StoredLayer>> {
        let record = match fs::read(at.join(RECORD)) {
            Ok(bytes) => serde_json::from_slice::<Record>(&bytes).ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("failed to read {}", at.display())),
        };
        let boot = boot_of_host()?;
        let Some(record) = record.filter(|record| record.boot == boot) else { return Ok(None) };
        // A layer that has lost a part counts as missing, and is made anew.
        let parts = [MARKS, SPLIT, DIFF].map(|part| at.join(part));
        if parts.iter().any(|part| !part.exists()) {
            return Ok(None);
        }
        let marks = marks::parse(&file::read_text(&at.join(MARKS))?)?;
        Ok(Some(StoredLayer { diff_id: record.diff_id, size: record.size, marks, at }))
    }

    /// Puts a layer that was unpacked into `scratch` in its place.
    pub(super) fn keep(&self, unpacked: Unpacked, scratch: &Path) -> Result<StoredLayer> {
        let Unpacked { diff_id, size, mut marks } = unpacked;
        file::write(&scratch.join(MARKS), marks::text(&mut marks))?;
        let record = Record { diff_id, size, boot: boot_of_host()? };
        file::write(&scratch.join(RECORD), serde_json::to_vec(&record).context("a layer that cannot be described")?)?;
        let _lock = file::lock(&self.root.join("lock"))?;
        match self.find(diff_id)? {
            // Another build was first, or another layer of this archive is the same.
            Some(layer) => {
                file::remove(scratch)?;
                Ok(layer)
            }
            None => {
                let at = self.at(diff_id);
                file::remove(&at)?;
                file::rename(scratch, &at)?;
                Ok(StoredLayer { diff_id, size, marks, at })
            }
        }
    }

    /// Every layer of this boot of the host, whoever unpacked it.
    pub fn all(&self) -> Result<Vec<StoredLayer>> {
        let layers = self.directories()?.into_iter().map(Self::read).collect::<Result<Vec<_>>>()?;
        Ok(layers.into_iter().flatten().collect())
    }

    fn directories(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.root).with_context(|| format!("failed to list {}", self.root.display()))?;
        let mut directories: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|at| at.is_dir()).collect();
        directories.sort();
        Ok(directories)
    }

    /// Makes the layer's tar again from its files, and says what is wrong if that is not the tar it came from.
    pub fn verify(&self, layer: &StoredLayer) -> Result<Option<String>> {
        let found = match split::tar_again(&layer.split(), &layer.diff()) {
            Ok(digest) if digest == layer.diff_id => return Ok(None),
            Ok(digest) => format!("{} makes a tar of digest {digest}", layer.at.display()),
            Err(error) => format!("{}: {error:#}", layer.at.display()),
        };
        Ok(Some(found))
    }

    /// Removes a layer; gives how many bytes went.
    pub fn forget(&self, layer: &StoredLayer) -> Result<u64> {
        remove(&layer.at)
    }

    /// Removes every layer but those with these keys; gives how many bytes went.
    pub fn sweep(&self, used: &BTreeSet<Digest>) -> Result<u64> {
        let is_used = |at: &Path| used.iter().any(|key| at.ends_with(key.to_string()));
        self.directories()?.iter().filter(|at| !is_used(at)).map(|at| remove(at)).sum()
    }

    fn at(&self, diff_id: Digest) -> PathBuf {
        self.root.join(key(BUILDER, diff_id).to_string())
    }
}

/// The code that unpacks, as a part of keys.
pub const BUILDER: &str = env!("HABUILD_BAKE_ID");

/// What an unpacked layer is made from: its tar, and the code of that builder.
#[must_use]
pub fn key(builder: &str, diff_id: Digest) -> Digest {
    Digest::of(format!("image layer\nbuilder {builder}\ndiff {diff_id}\n").as_bytes())
}

/// The record first: what is half removed counts as missing.
fn remove(at: &Path) -> Result<u64> {
    file::remove(&at.join(RECORD))?;
    file::remove_counted(at)
}
