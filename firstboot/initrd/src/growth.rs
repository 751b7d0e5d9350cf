//! What has to be written so that a disk's last partition takes all that the disk has: a new backup table at the disk's end
//! first, then the primary one. Whenever the plug is pulled in between, one of them is whole, and the next boot goes on.

use crate::gpt::{PRIMARY, Table, header_sum, u64_at};

/// A partition's end lies on a multiple of this, so that its file system has whole blocks.
const BLOCK: u64 = 4096;
/// Where the one entry of the protective record lies in sector 0, and its fields (UEFI specification 2.10, section 5.2.3).
const RECORD: usize = 446;
const RECORD_TYPE: usize = RECORD + 4;
const RECORD_LENGTH: usize = RECORD + 12;
const PROTECTIVE: u8 = 0xee;

/// Bytes for the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Their offset.
    pub at: u64,
    /// What they are.
    pub bytes: Vec<u8>,
}

/// A partition that becomes larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// What is written, one after the other, each flushed before the next.
    pub writes: Vec<Write>,
    /// The partition's length in bytes when it is done.
    pub length: u64,
}

/// Plans the growth of partition `number` on a disk with `sectors` sectors of `sector` bytes; `first` is sector 0. Nothing if it
/// is as large as it can be and both tables are where they belong.
#[must_use]
pub fn plan(table: &Table, number: u32, sectors: u64, sector: u64, first: &[u8]) -> Option<Growth> {
    let wanted = table.partitions.iter().find(|partition| partition.number == number)?;
    if table.partitions.iter().any(|partition| partition.first > wanted.first) {
        // Somebody made one more, behind it.
        return None;
    }
    let last = sectors.checked_sub(1)?;
    let entries_sectors = (table.entries.len() as u64).div_ceil(sector);
    let backup_entries = last.checked_sub(entries_sectors)?;
    let unit = (BLOCK / sector).max(1);
    let end = backup_entries / unit * unit;
    let grown = end.checked_sub(1)?.max(wanted.last);
    if grown >= backup_entries {
        return None;
    }
    if table.at == PRIMARY && u64_at(&table.header, 32)? == last && grown == wanted.last {
        return None;
    }
    let mut entries = table.entries.clone();
    let place = table.entry * (number as usize - 1) + 40;
    entries.get_mut(place..place + 8)?.copy_from_slice(&grown.to_le_bytes());
    let header = |at: u64, other: u64, entries_at: u64| {
        let mut header = table.header.clone();
        for (field, value) in [(24, at), (32, other), (48, backup_entries - 1), (72, entries_at)] {
            header.get_mut(field..field + 8)?.copy_from_slice(&value.to_le_bytes());
        }
        header.get_mut(88..92)?.copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
        let sum = header_sum(&header);
        header.get_mut(16..20)?.copy_from_slice(&sum.to_le_bytes());
        // What follows it in its sector is zero.
        header.resize(sector as usize, 0);
        Some(header)
    };
    let primary_entries = if table.at == PRIMARY { u64_at(&table.header, 72)? } else { PRIMARY + 1 };
    let mut writes = vec![
        Write { at: backup_entries * sector, bytes: entries.clone() },
        Write { at: last * sector, bytes: header(last, PRIMARY, backup_entries)? },
        Write { at: primary_entries * sector, bytes: entries.clone() },
        Write { at: PRIMARY * sector, bytes: header(PRIMARY, last, primary_entries)? },
    ];
    writes.extend(protective(first, last));
    Some(Growth { writes, length: (grown + 1 - wanted.first) * sector })
}

/// Sector 0 with a protective record as long as the disk, if there is one.
fn protective(first: &[u8], last: u64) -> Option<Write> {
    let length = u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = first.to_vec();
    if *bytes.get(RECORD_TYPE)? != PROTECTIVE || bytes.get(RECORD_LENGTH..RECORD_LENGTH + 4)? == length {
        return None;
    }
    bytes.get_mut(RECORD_LENGTH..RECORD_LENGTH + 4)?.copy_from_slice(&length);
    Some(Write { at: 0, bytes })
}

#[cfg(test)]
#[path = "growth_tests.rs"]
mod tests;
