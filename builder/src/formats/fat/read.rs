//! Reads a FAT32 volume, whoever wrote it: which files it holds, and where their bytes lie.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use anyhow::{Context as _, Result, bail, ensure};

use super::geometry::SECTOR;
use super::layout::{DIRECTORY, ENTRY, LARGEST_DIRECTORY, VOLUME_ID};
use super::name::{self, LONG_NAME, PLACES};

/// The largest file allocation table that is read: of a volume of 64 GiB in clusters of 4 KiB.
const LARGEST_TABLE: u64 = 64 << 20;
/// Entries from here on are no number of a cluster: bad ones, and ends of chains.
const NO_CLUSTER: u32 = 0x0fff_fff7;
/// How deep directories are followed. Paths of 255 characters have no more parts.
const DEEPEST: usize = 128;

/// What a volume says of itself and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The length of the volume in bytes.
    pub size: u64,
    /// The label in the boot sector, without the blanks behind it.
    pub label: String,
    /// The serial number.
    pub volume_id: u32,
    /// The files, sorted by path.
    pub files: Vec<FatFile>,
}

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FatFile {
    /// Its path; parts are separated by `/`.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
    /// Where its bytes lie in the volume, in order; `length` bytes together.
    pub extents: Vec<Range<u64>>,
}

impl Listing {
    /// Reads the volume that begins at byte `start` of `disk`.
    ///
    /// Fails on what is not FAT32, on tables that differ from one another, and on chains that end early, run in a
    /// circle, leave the volume or share a cluster.
    pub fn read(disk: &mut (impl Read + Seek), start: u64) -> Result<Self> {
        let boot = read_at(disk, start, SECTOR as usize)?;
        ensure!(boot[510..] == [0x55, 0xaa], "there is no boot sector");
        let old = number(&boot, 17, 2) | number(&boot, 19, 2) | number(&boot, 22, 2);
        ensure!(old == 0 && number(&boot, 11, 2) == SECTOR, "it is not FAT32 in sectors of {SECTOR} bytes");
        let (reserved, tables) = (number(&boot, 14, 2), number(&boot, 16, 1));
        let (sectors_per_cluster, sectors, table) = (number(&boot, 13, 1), number(&boot, 32, 4), number(&boot, 36, 4));
        let data = reserved + tables * table;
        let possible = sectors_per_cluster.is_power_of_two() && reserved > 0 && (1..=2).contains(&tables);
        ensure!(possible && data < sectors, "the boot sector's numbers do not fit each other");
        let clusters = (sectors - data) / sectors_per_cluster;
        ensure!(table * SECTOR <= LARGEST_TABLE, "a table of {table} sectors is larger than what is read here");
        ensure!((clusters + 2) * 4 <= table * SECTOR, "the table does not hold all {clusters} clusters");

        let read_table = |disk: &mut _, number: u64| {
            let bytes = read_at(disk, start + (reserved + number * table) * SECTOR, (clusters as usize + 2) * 4)?;
            anyhow::Ok(bytes.chunks_exact(4).map(|entry| self::number(entry, 0, 4) as u32 & 0x0fff_ffff).collect())
        };
        let next: Vec<u32> = read_table(disk, 0)?;
        ensure!(tables == 1 || next == read_table(disk, 1)?, "the two file allocation tables differ");
        let cluster = sectors_per_cluster * SECTOR;
        let mut volume =
            Volume { disk, start, data: data * SECTOR, cluster, next, used: BTreeSet::new(), files: vec![] };
        volume.directory(number(&boot, 44, 4) as u32, "", 0)?;
        let mut files = volume.files;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let label = String::from_utf8_lossy(&boot[71..82]).trim_end().to_owned();
        Ok(Self { size: sectors * SECTOR, label, volume_id: number(&boot, 67, 4) as u32, files })
    }
}

/// A volume that is being read.
struct Volume<'a, D> {
    disk: &'a mut D,
    start: u64,
    /// Where cluster 2 begins in the volume.
    data: u64,
    /// Bytes in a cluster.
    cluster: u64,
    /// The file allocation table.
    next: Vec<u32>,
    /// Clusters that belong to somebody.
    used: BTreeSet<u32>,
    files: Vec<FatFile>,
}

