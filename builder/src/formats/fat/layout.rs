//! Which clusters a tree's directories and files take, and writing them there.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use anyhow::{Context as _, Result, ensure};

use super::geometry::{Geometry, Stamp};
use super::name::{self, Short};
use super::{Directory, FatContent, Node};

pub(super) const ENTRY: usize = 32;
pub(super) const VOLUME_ID: u8 = 0x08;
pub(super) const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
/// The specification's limit of a directory: 2 MiB, that is 65536 entries.
pub(super) const LARGEST_DIRECTORY: usize = 65_536 * ENTRY;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// A stretch of zeros of this length is left a hole.
const HOLE: usize = 4096;
const BUFFER: usize = 256 * HOLE;

/// The extents of a tree, one behind the other from cluster 2, the root directory, on.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    /// Bytes in a cluster.
    cluster: u64,
    stamp: Stamp,
    /// The first cluster not in use. May lie beyond the volume: then the tree does not fit.
    next: u64,
    extents: Vec<Extent<'a>>,
}

#[derive(Debug)]
struct Extent<'a> {
    first: u64,
    clusters: u64,
    source: Source<'a>,
}

#[derive(Debug)]
enum Source<'a> {
    Directory(Vec<u8>),
    File(&'a FatContent),
}

impl<'a> Layout<'a> {
    /// Lays out `root` in depth-first order; `label` is in stored form.
    pub(super) fn of(root: &'a Directory, geometry: &Geometry, label: Short, stamp: Stamp) -> Result<Self> {
        let mut layout = Self { cluster: geometry.cluster_bytes(), stamp, next: 2, extents: Vec::new() };
        layout.place(root, Place::Root(label))?;
        layout.extents.sort_by_key(|extent| extent.first);
        Ok(layout)
    }

    /// Bytes in the clusters used.
    pub(super) fn bytes(&self) -> u64 {
        (self.next - 2) * self.cluster
    }

    /// The first cluster not in use.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The used part of the file allocation table.
    pub(super) fn table(&self) -> Vec<u8> {
        // The first two entries repeat the media byte and say that the volume was unmounted cleanly.
        let mut table = vec![0x0fff_fff8, END_OF_CHAIN];
        for extent in &self.extents {
            let last = extent.first + extent.clusters - 1;
            table.extend((extent.first..=last).map(|n| if n == last { END_OF_CHAIN } else { n as u32 + 1 }));
        }
        table.iter().flat_map(|entry| entry.to_le_bytes()).collect()
    }

    /// Writes all directories and files.
    pub(super) fn write(&self, geometry: &Geometry, sink: &mut Sink<'_, impl Write + Seek>) -> Result<()> {
        for extent in &self.extents {
            let at = geometry.cluster(extent.first);
            match &extent.source {
                Source::Directory(bytes) | Source::File(FatContent::Bytes(bytes)) => sink.put(at, bytes)?,
                Source::File(FatContent::File { path, length }) => {
                    let copied = File::open(path).map_err(Into::into).and_then(|file| sink.copy(at, file, *length));
                    copied.with_context(|| format!("failed to copy {} into it", path.display()))?;
                }
            }
        }
        Ok(())
    }

    /// Gives `bytes` bytes their clusters; an empty file has none and says cluster 0.
    fn take(&mut self, bytes: u64) -> (u64, u64) {
        let clusters = bytes.div_ceil(self.cluster);
        let first = if clusters == 0 { 0 } else { self.next };
        self.next += clusters;
        (first, clusters)
    }

