//! Reads a table back: both headers and both lists of entries, each against its checksum and against the other.

use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context as _, Result, bail, ensure};
use uuid::Uuid;

use super::{ENTRIES, ENTRY, ENTRY_SECTORS, HEADER, Partition, SECTOR, Table, crc32};

impl Table {
    /// Reads the table of a disk of `size` bytes. A damaged copy is an error even if the other one is sound.
    pub fn read(disk: &mut (impl Read + Seek), size: u64) -> Result<Self> {
        ensure!(
            size.is_multiple_of(SECTOR) && size / SECTOR > 2 * ENTRY_SECTORS + 3,
            "a disk of {size} bytes holds no partition table"
        );
        let last = size / SECTOR - 1;
        let primary = read_copy(disk, 1, last).context("the partition table at the disk's start")?;
        let backup = read_copy(disk, last, 1).context("the partition table at the disk's end")?;
        ensure!(primary == backup, "the partition tables at the disk's start and end differ");
        Ok(primary)
    }
}

/// Reads the header in the sector `own`, which must name the sector `other` of its copy, and its entries.
fn read_copy(disk: &mut (impl Read + Seek), own: u64, other: u64) -> Result<Table> {
    let mut header = read_at(disk, own, SECTOR as usize)?;
    ensure!(header.starts_with(b"EFI PART"), "there is no header in sector {own}");
    ensure!(number(&header, 12, 4) == HEADER as u64, "the header's length is not {HEADER} bytes");
    let sum = number(&header, 16, 4);
    header[16..20].fill(0);
    ensure!(sum == u64::from(crc32(&header[..HEADER])), "the header's checksum is wrong");
    let places = (number(&header, 24, 8), number(&header, 32, 8));
    ensure!(places == (own, other), "the header says that it and its copy lie in sectors {places:?}");
    let form = (number(&header, 80, 4), number(&header, 84, 4));
    // What habuild writes, and what nearly every other tool does.
    ensure!(form == (ENTRIES as u64, ENTRY as u64), "{} entries of {} bytes are not supported", form.0, form.1);
    let at = number(&header, 72, 8);
    let expected = if own == 1 { 2 } else { own - ENTRY_SECTORS };
    ensure!(at == expected, "the entries begin in sector {at}, not {expected}");

    let entries = read_at(disk, at, ENTRIES * ENTRY)?;
    ensure!(number(&header, 88, 4) == u64::from(crc32(&entries)), "the entries' checksum is wrong");
    let table = Table { disk: uuid(&header, 56), partitions: partitions(&entries)? };
    table.check(own.max(other) + 1)?;
    Ok(table)
}

fn partitions(entries: &[u8]) -> Result<Vec<Partition>> {
    let mut partitions = Vec::new();
    let mut ended = false;
    for entry in entries.chunks_exact(ENTRY) {
        let kind = uuid(entry, 0);
        if kind.is_nil() {
            ended = true;
            continue;
        }
        ensure!(!ended, "an unused entry lies between used ones");
        let (first_lba, last_lba) = (number(entry, 32, 8), number(entry, 40, 8));
        let Some(sectors) = last_lba.checked_sub(first_lba).and_then(|more| more.checked_add(1)) else {
            bail!("a partition ends in sector {last_lba} before it begins in {first_lba}");
        };
        let units: Vec<u16> = entry[56..].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
        let name = String::from_utf16(units.split(|unit| *unit == 0).next().unwrap_or_default());
        let name = name.context("a partition's name is not UTF-16")?;
        partitions.push(Partition {
            kind,
            guid: uuid(entry, 16),
            name,
            first_lba,
            sectors,
            attributes: number(entry, 48, 8),
        });
    }
    Ok(partitions)
}

fn read_at(disk: &mut (impl Read + Seek), lba: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = disk.seek(SeekFrom::Start(lba * SECTOR)).and_then(|_| disk.read_exact(&mut bytes));
    read.with_context(|| format!("failed to read sector {lba}"))?;
    Ok(bytes)
}

/// The little-endian number of `length` bytes at `at`.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn uuid(bytes: &[u8], at: usize) -> Uuid {
    let mut stored = [0; 16];
    stored.copy_from_slice(&bytes[at..at + 16]);
    Uuid::from_bytes_le(stored)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn disk() -> (Table, Vec<u8>) {
        let partition = |name: &str, first_lba| Partition {
            kind: Uuid::from_u128(1),
            guid: Uuid::from_u128(u128::from(first_lba)),
            name: name.into(),
            first_lba,
            sectors: 100,
            attributes: 1 << 60,
        };
        let partitions = vec![partition("root", 40), partition("thirty-six UTF-16 units: éééééééééé", 200)];
        let table = Table { disk: Uuid::from_u128(7), partitions };
        let mut out = Cursor::new(Vec::new());
        table.write(&mut out, 1 << 20, &[]).unwrap();
        (table, out.into_inner())
    }

    #[test]
    fn reads_what_it_wrote() {
        let (table, bytes) = disk();
        assert_eq!(Table::read(&mut Cursor::new(bytes), 1 << 20).unwrap(), table);
    }

    #[test]
    fn any_changed_byte_of_either_copy_is_seen() {
        let (_, bytes) = disk();
        let (primary, backup) = (512..512 + HEADER, bytes.len() - 512..bytes.len() - 512 + HEADER);
        let entries = [1024..1024 + 256, bytes.len() - 33 * 512..bytes.len() - 33 * 512 + 256];
        for at in entries.into_iter().chain([primary, backup]).flatten() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let error = Table::read(&mut Cursor::new(damaged), 1 << 20).unwrap_err();
            assert!(error.to_string().contains("partition table at the disk's"), "{at}: {error:#}");
        }
        assert!(Table::read(&mut Cursor::new(vec![0; 4096]), 4096).is_err());
    }
}
