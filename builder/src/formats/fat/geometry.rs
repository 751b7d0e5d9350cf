//! Where the parts of a FAT32 volume lie, its boot sector and FSInfo, and time as FAT writes it.
//!
//! Field names and formulas from Microsoft's "FAT: General Overview of On-Disk Format" 1.03.

use anyhow::{Result, ensure};
use jiff::Timestamp;
use jiff::tz::Offset;

use super::FatVolume;

/// Bytes in a sector.
pub(super) const SECTOR: u64 = 512;
/// `BPB_RsvdSecCnt`: boot sector, FSInfo and their backups live in the first eight of these.
const RESERVED: u64 = 32;
/// Readers tell FAT32 by the number of clusters alone. The specification asks to stay 16 clusters clear of the limit,
/// since some readers are off by a few.
const FEWEST_CLUSTERS: u64 = 65_525 + 16;

/// Where the parts lie; lengths and positions in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) sectors: u64,
    pub(super) sectors_per_cluster: u64,
    /// The length of one of the two file allocation tables.
    pub(super) table: u64,
    pub(super) clusters: u64,
}

impl Geometry {
    /// The geometry of a volume of `size` bytes: the largest cluster up to 4 KiB that still makes it FAT32.
    pub(super) fn of(size: u64) -> Result<Self> {
        ensure!(size.is_multiple_of(SECTOR), "a FAT volume of {size} bytes is not a whole number of 512-byte sectors");
        let sectors = size / SECTOR;
        ensure!(sectors <= u64::from(u32::MAX), "a FAT32 volume of {size} bytes is beyond 2^32 sectors");
        let candidates = [8, 4, 2, 1].into_iter().filter_map(|n| Self::with_cluster(sectors, n));
        let found = candidates.into_iter().find(|g| g.clusters >= FEWEST_CLUSTERS);
        found.ok_or_else(|| anyhow::anyhow!("a volume of {size} bytes is too small for FAT32, which needs 33 MiB"))
    }

    fn with_cluster(sectors: u64, sectors_per_cluster: u64) -> Option<Self> {
        let behind_reserved = sectors.checked_sub(RESERVED)?;
        // The specification's own estimate: never too small, at most a few sectors too large. Rounded up to whole
        // clusters, so that clusters are aligned within the volume.
        let table = behind_reserved.div_ceil((256 * sectors_per_cluster + 2) / 2).next_multiple_of(sectors_per_cluster);
        let clusters = behind_reserved.checked_sub(2 * table)? / sectors_per_cluster;
        Some(Self { sectors, sectors_per_cluster, table, clusters })
    }

    /// Bytes in a cluster.
    pub(super) fn cluster_bytes(&self) -> u64 {
        self.sectors_per_cluster * SECTOR
    }

    /// Bytes in all clusters.
    pub(super) fn capacity(&self) -> u64 {
        self.clusters * self.cluster_bytes()
    }

    /// The byte offsets of the two tables.
    pub(super) fn tables(&self) -> [u64; 2] {
        [RESERVED * SECTOR, (RESERVED + self.table) * SECTOR]
    }

    /// The byte offset of a cluster; the first one is number 2.
    pub(super) fn cluster(&self, number: u64) -> u64 {
        (RESERVED + 2 * self.table) * SECTOR + (number - 2) * self.cluster_bytes()
    }

