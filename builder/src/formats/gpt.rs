//! The GUID partition table: protective MBR, and the primary and backup header with their entries.
//!
//! Here a GUID is a [`Uuid`]; on the disk its first three groups are little-endian (UEFI 2.10, appendix A).
//!
//! Invariant: what is written depends on nothing but the arguments. Format: UEFI specification 2.10, section 5.

mod read;

use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom, Write};

use anyhow::{Context as _, Result, ensure};
use flate2::Crc;
use uuid::Uuid;

/// Bytes in a sector, the unit of every LBA here.
pub const SECTOR: u64 = 512;
/// Attribute bit: nothing may write to it (Discoverable Partitions Specification).
pub const READ_ONLY: u64 = 1 << 60;
/// The most boot code an MBR holds, in bytes.
pub const BOOT_CODE: usize = 440;

/// Bytes of a header.
const HEADER: usize = 92;
const ENTRIES: usize = 128;
const ENTRY: usize = 128;
/// Sectors taken by the 128 entries.
const ENTRY_SECTORS: u64 = (ENTRIES * ENTRY) as u64 / SECTOR;
const FIRST_USABLE: u64 = 2 + ENTRY_SECTORS;
const NAME_UNITS: usize = 36;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its type.
    pub kind: Uuid,
    /// Its own GUID: the PARTUUID.
    pub guid: Uuid,
    /// Its name, at most 36 UTF-16 units: the PARTLABEL.
    pub name: String,
    /// Its first sector.
    pub first_lba: u64,
    /// Its length in sectors.
    pub sectors: u64,
    /// Attribute bits.
    pub attributes: u64,
}

/// A disk's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The GUID of the disk.
    pub disk: Uuid,
    /// The partitions; the first one is number 1.
    pub partitions: Vec<Partition>,
}

impl Table {
    /// Writes the table to both ends of a disk of `size` bytes, and `boot_code`, which may be empty, to its MBR.
    ///
    /// A disk that was enlarged is written again with its new size.
    pub fn write(&self, out: &mut (impl Write + Seek), size: u64, boot_code: &[u8]) -> Result<()> {
        ensure!(size.is_multiple_of(SECTOR), "a disk of {size} bytes is not a whole number of 512-byte sectors");
        ensure!(boot_code.len() <= BOOT_CODE, "{} bytes of boot code are more than an MBR holds", boot_code.len());
        let sectors = size / SECTOR;
        self.check(sectors)?;

        let entries = self.entries();
        let last = sectors - 1;
        let (first_entries, last_entries) = (2, last - ENTRY_SECTORS);
        let pieces: [(u64, &[u8]); 5] = [
            (0, &protective_mbr(sectors, boot_code)),
            (1, &self.header(&entries, sectors, 1, last, first_entries)),
            (first_entries, &entries),
            (last_entries, &entries),
            (last, &self.header(&entries, sectors, last, 1, last_entries)),
        ];
        for (lba, bytes) in pieces {
            let written = out.seek(SeekFrom::Start(lba * SECTOR)).and_then(|_| out.write_all(bytes));
            written.with_context(|| format!("failed to write the partition table at sector {lba}"))?;
        }
        Ok(())
    }

    fn check(&self, sectors: u64) -> Result<()> {
        ensure!(self.partitions.len() <= ENTRIES, "{} partitions are more than {ENTRIES}", self.partitions.len());
        let end_of_usable = sectors.saturating_sub(1 + ENTRY_SECTORS);
        ensure!(end_of_usable > FIRST_USABLE, "a disk of {sectors} sectors is too small for a partition table");
        let guids: BTreeSet<_> = self.partitions.iter().map(|partition| partition.guid).collect();
        ensure!(guids.len() == self.partitions.len(), "two partitions have the same GUID");
        let mut by_place: Vec<_> = self.partitions.iter().collect();
        by_place.sort_by_key(|partition| partition.first_lba);
        let mut free = FIRST_USABLE;
        for Partition { name, first_lba, sectors, kind, .. } in by_place {
            ensure!(name.encode_utf16().count() <= NAME_UNITS, "partition name {name:?} is longer than {NAME_UNITS}");
            // A type of zero marks an unused entry.
            ensure!(*sectors > 0 && !kind.is_nil(), "partition {name:?} has no sectors or no type");
            let end = first_lba.checked_add(*sectors).filter(|end| *first_lba >= free && *end <= end_of_usable);
            free = end.with_context(|| {
                format!("partition {name:?} at sector {first_lba} overlaps another one or lies outside the disk")
            })?;
        }
        Ok(())
    }