impl<D: Read + Seek> Volume<'_, D> {
    /// Reads the directory that begins in cluster `first`; `path` is empty or ends with `/`.
    fn directory(&mut self, first: u32, path: &str, depth: usize) -> Result<()> {
        ensure!(depth <= DEEPEST, "{path:?} lies deeper than {DEEPEST} directories");
        let extents = self.chain(first, None).with_context(|| format!("directory {path:?}"))?;
        let mut bytes = Vec::new();
        for extent in extents {
            let length = (extent.end - extent.start) as usize;
            ensure!(bytes.len() + length <= LARGEST_DIRECTORY + self.cluster as usize, "{path:?} is too large");
            bytes.extend(read_at(self.disk, self.start + extent.start, length)?);
        }
        let mut long: Vec<&[u8]> = Vec::new();
        for entry in bytes.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0) {
            let kind = entry[11];
            if entry[0] == 0xe5 {
                long.clear();
                continue;
            }
            if kind & 0x3f == LONG_NAME {
                long.push(entry);
                continue;
            }
            let parts = std::mem::take(&mut long);
            if kind & VOLUME_ID != 0 || entry.starts_with(b".          ") || entry.starts_with(b"..         ") {
                continue;
            }
            let name = long_name(&parts, entry).unwrap_or_else(|| short_name(entry));
            let path = format!("{path}{name}");
            name::check(&name).with_context(|| format!("{path:?}"))?;
            let first = (number(entry, 20, 2) << 16 | number(entry, 26, 2)) as u32;
            if kind & DIRECTORY != 0 {
                self.directory(first, &format!("{path}/"), depth + 1)?;
            } else {
                let length = number(entry, 28, 4);
                let extents = self.chain(first, Some(length)).with_context(|| format!("file {path:?}"))?;
                self.files.push(FatFile { path, length, extents });
            }
        }
        Ok(())
    }

    /// The bytes of the chain that begins with cluster `first`, cut to `length`; neighbours are joined.
    fn chain(&mut self, first: u32, length: Option<u64>) -> Result<Vec<Range<u64>>> {
        let mut extents: Vec<Range<u64>> = Vec::new();
        let mut left = length.unwrap_or(u64::MAX);
        let mut cluster = first;
        // An empty file has no cluster, and says 0.
        while left > 0 && !(length.is_none() && cluster > NO_CLUSTER) {
            let inside = (2..self.next.len() as u64).contains(&u64::from(cluster));
            ensure!(inside, "its chain of clusters goes to {cluster}, which the volume has not got");
            ensure!(self.used.insert(cluster), "cluster {cluster} belongs to it twice, or to another one as well");
            let at = self.data + u64::from(cluster - 2) * self.cluster;
            let taken = left.min(self.cluster);
            match extents.last_mut() {
                Some(last) if last.end == at => last.end += taken,
                _ => extents.push(at..at + taken),
            }
            left -= taken;
            cluster = self.next[cluster as usize];
        }
        if length.is_some() && !extents.is_empty() && cluster <= NO_CLUSTER {
            bail!("its chain of clusters goes on behind its end");
        }
        Ok(extents)
    }
}

/// The name in the long-name entries `parts`, if they are whole and belong to the short name of `entry`.
fn long_name(parts: &[&[u8]], entry: &[u8]) -> Option<String> {
    let sum = name::checksum(entry.first_chunk()?);
    let mut units = Vec::new();
    for (number, part) in (1u8..).zip(parts.iter().rev()) {
        let last = usize::from(number) == parts.len();
        if part[13] != sum || part[0] != number | if last { 0x40 } else { 0 } {
            return None;
        }
        units.extend(PLACES.map(|at| u16::from_le_bytes([part[at], part[at + 1]])));
    }
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    if end == 0 { None } else { String::from_utf16(&units[..end]).ok() }
}

