//! The read-only root: a squashfs, and the verity tree that guards it.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result};

use super::filesystem::{self, Tools};
use super::layout::derived;
use super::tree::Tree;
use crate::formats::verity;
use crate::plan::Plan;
use crate::sys::digest::Digest;

/// The root in two files.
#[derive(Debug)]
pub(super) struct Root {
    /// The file system.
    pub(super) image: PathBuf,
    /// Its length in bytes.
    pub(super) length: u64,
    /// Its hash device.
    pub(super) hashes: PathBuf,
    /// The root hash.
    pub(super) hash: Digest,
}

impl Root {
    /// Makes both in `out`.
    pub(super) fn make(plan: &Plan, identity: &Digest, tree: &Tree, tools: &Tools, out: &Path) -> Result<Self> {
        let image = filesystem::squashfs(tools, tree.path(), &tree.empty, out, plan.epoch)?;
        let hashes = out.join("root.verity");
        // Derived: a random salt would make two equal roots two disks.
        let salt = Digest::of(&[identity.0.as_slice(), b"salt"].concat()).0;
        let threads = thread::available_parallelism().map_or(2, usize::from);
        let hash = verity::format(&image, &hashes, &salt, derived(identity, "verity"), threads)?;
        let length = image.metadata().with_context(|| format!("failed to read {}", image.display()))?.len();
        Ok(Self { image, length, hashes, hash })
    }
}
