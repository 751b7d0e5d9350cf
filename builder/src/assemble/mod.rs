//! Stage 4: one raw disk from the layers. Regular files only: no loop device, no mount that the host sees.

pub(crate) mod boot;
mod content;
mod disk;
pub(crate) mod filesystem;
mod identity;
pub mod layout;
pub(crate) mod lint;
pub(crate) mod places;
mod root;
pub(crate) mod settle;
mod state;
mod tree;

use std::panic::resume_unwind;
use std::thread;

use anyhow::Result;

pub use self::disk::Disk;
use self::filesystem::Tools;
use self::root::Root;
use self::tree::Tree;
use crate::bake::Baked;
use crate::plan::Plan;
use crate::report::{self, Event};
use crate::sys::file::Scratch;

/// Makes the disk of `plan` in `scratch`.
pub fn run(plan: &Plan, baked: &Baked, scratch: &Scratch) -> Result<Disk> {
    let identity = identity::of(plan, baked)?;
    let out = scratch.directory("out")?;
    let tree = Tree::shape(plan, baked, &identity, scratch)?;
    let tools = Tools::mount(&baked.tools, scratch)?;

    let event = Event::start("assemble", "root");
    let (root, state) = thread::scope(|scope| {
        let state = scope.spawn(|| state::make(plan, baked, &identity, &tree, &tools, scratch, &out));
        let root = Root::make(plan, &identity, &tree, &tools, &out);
        let state = state.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok::<_, anyhow::Error>((root?, state?))
    })?;
    event.done("made", &format!("squashfs {}, root hash {}", report::size(root.length), root.hash.short()));

    let event = Event::start("assemble", "disk");
    let (disk, partitions) = disk::write(plan, baked, &root, &state, &tools, &out)?;
    event.done("made", &format!("{} raw, {partitions} partitions", report::size(disk.size)));
    Ok(disk)
}
