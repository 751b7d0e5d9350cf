//! A qcow2 image's bookkeeping: where each cluster of the disk lies in the file, and the count of uses of each cluster
//! of the file.

use std::collections::BTreeMap;

use super::CLUSTER;

const SIZE: u64 = CLUSTER as u64;
/// Clusters of the disk that one second-level table maps.
const L2_ENTRIES: u64 = SIZE / 8;
/// Clusters of the file that one refcount block counts, at 16 bits each.
const REFCOUNTS: u64 = SIZE / 2;
/// "The refcount is exactly one": QEMU may write in place.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Where the number of further 512-byte sectors starts in a compressed entry: 62 - (cluster_bits - 8).
const SECTORS_SHIFT: u64 = 62 - (SIZE.trailing_zeros() as u64 - 8);
const HEADER_LENGTH: u32 = 104;

/// The tables of an image that is being written, in memory.
#[derive(Debug)]
pub(super) struct Metadata {
    /// The length of the disk in bytes.
    disk: u64,
    /// Second-level tables by their number; those of nothing but zeros are absent.
    l2: BTreeMap<u64, Vec<u64>>,
    /// The number of uses of each cluster of the file so far.
    refcounts: Vec<u16>,
    /// Where the next deflate stream may follow the one before it, in bytes; on a cluster's edge if there is no room.
    open: u64,
}

impl Metadata {
    /// The bookkeeping of a disk of `disk` bytes: header and first-level table come first.
    pub(super) fn new(disk: u64) -> Self {
        let mut metadata = Self { disk, l2: BTreeMap::new(), refcounts: Vec::new(), open: 0 };
        metadata.take(1 + metadata.l1_clusters());
        metadata
    }

    /// The place in the file of the disk's cluster `number` when it is stored as it is.
    pub(super) fn store(&mut self, number: u64) -> u64 {
        let at = self.take(1);
        self.map(number, at | COPIED);
        at
    }

    /// The place in the file of the disk's cluster `number` when it is a deflate stream of `length` bytes, which is
    /// less than a cluster.
    pub(super) fn pack(&mut self, number: u64, length: u64) -> u64 {
        let left = self.open.next_multiple_of(SIZE) - self.open;
        // A stream may go on into the next cluster of the file only if that is still free.
        let goes_on = left > 0 && self.open + left == self.end();
        if left < length && !goes_on {
            self.open = self.end();
        }
        let at = self.open;
        self.open += length;
        while self.end() < self.open {
            self.refcounts.push(0);
        }
        let (first, last) = (at / SIZE, (at + length - 1) / SIZE);
        (first..=last).for_each(|cluster| self.refcounts[cluster as usize] += 1);
        let further_sectors = (at + length - 1) / 512 - at / 512;
        self.map(number, at | further_sectors << SECTORS_SHIFT | COMPRESSED);
        at
    }

    /// Ends the image: the tables to be written, each with its place in the file, and the file's length.
    pub(super) fn finish(mut self) -> (Vec<(u64, Vec<u8>)>, u64) {
        let mut pieces = Vec::new();
        let l2_size = self.disk.div_ceil(SIZE).div_ceil(L2_ENTRIES);
        let mut l1 = vec![0; l2_size as usize];
        for (number, table) in std::mem::take(&mut self.l2) {
            let at = self.take(1);
            l1[number as usize] = at | COPIED;
            pieces.push((at, big_endian(&table)));
        }
        pieces.push((SIZE, big_endian(&l1)));

        // The refcounts count themselves: more blocks are added until all clusters, theirs too, have a count.
        let (mut blocks, mut table_clusters) = (0, 0);
        loop {
            let clusters = self.refcounts.len() as u64 + blocks + table_clusters;
            let needed = clusters.div_ceil(REFCOUNTS);
            if needed <= blocks {
                break;
            }
            blocks = needed;
            table_clusters = blocks.div_ceil(SIZE / 8);
        }
        let table = self.take(table_clusters);
        let first_block = self.take(blocks);
        let places: Vec<u64> = (0..blocks).map(|block| first_block + block * SIZE).collect();
        pieces.push((table, big_endian(&places)));
        let mut counts: Vec<u8> = self.refcounts.iter().flat_map(|count| count.to_be_bytes()).collect();
        counts.resize((blocks * SIZE) as usize, 0);
        pieces.push((first_block, counts));

        pieces.push((0, self.header(l2_size as u32, table, table_clusters as u32)));
        (pieces, self.end())
    }

