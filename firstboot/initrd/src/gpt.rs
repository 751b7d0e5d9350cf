//! A disk's GUID partition table, read and checked: the primary one, as the kernel makes partitions of it.
//!
//! Format: UEFI specification 2.10, section 5.3. An enlarged disk's backup table is not at its end, so the backup says
//! nothing here.

use uuid::Uuid;

/// The least a header has, in bytes.
const HEADER: usize = 92;
/// The least an entry has, in bytes.
const ENTRY: usize = 128;
/// As many bytes of entries as the kernel reads at most (`block/partitions/efi.c` has no such bound; 128 entries take
/// 16 KiB, so this is generous).
const MOST_ENTRIES: usize = 1 << 20;

/// One partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1: the kernel's.
    pub number: u32,
    /// Its type.
    pub kind: Uuid,
    /// Its own GUID.
    pub guid: Uuid,
}

/// Why a disk has no table to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Another table, or none.
    NoTable,
    /// The header's sum or its own place is not what the header says.
    Header,
    /// The entries' sum is not what the header says, or they are not all there.
    Entries,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoTable => "no GUID partition table",
            Self::Header => "a partition table whose header is damaged",
            Self::Entries => "a partition table whose entries are damaged",
        })
    }
}

/// Where the entries lie, and what they must add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Their first byte on the disk.
    pub offset: u64,
    /// Their length in bytes.
    pub length: usize,
    entry: usize,
    sum: u32,
}

impl Header {
    /// Reads the header, which is sector 1 of a disk with sectors of `sector` bytes.
    pub fn parse(bytes: &[u8], sector: u64) -> Result<Self, Fault> {
        if bytes.get(..8) != Some(b"EFI PART".as_slice()) {
            return Err(Fault::NoTable);
        }
        let u32_at = |at| u32_at(bytes, at).ok_or(Fault::Header);
        let u64_at = |at| u64_at(bytes, at).ok_or(Fault::Header);
        let length = u32_at(12)? as usize;
        let header = bytes.get(..length).filter(|header| header.len() >= HEADER).ok_or(Fault::Header)?;
        // The sum was made while its own field was zero.
        let mut without = header.to_vec();
        without[16..20].fill(0);
        if crc32fast::hash(&without) != u32_at(16)? || u64_at(24)? != 1 {
            return Err(Fault::Header);
        }
        let (count, entry) = (u32_at(80)? as usize, u32_at(84)? as usize);
        let length = count.checked_mul(entry).filter(|length| entry >= ENTRY && *length <= MOST_ENTRIES);
        let offset = u64_at(72)?.checked_mul(sector);
        let (length, offset) = length.zip(offset).ok_or(Fault::Header)?;
        Ok(Self { offset, length, entry, sum: u32_at(88)? })
    }

    /// Reads the entries.
    pub fn partitions(&self, entries: &[u8]) -> Result<Vec<Partition>, Fault> {
        if crc32fast::hash(entries) != self.sum {
            return Err(Fault::Entries);
        }
        let partition = |(number, entry): (u32, &[u8])| {
            let guid = |at: usize| Uuid::from_slice_le(entry.get(at..at + 16)?).ok();
            let (kind, guid) = (guid(0)?, guid(16)?);
            // A type of zero marks an unused entry.
            (!kind.is_nil()).then_some(Partition { number, kind, guid })
        };
        Ok((1..).zip(entries.chunks_exact(self.entry)).filter_map(partition).collect())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<u8> {
        let mut entries = vec![0; 4 * ENTRY];
        for (at, number) in [(0, 1_u128), (2, 2)] {
            entries[at * ENTRY..][..16].copy_from_slice(&Uuid::from_u128(number << 100).to_bytes_le());
            entries[at * ENTRY + 16..][..16].copy_from_slice(&Uuid::from_u128(number).to_bytes_le());
        }
        entries
    }

    fn header(change: impl Fn(&mut [u8])) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[24..32].copy_from_slice(&1_u64.to_le_bytes());
        header[72..80].copy_from_slice(&2_u64.to_le_bytes());
        header[80..84].copy_from_slice(&4_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32fast::hash(&entries()).to_le_bytes());
        change(&mut header);
        let sum = crc32fast::hash(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    }

    #[test]
    fn used_entries_are_read_with_their_numbers() {
        let header = Header::parse(&header(|_| ()), 4096).unwrap();
        assert_eq!((header.offset, header.length), (8192, 512));
        let partitions = header.partitions(&entries()).unwrap();
        let read: Vec<_> = partitions.iter().map(|p| (p.number, p.kind.as_u128() >> 100, p.guid.as_u128())).collect();
        assert_eq!(read, [(1, 1, 1), (3, 2, 2)]);
    }

    #[test]
    fn what_is_damaged_or_short_is_told_from_what_is_no_table() {
        assert_eq!(Header::parse(&[0; 512], 512), Err(Fault::NoTable));
        assert_eq!(Header::parse(b"EFI PA", 512), Err(Fault::NoTable));
        for length in [8, 20, 91] {
            assert_eq!(Header::parse(&header(|_| ())[..length], 512), Err(Fault::Header), "{length}");
        }
        let mut flipped = header(|_| ());
        flipped[40] ^= 1;
        assert_eq!(Header::parse(&flipped, 512), Err(Fault::Header));
        let changes: [fn(&mut [u8]); 5] = [
            |h| h[24] = 2,            // lies elsewhere
            |h| h[84] = 127,          // entries too short
            |h| h[83] = 0xff,         // too many entries
            |h| h[72..80].fill(0xff), // entries beyond any disk
            |h| h[12..16].copy_from_slice(&[91, 0, 0, 0]),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert_eq!(Header::parse(&header(change), 512), Err(Fault::Header), "change {number}");
        }
        let read = Header::parse(&header(|_| ()), 512).unwrap();
        let mut flipped = entries();
        flipped[20] ^= 1;
        assert_eq!(read.partitions(&flipped), Err(Fault::Entries));
        assert_eq!(read.partitions(&entries()[..511]), Err(Fault::Entries));
    }
}