    /// Lays out a directory and everything in it; returns its first cluster.
    fn place(&mut self, directory: &'a Directory, place: Place) -> Result<u64> {
        let names = name::assign(directory.entries.values().map(|entry| entry.name.as_str()))?;
        let own = match place {
            Place::Root(_) => 1,
            Place::Below(_) => 2,
        };
        let length = (own + names.iter().map(name::Name::entries).sum::<usize>()) * ENTRY;
        ensure!(length <= LARGEST_DIRECTORY, "a FAT directory of {} entries is too large", directory.entries.len());
        let (first, clusters) = self.take(length as u64);

        let mut bytes = Vec::with_capacity(length);
        match place {
            Place::Root(label) => bytes.extend(self.entry(&label, VOLUME_ID, 0, 0)),
            Place::Below(parent) => {
                bytes.extend(self.entry(b".          ", DIRECTORY, first, 0));
                bytes.extend(self.entry(b"..         ", DIRECTORY, parent, 0));
            }
        }
        // What is in the root directory calls it cluster 0.
        let parent = if matches!(place, Place::Root(_)) { 0 } else { first };
        for (entry, name) in directory.entries.values().zip(&names) {
            bytes.extend(name.long_entries().into_iter().flatten());
            bytes.extend(match &entry.node {
                Node::Directory(below) => {
                    let first = self.place(below, Place::Below(parent))?;
                    self.entry(&name.short, DIRECTORY, first, 0)
                }
                Node::File(content) => {
                    let (first, clusters) = self.take(content.length());
                    if clusters > 0 {
                        self.extents.push(Extent { first, clusters, source: Source::File(content) });
                    }
                    self.entry(&name.short, ARCHIVE, first, content.length())
                }
            });
        }
        self.extents.push(Extent { first, clusters, source: Source::Directory(bytes) });
        Ok(first)
    }

    /// A short-name entry. Numbers that do not fit belong to a tree that does not fit, and are never written.
    fn entry(&self, short: &Short, attributes: u8, cluster: u64, length: u64) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        let mut put = |at: usize, bytes: &[u8]| entry[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, short);
        put(11, &[attributes]);
        put(13, &[self.stamp.hundredths]);
        put(14, &self.stamp.time.to_le_bytes());
        put(16, &self.stamp.date.to_le_bytes());
        put(18, &self.stamp.date.to_le_bytes());
        put(20, &((cluster >> 16) as u16).to_le_bytes());
        put(22, &self.stamp.time.to_le_bytes());
        put(24, &self.stamp.date.to_le_bytes());
        put(26, &(cluster as u16).to_le_bytes());
        put(28, &(length as u32).to_le_bytes());
        entry
    }
}

/// Where a directory is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// It is the root, which holds the volume's label.
    Root(Short),
    /// Below the directory at this cluster.
    Below(u64),
}

/// Writes at offsets from where `out` stood, and skips zeros.
#[derive(Debug)]
pub(super) struct Sink<'a, W> {
    out: &'a mut W,
    start: u64,
}

impl<'a, W: Write + Seek> Sink<'a, W> {
    /// Offsets count from the current position of `out`.
    pub(super) fn new(out: &'a mut W) -> Result<Self> {
        let start = out.stream_position()?;
        Ok(Self { out, start })
    }

    /// Writes what is not zero of `bytes` at `offset`.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        const ZEROS: [u8; HOLE] = [0; HOLE];
        let is_hole = |block: &[u8]| *block == ZEROS[..block.len()];
        let mut blocks = bytes.chunks(HOLE).enumerate().peekable();
        while let Some((first, block)) = blocks.next() {
            if is_hole(block) {
                continue;
            }
            let mut end = first * HOLE + block.len();
            while let Some((_, block)) = blocks.next_if(|(_, block)| !is_hole(block)) {
                end += block.len();
            }
            self.out.seek(SeekFrom::Start(self.start + offset + (first * HOLE) as u64))?;
            self.out.write_all(&bytes[first * HOLE..end])?;
        }
        Ok(())
    }

    /// Copies `source`, which must be `length` bytes long, to `offset`.
    fn copy(&mut self, offset: u64, mut source: impl Read, length: u64) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        let mut done = 0;
        while done < length {
            let part = usize::try_from(length - done).unwrap_or(BUFFER).min(BUFFER);
            let short = || format!("it should have {length} bytes");
            source.read_exact(&mut buffer[..part]).with_context(short)?;
            self.put(offset + done, &buffer[..part])?;
            done += part as u64;
        }
        ensure!(source.read(&mut buffer[..1])? == 0, "it has more than the {length} bytes it should have");
        Ok(())
    }
}
