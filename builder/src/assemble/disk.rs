//! The raw disk: partition table, boot loader, ESP, and the file systems in their places.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::boot::{self, ESP_SIZE};
use super::filesystem::Tools;
use super::layout::{BIOS_BOOT_SIZE, Layout, MIB, Placed, Role};
use super::root::Root;
use super::state::State;
use crate::bake::Baked;
use crate::formats::fat::FatVolume;
use crate::plan::Plan;
use crate::sys::digest::Digest;
use crate::sys::sparse;

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
    /// What the container images take of the state file system, in bytes.
    pub images_size: u64,
    /// Byte ranges whose content is compressed already.
    pub incompressible: Vec<Range<u64>>,
}

/// Writes the disk in `out`, and says how many partitions it has. The file systems' own files are gone then.
pub(super) fn write(
    plan: &Plan,
    baked: &Baked,
    root: &Root,
    state: &State,
    tools: &Tools,
    out: &Path,
) -> Result<(Disk, usize)> {
    let layout = Layout::of(&[
        (Role::BiosBoot, BIOS_BOOT_SIZE),
        (Role::Esp, ESP_SIZE),
        (Role::Root, root.length),
        (Role::RootVerity, length(&root.hashes)?),
        (Role::State, length(&state.image)?),
    ])?;
    let place = |role: Role| layout.get(role).copied().context("a partition that was not laid out");
    let bios_boot = place(Role::BiosBoot)?;
    let boot = boot::prepare(tools, &plan.image.disk.firmware, &baked.boot, &root.hash, bios_boot.first_lba(), out)?;

    let path = out.join("disk.raw");
    let mut disk = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    disk.set_len(layout.size).with_context(|| format!("failed to size {}", path.display()))?;
    layout.table(&root.hash).write(&mut disk, layout.size, &boot.boot_code)?;
    disk.seek(SeekFrom::Start(bios_boot.offset))
        .and_then(|_| disk.write_all(&boot.core))
        .context("failed to write GRUB's core")?;
    let esp = place(Role::Esp)?;
    write_esp(&mut disk, &esp, &boot, plan.epoch)?;
    for (image, role) in [
        (root.image.as_path(), Role::Root),
        (root.hashes.as_path(), Role::RootVerity),
        (state.image.as_path(), Role::State),
    ] {
        sparse::copy(image, &disk, place(role)?.offset, &mut |_, _| {})
            .with_context(|| format!("failed to write {}", path.display()))?;
        // Its content is on the disk now: twice is once too often for a small build machine.
        std::fs::remove_file(image).with_context(|| format!("failed to remove {}", image.display()))?;
    }

    let (first, last) = (place(Role::Root)?, place(Role::RootVerity)?);
    let finished = Disk {
        path,
        size: layout.size,
        root_hash: root.hash,
        command_line: boot::command_line(&root.hash),
        images_size: state.images,
        // Kernel and initrd on the ESP, the squashfs, and hashes.
        incompressible: vec![esp.offset + MIB..esp.offset + esp.length, first.offset..last.offset + last.length],
    };
    Ok((finished, layout.partitions.len()))
}

fn write_esp(disk: &mut File, esp: &Placed, boot: &boot::Boot, epoch: i64) -> Result<()> {
    let volume = FatVolume {
        size: ESP_SIZE,
        label: "ESP",
        volume_id: boot.volume_id,
        hidden_sectors: u32::try_from(esp.first_lba()).context("an ESP beyond 2 TiB")?,
        epoch: u64::try_from(epoch).unwrap_or(0),
    };
    disk.seek(SeekFrom::Start(esp.offset)).context("failed to seek")?;
    boot.esp.write(disk, &volume)
}

fn length(path: &Path) -> Result<u64> {
    Ok(path.metadata().with_context(|| format!("failed to read {}", path.display()))?.len())
}
