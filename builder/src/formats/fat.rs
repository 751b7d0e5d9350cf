//! FAT32 volumes made from a list of files: the EFI system partition and the NoCloud seed.
//!
//! Invariant: equal trees and equal parameters give equal bytes. Entries are sorted, files lie one behind the other
//! in that order, and the only time is the caller's. Format: Microsoft's "FAT: General Overview of On-Disk Format"
//! 1.03, with long names.

mod geometry;
mod layout;
mod name;
mod read;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::Vacant;
use std::io::{Seek, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use self::geometry::{Geometry, SECTOR, Stamp};
use self::layout::{Layout, Sink};
pub use self::read::{FatFile, Listing};

const MIB: u64 = 1 << 20;

/// What a file in the volume holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FatContent {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of the host, which must be exactly `length` bytes long when it is copied.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
}

impl FatContent {
    /// The length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}

/// The parameters of a volume.
#[derive(Debug, Clone, Copy)]
pub struct FatVolume<'a> {
    /// The length of the volume in bytes; a multiple of 512, at least 33 MiB.
    pub size: u64,
    /// Up to 11 upper-case characters.
    pub label: &'a str,
    /// The serial number, which Linux shows as the UUID `XXXX-XXXX`.
    pub volume_id: u32,
    /// The sectors on the disk before the volume: its partition's first LBA, or 0 for a disk without partitions.
    pub hidden_sectors: u32,
    /// The Unix time in seconds of every timestamp, read as UTC; 1980 if it is before that.
    pub epoch: u64,
}

/// The files of a volume. Directories are implied by the paths.
#[derive(Debug, Default)]
pub struct FatTree {
    root: Directory,
}

#[derive(Debug, Default)]
struct Directory {
    /// By the key under which FAT holds names to be equal.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    node: Node,
}

#[derive(Debug)]
enum Node {
    Directory(Directory),
    File(FatContent),
}

impl FatTree {
    /// An empty volume.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file at `path`, whose parts are separated by `/`.
    ///
    /// Fails on a name FAT cannot hold, and on one that is there already, in whatever case.
    pub fn add_file(&mut self, path: &str, content: FatContent) -> Result<()> {
        let length = content.length();
        ensure!(length <= u64::from(u32::MAX), "{path:?} has {length} bytes, a file on FAT has at most 4 GiB - 1");
        let path = path.trim_start_matches('/');
        let (directories, file) = path.rsplit_once('/').unwrap_or(("", path));
        let mut directory = &mut self.root;
        for part in directories.split('/').filter(|_| !directories.is_empty()) {
            name::check(part).with_context(|| format!("failed to add {path:?}"))?;
            let new = || Entry { name: part.to_owned(), node: Node::Directory(Directory::default()) };
            directory = match &mut directory.entries.entry(name::key(part)).or_insert_with(new).node {
                Node::Directory(directory) => directory,
                Node::File(_) => bail!("failed to add {path:?}: {part:?} is a file"),
            };
        }
        name::check(file).with_context(|| format!("failed to add {path:?}"))?;
        let Vacant(place) = directory.entries.entry(name::key(file)) else {
            bail!("failed to add {path:?}: the FAT volume has that name already");
        };
        place.insert(Entry { name: file.to_owned(), node: Node::File(content) });
        Ok(())
    }

    /// The length in bytes of a volume that holds the files and little more: whole MiB, at least 33.
    pub fn smallest(&self) -> Result<u64> {
        let mut size = 33 * MIB;
        loop {
            let geometry = Geometry::of(size)?;
            // The label takes an entry whatever it is, and the time changes no size.
            let layout = Layout::of(&self.root, &geometry, [b' '; 11], Stamp::of(0))?;
            let over = layout.bytes().saturating_sub(geometry.capacity());
            if over == 0 {
                return Ok(size);
            }
            size += over.next_multiple_of(MIB);
        }
    }

    /// Writes the volume to `out` from its current position on.
    ///
    /// Only what is not zero is written: the `volume.size` bytes behind that position must be zero or a hole.
    pub fn write(&self, out: &mut (impl Write + Seek), volume: &FatVolume<'_>) -> Result<()> {
        let geometry = Geometry::of(volume.size)?;
        let label = stored_label(volume.label)?;
        let layout = Layout::of(&self.root, &geometry, label, Stamp::of(volume.epoch))?;
        let (needed, capacity) = (layout.bytes(), geometry.capacity());
        if needed > capacity {
            let (label, over) = (volume.label, needed - capacity);
            bail!(
                "the files of FAT volume {label:?} need {needed} bytes, {over} more than the {capacity} that it can hold"
            );
        }
        let failed = || format!("failed to write FAT volume {:?}", volume.label);
        let mut sink = Sink::new(out).with_context(failed)?;
        let (boot, info) = (geometry.boot_sector(volume, label), geometry.fs_info(layout.next()));
        for (sector, bytes) in [(0, &boot), (1, &info), (6, &boot), (7, &info)] {
            sink.put(sector * SECTOR, bytes).with_context(failed)?;
        }
        for table in geometry.tables() {
            sink.put(table, &layout.table()).with_context(failed)?;
        }
        layout.write(&geometry, &mut sink).with_context(failed)
    }
}

/// A volume label as stored.
fn stored_label(label: &str) -> Result<name::Short> {
    let valid = |b: u8| b == b' ' || name::is_short(b) && !b.is_ascii_lowercase();
    let fits = (1..=11).contains(&label.len()) && label.bytes().all(valid) && !label.starts_with(' ');
    ensure!(fits, "FAT volume label {label:?} is not 1 to 11 upper-case letters, digits or signs");
    let mut stored = [b' '; 11];
    stored[..label.len()].copy_from_slice(label.as_bytes());
    Ok(stored)
}

#[cfg(test)]
mod tests;
