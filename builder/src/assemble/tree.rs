//! The mounted tree of the node: the layers, one upon the other, with the node's places on top.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::layout::derived;
use super::{lint, places};
use crate::bake::rootfs::Rootfs;
use crate::bake::{Baked, pack};
use crate::plan::Plan;
use crate::report::{Failure, Fault};
use crate::sys::digest::Digest;
use crate::sys::enter::Overlay;
use crate::sys::file::Scratch;

/// Docker's data on the node.
pub(super) const DOCKER: &str = "/var/lib/docker";

/// A tree that passed every lint; unmounted when it is dropped.
#[derive(Debug)]
pub(super) struct Tree {
    overlay: Overlay,
    /// An empty directory with the epoch as its time.
    pub(super) empty: PathBuf,
}

impl Tree {
    /// Gives the layers the shape of a node, and mounts the result.
    pub(super) fn shape(plan: &Plan, baked: &Baked, identity: &Digest, scratch: &Scratch) -> Result<Self> {
        let upper = directory_of_image(scratch, "upper")?;
        let (work, at) = (scratch.directory("work")?, scratch.directory("root")?);
        let lowers: Vec<PathBuf> = baked.trees.iter().rev().cloned().collect();
        let overlay = Overlay::mount(&lowers, &upper, &work, &at)?;
        let root = Rootfs::new(overlay.path());
        places::shape(&root, derived(identity, "state"), plan.epoch)?;
        if baked.bundle.is_some() {
            // The state file system's is mounted here while it is made.
            root.make_directory(DOCKER)?;
        }
        check(&root)?;
        drop(overlay);
        pack::settle(&upper, plan.epoch)?;
        // Mounted again: what the overlay had cached of the times is gone.
        let work = scratch.directory("work2")?;
        let overlay = Overlay::mount(&lowers, &upper, &work, &at)?;
        let empty = directory_of_image(scratch, "empty")?;
        pack::settle(&empty, plan.epoch)?;
        Ok(Self { overlay, empty })
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        self.overlay.path()
    }
}

/// A new directory that becomes one of the image's: its mode is the image's, not this process' umask's.
fn directory_of_image(scratch: &Scratch, name: &str) -> Result<PathBuf> {
    let path = scratch.directory(name)?;
    places::set_mode(&path, 0o755)?;
    Ok(path)
}

/// An image that fails a lint becomes no disk.
fn check(root: &Rootfs) -> Result<()> {
    let found = lint::run(root)?;
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Fault::Step, format!("the image is not fit to be booted by everyone:\n  {}", found.join("\n  ")))
        .remedy("correct the layer that puts it there, or that lacks a package; habuild check --list says what each lint holds")
        .into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::assemble::places::tests::again_under_umask_077;

    #[test]
    fn an_images_directory_is_open_to_all_under_any_umask() {
        if again_under_umask_077("assemble::tree::tests::an_images_directory_is_open_to_all_under_any_umask") {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(directory.path()).unwrap();
        let upper = directory_of_image(&scratch, "upper").unwrap();
        assert_eq!(upper.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    }
}