    fn header(&self, l1_entries: u32, refcount_table: u64, refcount_table_clusters: u32) -> Vec<u8> {
        let mut header = vec![0; HEADER_LENGTH as usize];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"QFI\xfb");
        put(4, &3u32.to_be_bytes());
        put(20, &SIZE.trailing_zeros().to_be_bytes());
        put(24, &self.disk.to_be_bytes());
        put(36, &l1_entries.to_be_bytes());
        put(40, &SIZE.to_be_bytes());
        put(48, &refcount_table.to_be_bytes());
        put(56, &refcount_table_clusters.to_be_bytes());
        put(96, &4u32.to_be_bytes()); // refcounts have 2^4 bits
        put(100, &HEADER_LENGTH.to_be_bytes());
        // What follows it are the eight zeros of "no more extensions".
        header
    }

    fn map(&mut self, number: u64, entry: u64) {
        let table = self.l2.entry(number / L2_ENTRIES).or_insert_with(|| vec![0; L2_ENTRIES as usize]);
        table[(number % L2_ENTRIES) as usize] = entry;
    }

    fn take(&mut self, clusters: u64) -> u64 {
        let at = self.end();
        self.refcounts.resize(self.refcounts.len() + clusters as usize, 1);
        at
    }

    fn end(&self) -> u64 {
        self.refcounts.len() as u64 * SIZE
    }

    fn l1_clusters(&self) -> u64 {
        (self.disk.div_ceil(SIZE).div_ceil(L2_ENTRIES) * 8).div_ceil(SIZE)
    }
}

fn big_endian(table: &[u64]) -> Vec<u8> {
    table.iter().flat_map(|entry| entry.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_share_clusters_and_go_on_into_the_next_only_when_it_is_free() {
        let mut metadata = Metadata::new(1 << 30);
        assert_eq!(metadata.pack(0, 40_000), 2 * SIZE);
        assert_eq!(metadata.pack(1, 40_000), 2 * SIZE + 40_000); // into cluster 3
        assert_eq!(metadata.store(2), 4 * SIZE);
        assert_eq!(metadata.pack(3, 40_000), 2 * SIZE + 80_000); // what is left of cluster 3
        assert_eq!(metadata.pack(4, 40_000), 5 * SIZE); // cluster 4 is taken
        assert_eq!(metadata.refcounts, [1, 1, 2, 2, 1, 1]);
        let entry = metadata.l2[&0][1];
        let sectors = (171_072 + 40_000 - 1) / 512 - 171_072 / 512;
        assert_eq!(entry, (1 << 62) | (sectors << 54) | 171_072);
    }

    #[test]
    fn a_stream_that_ends_on_an_edge_starts_the_next_in_a_cluster_of_its_own() {
        let mut metadata = Metadata::new(1 << 30);
        metadata.pack(0, SIZE / 2);
        metadata.pack(1, SIZE / 2);
        metadata.store(2);
        assert_eq!(metadata.pack(3, 10), 4 * SIZE);
        assert_eq!(metadata.refcounts, [1, 1, 2, 1, 1]);
    }

    #[test]
    fn every_cluster_of_the_file_is_counted_once_around_the_edge_of_a_refcount_block() {
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes[..8].try_into().unwrap());
        for stored in (32_750..32_770).chain([1, 70_000]) {
            let mut metadata = Metadata::new(stored * SIZE);
            (0..stored).for_each(|cluster| _ = metadata.store(cluster));
            let (pieces, length) = metadata.finish();
            let piece = |at: u64| &pieces.iter().find(|(place, _)| *place == at).unwrap().1;
            let places = piece(number(&piece(0)[48..]));
            let counts = piece(number(places));
            assert!(places.chunks(8).enumerate().all(|(i, place)| number(place) == number(places) + i as u64 * SIZE));
            let used = counts.chunks(2).take_while(|count| **count == [0, 1]).count() as u64;
            assert_eq!(used * SIZE, length, "{stored} clusters");
            assert!(counts[used as usize * 2..].iter().all(|byte| *byte == 0));
        }
    }
}
