//! Stage 4: one raw disk from the layers. Regular files only: no loop device, no mount that the host sees.

pub mod boot;
pub mod filesystem;
pub mod layout;
pub mod lint;
pub mod places;
pub mod settle;

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::bake::rootfs::Rootfs;
use crate::bake::{Baked, pack};
use crate::formats::fat::FatVolume;
use crate::formats::verity;
use crate::plan::Plan;
use crate::report::{self, Event, Failure, Fault};
use crate::sys::digest::Digest;
use crate::sys::enter::Overlay;
use crate::sys::file::Scratch;
use crate::sys::sparse;
use boot::ESP_SIZE;
use filesystem::{State, Tools};
use layout::{BIOS_BOOT_SIZE, Layout, MIB, Role, derived};

/// A finished raw disk.
#[derive(Debug)]
pub struct Disk {
    /// The file, sparse.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// The root hash of the verity tree.
    pub root_hash: Digest,
    /// The kernel's command line.
    pub command_line: String,
    /// Byte ranges whose content is compressed already.
    pub incompressible: Vec<Range<u64>>,
}

/// Makes the disk of `plan` in `scratch`.
pub fn run(plan: &Plan, baked: &Baked, scratch: &Scratch) -> Result<Disk> {
    let state_id = derived(&plan.disk, "state");
    let (upper, work, merged) = (scratch.directory("upper")?, scratch.directory("work")?, scratch.directory("root")?);
    let (out, empty) = (scratch.directory("out")?, scratch.directory("empty")?);
    let lowers: Vec<PathBuf> = baked.trees.iter().rev().cloned().collect();
    let overlay = Overlay::mount(&lowers, &upper, &work, &merged)?;
    let root = Rootfs::new(overlay.path());
    places::shape(&root, state_id, plan.epoch)?;
    check(&root)?;
    let marks = settle::take_marks(&root)?;
    drop(overlay);
    pack::settle(&upper, plan.epoch)?;
    // Mounted again: what the overlay had cached of the times is gone.
    let work = scratch.directory("work2")?;
    let overlay = Overlay::mount(&lowers, &upper, &work, &merged)?;
    set_times_of_hidden(&empty, plan.epoch)?;

    let tools = Tools::mount(&baked.tools, scratch)?;
    let event = Event::start("assemble", "root");
    let (root_image, state_image) = thread::scope(|scope| {
        let state = scope.spawn(|| {
            let state = State { size: plan.image.disk.var_size.0, uuid: state_id, epoch: plan.epoch, marks: &marks };
            filesystem::ext4(&tools, &overlay.path().join("var"), &out, state)
        });
        let root = filesystem::squashfs(&tools, overlay.path(), &empty, &out, plan.epoch);
        let state = state.join().map_err(|_| anyhow!("a thread of the build broke off"));
        Ok::<_, anyhow::Error>((root?, state??))
    })?;
    let hash_image = out.join("root.verity");
    // Fixed by the plan: a random salt would make two equal roots two disks.
    let salt = Digest::of(&[plan.disk.0.as_slice(), b"salt"].concat()).0;
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let root_hash = verity::format(&root_image, &hash_image, &salt, derived(&plan.disk, "verity"), threads)?;
    let length = |path: &Path| {
        Ok::<_, anyhow::Error>(path.metadata().with_context(|| format!("failed to read {}", path.display()))?.len())
    };
    let root_length = length(&root_image)?;
    event.done("made", &format!("squashfs {}, root hash {}", report::size(root_length), root_hash.short()));

    let event = Event::start("assemble", "disk");
    let layout = Layout::of(&[
        (Role::BiosBoot, BIOS_BOOT_SIZE),
        (Role::Esp, ESP_SIZE),
        (Role::Root, root_length),
        (Role::RootVerity, length(&hash_image)?),
        (Role::State, length(&state_image)?),
    ])?;
    let place = |role: Role| layout.get(role).copied().context("a partition that was not laid out");
    let boot = boot::prepare(
        &tools,
        &plan.image.disk.firmware,
        &baked.boot,
        &root_hash,
        place(Role::BiosBoot)?.first_lba(),
        &out,
    )?;
    let path = out.join("disk.raw");
    let mut disk = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    disk.set_len(layout.size).with_context(|| format!("failed to size {}", path.display()))?;
    layout.table(&root_hash).write(&mut disk, layout.size, &boot.boot_code)?;
    let at = place(Role::BiosBoot)?.offset;
    disk.seek(SeekFrom::Start(at)).and_then(|_| disk.write_all(&boot.core)).context("failed to write GRUB's core")?;
    let esp = place(Role::Esp)?;
    disk.seek(SeekFrom::Start(esp.offset)).context("failed to seek")?;
    let volume = FatVolume {
        size: ESP_SIZE,
        label: "ESP",
        volume_id: boot.volume_id,
        hidden_sectors: u32::try_from(esp.first_lba()).context("an ESP beyond 2 TiB")?,
        epoch: u64::try_from(plan.epoch).unwrap_or(0),
    };
    boot.esp.write(&mut disk, &volume)?;
    for (image, role) in [(&root_image, Role::Root), (&hash_image, Role::RootVerity), (&state_image, Role::State)] {
        sparse::copy(image, &disk, place(role)?.offset, &mut |_, _| {})?;
        // Their content is on the disk now: twice is once too often for a small build machine.
        std::fs::remove_file(image).with_context(|| format!("failed to remove {}", image.display()))?;
    }
    event.done("made", &format!("{} raw, {} partitions", report::size(layout.size), layout.partitions.len()));
    let (root, hashes) = (place(Role::Root)?, place(Role::RootVerity)?);
    Ok(Disk {
        path,
        size: layout.size,
        root_hash,
        command_line: boot::command_line(&root_hash),
        // Kernel and initrd on the ESP, the squashfs, and hashes.
        incompressible: vec![esp.offset + MIB..esp.offset + esp.length, root.offset..hashes.offset + hashes.length],
    })
}

/// An image that fails a lint becomes no disk.
fn check(root: &Rootfs) -> Result<()> {
    let found = lint::run(root)?;
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Fault::Step, format!("the image is not fit to be booted by everyone:\n  {}", found.join("\n  ")))
        .remedy("find the layer that puts it there; habuild check --list says what each lint holds")
        .into())
}

/// What stands in for `/var` in the root: its time is the epoch.
fn set_times_of_hidden(empty: &Path, epoch: i64) -> Result<()> {
    pack::settle(empty, epoch)?;
    ensure!(empty.is_dir(), "{} is gone", empty.display());
    Ok(())
}