    fn entries(&self) -> Vec<u8> {
        let mut entries = Vec::with_capacity(ENTRIES * ENTRY);
        for partition in &self.partitions {
            entries.extend(partition.kind.to_bytes_le());
            entries.extend(partition.guid.to_bytes_le());
            for number in [partition.first_lba, partition.first_lba + partition.sectors - 1, partition.attributes] {
                entries.extend(number.to_le_bytes());
            }
            entries.extend(partition.name.encode_utf16().flat_map(u16::to_le_bytes));
            entries.resize(entries.len().next_multiple_of(ENTRY), 0);
        }
        entries.resize(ENTRIES * ENTRY, 0);
        entries
    }

    fn header(&self, entries: &[u8], sectors: u64, own: u64, other: u64, entries_lba: u64) -> [u8; SECTOR as usize] {
        let mut header = [0; SECTOR as usize];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"EFI PART");
        put(8, &0x0001_0000u32.to_le_bytes());
        put(12, &(HEADER as u32).to_le_bytes());
        put(24, &own.to_le_bytes());
        put(32, &other.to_le_bytes());
        put(40, &FIRST_USABLE.to_le_bytes());
        put(48, &(sectors - 2 - ENTRY_SECTORS).to_le_bytes());
        put(56, &self.disk.to_bytes_le());
        put(72, &entries_lba.to_le_bytes());
        put(80, &(ENTRIES as u32).to_le_bytes());
        put(84, &(ENTRY as u32).to_le_bytes());
        put(88, &crc32(entries).to_le_bytes());
        // The header's own sum is made while its field is zero.
        let sum = crc32(&header[..HEADER]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    }
}

/// An MBR with one partition that covers the disk, so that old tools leave it alone.
fn protective_mbr(sectors: u64, boot_code: &[u8]) -> [u8; SECTOR as usize] {
    let mut mbr = [0; SECTOR as usize];
    mbr[..boot_code.len()].copy_from_slice(boot_code);
    // Not active, from cylinder 0, head 0, sector 2 to "beyond what CHS can say".
    mbr[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
    mbr[454..458].copy_from_slice(&1u32.to_le_bytes());
    mbr[458..462].copy_from_slice(&u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn partition(name: &str, first_lba: u64, sectors: u64) -> Partition {
        let guid = Uuid::from_u128(u128::from(first_lba + 1));
        Partition { kind: Uuid::from_u128(1), guid, name: name.to_owned(), first_lba, sectors, attributes: 0 }
    }

    fn write(partitions: &[Partition], boot_code: &[u8]) -> Result<Vec<u8>> {
        let mut out = Cursor::new(Vec::new());
        Table { disk: Uuid::from_u128(7), partitions: partitions.to_vec() }.write(&mut out, 1 << 20, boot_code)?;
        Ok(out.into_inner())
    }

    #[test]
    fn both_ends_hold_the_same_entries_and_the_mbr_its_code() {
        let disk = write(&[partition("a", 34, 10), partition("b", 44, 1971)], &[0x90; BOOT_CODE]).unwrap();
        assert_eq!(disk.len(), 1 << 20);
        assert_eq!(disk[..BOOT_CODE], [0x90; BOOT_CODE]);
        assert_eq!(disk[1024..1024 + 16384], disk[(2048 - 33) * 512..(2048 - 1) * 512]);
        assert_eq!(disk[512..520], *b"EFI PART");
        assert_eq!(disk[2047 * 512..2047 * 512 + 8], *b"EFI PART");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let cases: [(&[Partition], usize); 7] = [
            (&[partition("before the first usable", 33, 1)], 0),
            (&[partition("beyond the last usable", 44, 1972)], 0),
            (&[partition("a", 40, 10), partition("overlap", 49, 10)], 0),
            (&[partition("empty", 40, 0)], 0),
            (&[partition("huge", 40, u64::MAX)], 0),
            (&[partition("a name of thirty-seven UTF-16 units..", 40, 1)], 0),
            (&[], BOOT_CODE + 1),
        ];
        for (partitions, boot_code) in cases {
            assert!(write(partitions, &vec![0; boot_code]).is_err(), "{partitions:?}");
        }
    }
}
