//! Growth planned, carried out, and cut off at every write.

use super::*;
use crate::gpt::tests::{SECTOR, disk, read};

const LARGER: usize = 300 * SECTOR as usize;

/// A disk of which partition 3 is the last, enlarged.
fn enlarged() -> Vec<u8> {
    let mut disk = disk(|_| ());
    disk[RECORD_TYPE] = PROTECTIVE;
    disk.resize(LARGER, 0);
    disk
}

fn plan_for(disk: &[u8], number: u32) -> Option<Growth> {
    plan(&read(disk).unwrap(), number, disk.len() as u64 / SECTOR, SECTOR, &disk[..512])
}

fn put(disk: &mut [u8], write: &Write, length: usize) {
    disk[write.at as usize..][..length].copy_from_slice(&write.bytes[..length]);
}

fn grown() -> Vec<u8> {
    let mut disk = enlarged();
    plan_for(&disk, 3).unwrap().writes.iter().for_each(|write| put(&mut disk, write, write.bytes.len()));
    disk
}

#[test]
fn the_last_partition_takes_what_the_disk_has() {
    let growth = plan_for(&enlarged(), 3).unwrap();
    // 300 sectors: the backup takes two, and the end is on a multiple of eight.
    assert_eq!(growth.length, (296 - 20) * SECTOR);
    let mut disk = grown();
    let table = read(&disk).unwrap();
    assert_eq!((table.at, table.partitions[1].first, table.partitions[1].last), (1, 20, 295));
    assert_eq!(table.partitions[0].last, 14, "the others stay");
    assert_eq!(&disk[RECORD_LENGTH..RECORD_LENGTH + 4], &299_u32.to_le_bytes());
    assert_eq!(plan_for(&disk, 3), None, "there is nothing left to do");
    // The backup is as good.
    disk[512] = 0;
    let backup = read(&disk).unwrap();
    assert_eq!((backup.at, &backup.partitions), (299, &table.partitions));
}

#[test]
fn a_plug_that_is_pulled_at_any_write_leaves_a_table_and_the_next_boot_goes_on() {
    let writes = plan_for(&enlarged(), 3).unwrap().writes;
    assert_eq!(writes.len(), 5);
    for cut in 0..writes.len() {
        for torn in [0, 1, 256, 511] {
            let mut disk = enlarged();
            writes[..cut].iter().for_each(|write| put(&mut disk, write, write.bytes.len()));
            put(&mut disk, &writes[cut], torn);
            let table = read(&disk).unwrap_or_else(|fault| panic!("write {cut}, {torn} bytes: {fault}"));
            assert_eq!(table.partitions[1].first, 20);
            let again = plan_for(&disk, 3).map(|growth| growth.writes).unwrap_or_default();
            again.iter().for_each(|write| put(&mut disk, write, write.bytes.len()));
            let table = read(&disk).unwrap();
            assert_eq!((table.at, table.partitions[1].last), (1, 295), "write {cut}, {torn} bytes");
        }
    }
}

#[test]
fn what_is_not_last_stays_and_nothing_becomes_smaller() {
    assert_eq!(plan_for(&enlarged(), 1), None, "another one lies behind it");
    assert_eq!(plan_for(&enlarged(), 9), None);
    // As large as it can be: 100 sectors, of which the last whole block ends at 96.
    let growth = plan_for(&disk(|_| ()), 3).unwrap();
    assert_eq!(growth.length, (96 - 20) * SECTOR);
    // A disk that became smaller.
    let mut cut = grown();
    cut.truncate(200 * SECTOR as usize);
    assert_eq!(plan_for(&cut, 3), None);
}
