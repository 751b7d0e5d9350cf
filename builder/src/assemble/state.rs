//! The state file system: an ext4 that holds the image's `/var`, and in it Docker's store with the container images.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use super::content::Content;
use super::filesystem::{self, Tools};
use super::layout::{MIB, derived};
use super::tree::{DOCKER, Tree};
use crate::bake::{Baked, docker, pack};
use crate::plan::Plan;
use crate::sys::digest::Digest;
use crate::sys::file::Scratch;

/// The state file system's mount point in the image.
const STATE: &str = "/var";

/// A finished state file system.
#[derive(Debug)]
pub(super) struct State {
    /// The file that holds it.
    pub(super) image: PathBuf,
    /// What the container images take of it, in bytes.
    pub(super) images: u64,
}

/// Makes it in `out`: as large as the spec says, and what the container images take on top.
pub(super) fn make(
    plan: &Plan,
    baked: &Baked,
    identity: &Digest,
    tree: &Tree,
    tools: &Tools,
    scratch: &Scratch,
    out: &Path,
) -> Result<State> {
    let mut content = Content::of(&tree.path().join(STATE.trim_start_matches('/')));
    let mut images = 0;
    if let Some(bundle) = &baked.bundle {
        let at = Path::new(DOCKER.strip_prefix(STATE).context("Docker's store is not on the state file system")?);
        let store = scratch.directory("docker")?;
        let laid_out = docker::lay_out(&store, &bundle.images, &bundle.layers)?;
        pack::settle(&store, plan.epoch)?;
        images = length_of(&store)?;
        content.add(at, &store);
        for (inside, from) in &laid_out.mounts {
            images += length_of(from)?;
            content.add(&at.join(inside), from);
        }
        content.marks = laid_out.marks;
        content.marks.iter_mut().for_each(|mark| mark.path = at.join(&mark.path));
        images = images.next_multiple_of(MIB);
    }
    let uuid = derived(identity, "state");
    let size = plan.image.disk.var_size.0 + images;
    let image = filesystem::ext4(tools, &content, out, filesystem::State { size, uuid, epoch: plan.epoch })?;
    Ok(State { image, images })
}

/// What a tree takes in an ext4 file system of 4 KiB blocks and 256-byte inodes, in bytes.
fn length_of(tree: &Path) -> Result<u64> {
    const BLOCK: u64 = 4096;
    const INODE: u64 = 256;
    let mut length = 0;
    let mut names = std::collections::BTreeSet::new();
    for entry in WalkDir::new(tree) {
        let entry = entry.with_context(|| format!("failed to walk {}", tree.display()))?;
        let metadata = entry.metadata().with_context(|| format!("failed to read {}", entry.path().display()))?;
        let blocks = match metadata.is_file() {
            true if metadata.nlink() > 1 && !names.insert(metadata.ino()) => continue,
            true => metadata.len().next_multiple_of(BLOCK),
            // A short link stands in its inode; a directory takes a block at least, whatever the host's takes.
            false if metadata.is_dir() => BLOCK,
            false => 0,
        };
        length += blocks + INODE;
    }
    // Maps of large files, full directories.
    Ok(length + length / 64)
}