    /// The boot sector; `label` is in stored form.
    pub(super) fn boot_sector(&self, volume: &FatVolume<'_>, label: [u8; 11]) -> [u8; 512] {
        let mut sector = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0xeb, 0x58, 0x90]);
        // The specification recommends this name: some readers look at it.
        put(3, b"MSWIN4.1");
        put(11, &(SECTOR as u16).to_le_bytes());
        put(13, &[self.sectors_per_cluster as u8]);
        put(14, &(RESERVED as u16).to_le_bytes());
        put(16, &[2]);
        put(21, &[0xf8]);
        put(24, &63u16.to_le_bytes());
        put(26, &255u16.to_le_bytes());
        put(28, &volume.hidden_sectors.to_le_bytes());
        put(32, &(self.sectors as u32).to_le_bytes());
        put(36, &(self.table as u32).to_le_bytes());
        put(44, &2u32.to_le_bytes());
        put(48, &1u16.to_le_bytes());
        put(50, &6u16.to_le_bytes());
        put(64, &[0x80, 0, 0x29]);
        put(67, &volume.volume_id.to_le_bytes());
        put(71, &label);
        put(82, b"FAT32   ");
        // INT 18h hands a firmware that boots this by mistake on to the next device; the jump ends it all otherwise.
        put(90, &[0xcd, 0x18, 0xeb, 0xfe]);
        put(510, &[0x55, 0xaa]);
        sector
    }

    /// The FSInfo sector when clusters up to `next` are in use.
    pub(super) fn fs_info(&self, next: u64) -> [u8; 512] {
        let free = self.clusters + 2 - next;
        // Without a free cluster there is no hint where to look for one.
        let hint = if free == 0 { u32::MAX } else { next as u32 };
        let mut sector = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"RRaA");
        put(484, b"rrAa");
        put(488, &(free as u32).to_le_bytes());
        put(492, &hint.to_le_bytes());
        put(510, &[0x55, 0xaa]);
        sector
    }
}

/// A moment as directory entries hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) date: u16,
    /// In steps of two seconds.
    pub(super) time: u16,
    /// Hundredths of a second beyond `time`, up to 199.
    pub(super) hundredths: u8,
}

impl Stamp {
    /// The stamp of a Unix time in seconds, in UTC, held within what FAT can say: 1980 to 2107.
    pub(super) fn of(epoch: u64) -> Self {
        const FIRST: i64 = 315_532_800; // 1980-01-01 00:00:00
        const LAST: i64 = 4_354_819_199; // 2107-12-31 23:59:59
        let second = i64::try_from(epoch).unwrap_or(LAST).clamp(FIRST, LAST);
        // Within the years above, so it always converts.
        let at = Offset::UTC.to_datetime(Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH));
        Self {
            date: ((at.year() - 1980) << 9) as u16 | (at.month() as u16) << 5 | at.day() as u16,
            time: (at.hour() as u16) << 11 | (at.minute() as u16) << 5 | (at.second() as u16 / 2),
            hundredths: (at.second() % 2 * 100) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn every_size_is_really_fat32_and_its_tables_hold_every_cluster() {
        for mib in (33..=2048).chain([4096, 8192]) {
            let g = Geometry::of(mib * MIB).unwrap();
            assert!(g.clusters >= FEWEST_CLUSTERS, "{mib} MiB: {g:?}");
            assert!((g.clusters + 2) * 4 <= g.table * SECTOR, "{mib} MiB: {g:?}");
            assert!(g.cluster(g.clusters + 2) <= mib * MIB, "{mib} MiB: {g:?}");
            assert_eq!(g.cluster(2) % g.cluster_bytes(), 0);
        }
        assert!(Geometry::of(32 * MIB).is_err());
        assert!(Geometry::of(64 * MIB + 1).is_err());
        assert_eq!(Geometry::of(64 * MIB).unwrap().cluster_bytes(), 512);
        assert_eq!(Geometry::of(512 * MIB).unwrap().cluster_bytes(), 4096);
    }

    #[test]
    fn times_are_utc_and_held_within_fats_years() {
        let stamp = |epoch| {
            let s = Stamp::of(epoch);
            let (d, t) = (s.date, s.time);
            format!(
                "{}-{:02}-{:02} {:02}:{:02}:{:02}+{}",
                1980 + (d >> 9),
                d >> 5 & 15,
                d & 31,
                t >> 11,
                t >> 5 & 63,
                2 * (t & 31),
                s.hundredths
            )
        };
        assert_eq!(stamp(0), "1980-01-01 00:00:00+0");
        assert_eq!(stamp(951_782_399), "2000-02-28 23:59:58+100");
        assert_eq!(stamp(951_782_400), "2000-02-29 00:00:00+0");
        assert_eq!(stamp(1_795_478_401), "2026-11-24 00:00:00+100");
        assert_eq!(stamp(u64::MAX), "2107-12-31 23:59:58+100");
    }
}
