//! Tables of a small disk, whole and damaged.

use super::*;

pub(crate) const SECTOR: u64 = 512;
const SECTORS: u64 = 100;

fn entries() -> Vec<u8> {
    let mut entries = vec![0; 4 * ENTRY];
    for (at, number) in [(0_usize, 1_u8), (2, 2)] {
        let entry = &mut entries[at * ENTRY..][..ENTRY];
        entry[..16].copy_from_slice(&Uuid::from_u128(u128::from(number) << 100).to_bytes_le());
        entry[16..32].copy_from_slice(&Uuid::from_u128(number.into()).to_bytes_le());
        entry[32] = 10 * number;
        entry[40] = 10 * number + 4;
    }
    entries
}

/// A disk with the primary table in sectors 1 and 2, and its backup in the last two.
pub(crate) fn disk(change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut disk = vec![0; (SECTORS * SECTOR) as usize];
    for (at, entries_at) in [(1, 2), (SECTORS - 1, SECTORS - 2)] {
        let mut header = vec![0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[24..32].copy_from_slice(&at.to_le_bytes());
        header[72..80].copy_from_slice(&entries_at.to_le_bytes());
        header[80..84].copy_from_slice(&4_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32fast::hash(&entries()).to_le_bytes());
        change(&mut header);
        let sum = header_sum(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        disk[(at * SECTOR) as usize..][..512].copy_from_slice(&header);
        disk[(entries_at * SECTOR) as usize..][..512].copy_from_slice(&entries());
    }
    disk
}

pub(crate) fn read(disk: &[u8]) -> Result<Table, Fault> {
    Table::read(disk.len() as u64 / SECTOR, SECTOR, |offset, length| {
        let short = || Error::from(std::io::ErrorKind::UnexpectedEof);
        usize::try_from(offset)
            .ok()
            .and_then(|offset| disk.get(offset..offset.checked_add(length)?))
            .map(<[u8]>::to_vec)
            .ok_or_else(short)
    })
}

#[test]
fn used_entries_are_read_with_their_numbers_and_places() {
    let table = read(&disk(|_| ())).unwrap();
    let of = |p: &Partition| (p.number, p.kind.as_u128() >> 100, p.guid.as_u128(), p.first, p.last);
    let read: Vec<_> = table.partitions.iter().map(of).collect();
    assert_eq!(read, [(1, 1, 1, 10, 14), (3, 2, 2, 20, 24)]);
    assert_eq!((table.at, table.header.len(), table.entries.len()), (1, 92, 512));
}

#[test]
fn the_backup_at_the_end_counts_if_the_primary_is_damaged() {
    for damaged in [512, 512 + 40, 1024 + 20] {
        let mut disk = disk(|_| ());
        disk[damaged] ^= 1;
        let table = read(&disk).unwrap();
        assert_eq!((table.at, table.partitions.len()), (SECTORS - 1, 2), "{damaged}");
        // One of a disk that was enlarged is no longer at the end.
        disk.resize(disk.len() + 512, 0);
        assert!(read(&disk).is_err(), "{damaged}");
    }
}

#[test]
fn what_is_damaged_or_short_is_told_from_what_is_no_table() {
    assert!(matches!(read(&[0; 4096]), Err(Fault::NoTable)));
    assert!(matches!(read(&[0; 600]), Err(Fault::Unreadable(_))));
    let changes: [fn(&mut [u8]); 5] = [
        |h| h[24] = 2,            // lies elsewhere
        |h| h[84] = 127,          // entries too short
        |h| h[83] = 0xff,         // too many entries
        |h| h[72..80].fill(0xff), // entries beyond any disk
        |h| h[12..16].copy_from_slice(&[91, 0, 0, 0]),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(matches!(read(&disk(change)), Err(Fault::Header)), "change {number}");
    }
    assert!(matches!(read(&disk(|h| h[88] ^= 1)), Err(Fault::Entries)));
}
