//! The state file system: an ext4 that holds the image's `/var`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::filesystem::{self, State, Tools};
use super::layout::derived;
use super::tree::Tree;
use crate::plan::Plan;
use crate::sys::digest::Digest;

/// Makes it in `out`.
pub(super) fn make(plan: &Plan, identity: &Digest, tree: &Tree, tools: &Tools, out: &Path) -> Result<PathBuf> {
    let state = State {
        size: plan.image.disk.var_size.0,
        uuid: derived(identity, "state"),
        epoch: plan.epoch,
        marks: &tree.marks,
    };
    filesystem::ext4(tools, &tree.path().join("var"), out, state)
}
