//! A disk's GUID partition table, read and checked: the primary one, or the backup at the disk's end if the other is damaged.
//!
//! Format: UEFI specification 2.10, section 5.3. The backup of a disk that was enlarged is not at its end; then the primary counts
//! alone. The kernel does likewise, with `gpt` on its command line (`block/partitions/efi.c`).

use std::io::Error;

use uuid::Uuid;

/// The least a header has, in bytes.
const HEADER: usize = 92;
/// The least an entry has, in bytes.
const ENTRY: usize = 128;
/// As many bytes of entries as the kernel reads at most (`block/partitions/efi.c` has no such bound; 128 entries take
/// 16 KiB, so this is generous).
const MOST_ENTRIES: usize = 1 << 20;
/// Where the primary header lies, in sectors.
pub const PRIMARY: u64 = 1;

/// One partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1: the kernel's.
    pub number: u32,
    /// Its type.
    pub kind: Uuid,
    /// Its own GUID.
    pub guid: Uuid,
    /// Its first sector.
    pub first: u64,
    /// Its last sector.
    pub last: u64,
}

/// Why a disk has no table to read.
#[derive(Debug)]
pub enum Fault {
    /// Another table, or none.
    NoTable,
    /// The header's sum or its own place is not what the header says.
    Header,
    /// The entries' sum is not what the header says, or they are not all there.
    Entries,
    /// The disk does not let itself be read.
    Unreadable(Error),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoTable => f.write_str("no GUID partition table"),
            Self::Header => f.write_str("a partition table whose header is damaged"),
            Self::Entries => f.write_str("a partition table whose entries are damaged"),
            Self::Unreadable(error) => write!(f, "a disk that cannot be read ({error})"),
        }
    }
}

/// A table whose sums are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The sector that the header was read from.
    pub at: u64,
    /// The header, as long as it says that it is.
    pub header: Vec<u8>,
    /// The entries.
    pub entries: Vec<u8>,
    /// The length of one of them, in bytes.
    pub entry: usize,
    /// Those that are used.
    pub partitions: Vec<Partition>,
}

impl Table {
    /// Reads the table of a disk with `sectors` sectors of `sector` bytes each; `read` gives bytes at an offset of it.
    pub fn read(
        sectors: u64,
        sector: u64,
        mut read: impl FnMut(u64, usize) -> Result<Vec<u8>, Error>,
    ) -> Result<Self, Fault> {
        let mut at = |at: u64| {
            let bytes = read(at * sector, HEADER.max(512)).map_err(Fault::Unreadable)?;
            let header = Header::parse(&bytes, sector, at)?;
            let entries = read(header.offset, header.length).map_err(Fault::Unreadable)?;
            header.table(at, bytes, entries)
        };
        at(PRIMARY).or_else(|fault| match fault {
            // What cannot be read is not damaged: it may be another time.
            Fault::Unreadable(_) => Err(fault),
            fault => sectors.checked_sub(1).and_then(|last| at(last).ok()).ok_or(fault),
        })
    }
}

/// Where the entries lie, and what they must add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// The header's own length in bytes.
    own: usize,
    /// The entries' first byte on the disk.
    offset: u64,
    /// Their length in bytes.
    length: usize,
    entry: usize,
    sum: u32,
}

impl Header {
    /// Reads the header in sector `at` of a disk with sectors of `sector` bytes.
    fn parse(bytes: &[u8], sector: u64, at: u64) -> Result<Self, Fault> {
        if bytes.get(..8) != Some(b"EFI PART".as_slice()) {
            return Err(Fault::NoTable);
        }
        let u32_at = |at| u32_at(bytes, at).ok_or(Fault::Header);
        let u64_at = |at| u64_at(bytes, at).ok_or(Fault::Header);
        let own = u32_at(12)? as usize;
        let header = bytes.get(..own).filter(|header| header.len() >= HEADER).ok_or(Fault::Header)?;
        if header_sum(header) != u32_at(16)? || u64_at(24)? != at {
            return Err(Fault::Header);
        }
        let (count, entry) = (u32_at(80)? as usize, u32_at(84)? as usize);
        let length = count.checked_mul(entry).filter(|length| entry >= ENTRY && *length <= MOST_ENTRIES);
        let offset = u64_at(72)?.checked_mul(sector);
        let (length, offset) = length.zip(offset).ok_or(Fault::Header)?;
        Ok(Self { own, offset, length, entry, sum: u32_at(88)? })
    }

    /// Reads the entries.
    fn table(&self, at: u64, mut header: Vec<u8>, entries: Vec<u8>) -> Result<Table, Fault> {
        if entries.len() != self.length || crc32fast::hash(&entries) != self.sum {
            return Err(Fault::Entries);
        }
        header.truncate(self.own);
        let partition = |(number, entry): (u32, &[u8])| {
            let guid = |at: usize| Uuid::from_slice_le(entry.get(at..at + 16)?).ok();
            let (kind, guid) = (guid(0)?, guid(16)?);
            let (first, last) = (u64_at(entry, 32)?, u64_at(entry, 40)?);
            // A type of zero marks an unused entry.
            (!kind.is_nil()).then_some(Partition { number, kind, guid, first, last })
        };
        let partitions = (1..).zip(entries.chunks_exact(self.entry)).filter_map(partition).collect();
        Ok(Table { at, header, entries, entry: self.entry, partitions })
    }
}

/// The sum of a header, which is made while its own field is zero.
pub fn header_sum(header: &[u8]) -> u32 {
    let mut without = header.to_vec();
    if let Some(field) = without.get_mut(16..20) {
        field.fill(0);
    }
    crc32fast::hash(&without)
}

/// The number of 32 bits at `at`.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The number of 64 bits at `at`.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
#[path = "gpt_tests.rs"]
pub(crate) mod tests;