/// The short name of an entry. Windows and Linux note in byte 12 that base or extension are meant in lower case.
fn short_name(entry: &[u8]) -> String {
    let part = |bytes: &[u8], lower: bool| {
        let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
        if lower { text.to_lowercase() } else { text }
    };
    let base = part(&entry[..8], entry[12] & 0x08 != 0);
    let extension = part(&entry[8..11], entry[12] & 0x10 != 0);
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

fn read_at(disk: &mut (impl Read + Seek), at: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = disk.seek(SeekFrom::Start(at)).and_then(|_| disk.read_exact(&mut bytes));
    read.with_context(|| format!("failed to read {length} bytes at {at}"))?;
    Ok(bytes)
}

/// The little-endian number of `length` bytes at `at`.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::formats::fat::{FatContent, FatTree, FatVolume};

    const START: u64 = 1 << 20;
    const SIZE: u64 = 34 << 20;

    fn volume() -> Vec<u8> {
        let mut tree = FatTree::new();
        for (path, content) in
            [("EFI/BOOT/BOOTX64.EFI", vec![1; 3000]), ("grub/long name.cfg", vec![2; 10]), ("E", vec![])]
        {
            tree.add_file(path, FatContent::Bytes(content)).unwrap();
        }
        let mut out = Cursor::new(vec![0; (START + SIZE) as usize]);
        out.set_position(START);
        let volume = FatVolume { size: SIZE, label: "ESP", volume_id: 0x1234_abcd, hidden_sectors: 2048, epoch: 0 };
        tree.write(&mut out, &volume).unwrap();
        out.into_inner()
    }

    #[test]
    fn reads_what_it_wrote() {
        let disk = volume();
        let listing = Listing::read(&mut Cursor::new(&disk), START).unwrap();
        assert_eq!((listing.size, listing.label.as_str(), listing.volume_id), (SIZE, "ESP", 0x1234_abcd));
        let paths: Vec<_> = listing.files.iter().map(|file| (file.path.as_str(), file.length)).collect();
        assert_eq!(paths, [("E", 0), ("EFI/BOOT/BOOTX64.EFI", 3000), ("grub/long name.cfg", 10)]);
        assert!(listing.files[0].extents.is_empty());
        let [extent] = &listing.files[1].extents[..] else { panic!("{listing:?}") };
        assert!(disk[(START + extent.start) as usize..(START + extent.end) as usize] == [1; 3000]);
    }

    #[test]
    fn what_is_no_sound_volume_is_refused_by_reason() {
        let disk = volume();
        let start = START as usize;
        let said = |at: usize, bytes: &[u8]| {
            let mut disk = disk.clone();
            disk[start + at..start + at + bytes.len()].copy_from_slice(bytes);
            format!("{:#}", Listing::read(&mut Cursor::new(disk), START).unwrap_err())
        };
        let table = 32 * 512;
        let second = table + number(&disk, start + 36, 4) as usize * 512;
        // The loader's file is the last but one of the clusters in use; the root directory is cluster 2.
        let both = |entry: usize, bytes: [u8; 4]| {
            let mut disk = disk.clone();
            for table in [table, second] {
                disk[start + table + entry * 4..][..4].copy_from_slice(&bytes);
            }
            format!("{:#}", Listing::read(&mut Cursor::new(disk), START).unwrap_err())
        };
        assert_eq!(said(510, &[0]), "there is no boot sector");
        assert!(said(22, &[9]).contains("not FAT32"));
        assert!(said(13, &[3]).contains("do not fit"));
        assert!(said(32, &[255; 4]).contains("does not hold all"));
        assert_eq!(said(table + 9, &[1]), "the two file allocation tables differ");
        assert_eq!(both(2, [2, 0, 0, 0]), "directory \"\": cluster 2 belongs to it twice, or to another one as well");
        assert!(both(2, [0; 4]).contains("goes to 0, which the volume has not got"));
        let loader = Listing::read(&mut Cursor::new(&disk), START).unwrap().files[1].extents[0].start;
        let data = number(&disk, start + 14, 2) * 512 + 2 * number(&disk, start + 36, 4) * 512;
        let first = 2 + ((loader - data) / 512) as usize;
        assert!(
            both(first, [0xff, 0xff, 0xff, 0x0f]).contains("EFI/BOOT/BOOTX64.EFI\": its chain of clusters goes to")
        );
        assert!(both(first + 5, [2, 0, 0, 0]).contains("goes on behind its end"));
    }
}
