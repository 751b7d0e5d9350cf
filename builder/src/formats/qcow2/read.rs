//! Reads a qcow2 image as the disk that is in it, whoever wrote it, one cluster at a time.
//!
//! Layout and names: QEMU's `docs/interop/qcow2.txt`. Refcounts are not looked at: they say what a writer may reuse.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, bail, ensure};
use flate2::{Decompress, FlushDecompress, Status};

/// The bits of a table's entry that are a place in the file.
const PLACE: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
/// "Reads as zeros", in version 3.
const ZERO: u64 = 1;
/// The longest first-level table that QEMU takes (`QCOW_MAX_L1_SIZE`), in bytes.
const LONGEST_L1: u64 = 32 << 20;

/// A disk inside a qcow2 file: read and seek in it as in a raw one.
#[derive(Debug)]
pub struct Reader {
    file: File,
    size: u64,
    cluster_bits: u32,
    /// Places of second-level tables; 0 for none.
    l1: Vec<u64>,
    /// The second-level table in hand, with its number.
    l2: Option<(usize, Vec<u64>)>,
    /// The inflated cluster in hand, with its number.
    inflated: Option<(u64, Vec<u8>)>,
    at: u64,
}

/// Where a cluster of the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere: it is all zeros.
    Zero,
    /// Here in the file, as it is.
    Stored(u64),
    /// Here in the file, in at most so many bytes of a deflate stream.
    Deflated(u64, usize),
}

impl Reader {
    /// Opens the image in `file`.
    ///
    /// Fails on what is no qcow2 image, and on one that needs what this reader has not got: a backing file, encryption,
    /// or an incompatible feature such as zstd.
    pub fn open(file: File) -> Result<Self> {
        let mut header = [0; 104];
        let length = file.metadata().context("failed to stat the image")?.len();
        ensure!(length >= 72, "the image has {length} bytes, less than a qcow2 header");
        let known = usize::try_from(length).unwrap_or(usize::MAX).min(header.len());
        file.read_exact_at(&mut header[..known], 0).context("failed to read the header")?;
        ensure!(header.starts_with(b"QFI\xfb"), "there is no qcow2 header");
        let version = number(&header, 4, 4);
        ensure!(matches!(version, 2 | 3), "qcow2 version {version} is not supported");
        ensure!(number(&header, 8, 8) == 0, "the image is an overlay: it needs a backing file");
        ensure!(number(&header, 32, 4) == 0, "the image is encrypted");
        let features = if version == 3 { number(&header, 72, 8) } else { 0 };
        ensure!(features == 0, "the image has incompatible features ({features:#x}) that are not supported");

        let (bits, size) = (number(&header, 20, 4), number(&header, 24, 8));
        ensure!((9..=21).contains(&bits), "clusters of 2^{bits} bytes are outside of what qcow2 allows");
        let cluster_bits = bits as u32;
        let (entries, at) = (number(&header, 36, 4), number(&header, 40, 8));
        let needed = size.div_ceil(1 << cluster_bits).div_ceil(1 << (cluster_bits - 3));
        if entries < needed || entries * 8 > LONGEST_L1 {
            bail!("a first-level table of {entries} entries does not fit a disk of {size} bytes");
        }
        let l1 = table(&file, at, entries).context("failed to read the first-level table")?;
        Ok(Self { file, size, cluster_bits, l1, l2: None, inflated: None, at: 0 })
    }

    /// The disk's length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `bytes`, which lie in one cluster, from the disk's byte `at` on.
    fn fill(&mut self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let (cluster, within) = (at >> self.cluster_bits, at & (self.cluster() - 1));
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("cluster {cluster} of the disk: {error}"));
        match self.find(cluster).map_err(failed)? {
            Place::Zero => bytes.fill(0),
            Place::Stored(place) => self.file.read_exact_at(bytes, place + within).map_err(failed)?,
            Place::Deflated(place, length) => {
                if self.inflated.as_ref().is_none_or(|(number, _)| *number != cluster) {
                    self.inflated = None;
                    self.inflated = Some((cluster, self.inflate(place, length).map_err(failed)?));
                }
                if let Some((_, inflated)) = &self.inflated {
                    bytes.copy_from_slice(&inflated[within as usize..][..bytes.len()]);
                }
            }
        }
        Ok(())
    }

    fn find(&mut self, cluster: u64) -> io::Result<Place> {
        let per_table = self.cluster() / 8;
        let index = (cluster / per_table) as usize;
        if self.l2.as_ref().is_none_or(|(number, _)| *number != index) {
            let at = self.l1.get(index).map_or(0, |entry| entry & PLACE);
            if at == 0 {
                return Ok(Place::Zero);
            }
            self.l2 = Some((index, table(&self.file, at, per_table)?));
        }
        let entry = self.l2.as_ref().map_or(0, |(_, entries)| entries[(cluster % per_table) as usize]);
        if entry & COMPRESSED != 0 {
            // The place takes the lower bits, the number of further sectors those above it.
            let sectors_at = 62 - (self.cluster_bits - 8);
            let (place, further) = (entry & ((1 << sectors_at) - 1), (entry & (COMPRESSED - 1)) >> sectors_at);
            let length = (further + 1) * 512 - place % 512;
            return Ok(Place::Deflated(place, length as usize));
        }
        // Version 2 keeps bit 0 zero.
        Ok(if entry & ZERO != 0 || entry & PLACE == 0 { Place::Zero } else { Place::Stored(entry & PLACE) })
    }

    /// Inflates the cluster whose stream lies in the `length` bytes at `place`, or in less if the file ends before.
    fn inflate(&self, place: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut stream = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut stream[filled..], place + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        let mut cluster = vec![0; 1 << self.cluster_bits];
        let mut inflate = Decompress::new(false);
        let status = inflate.decompress(&stream[..filled], &mut cluster, FlushDecompress::Finish);
        let whole = matches!(status, Ok(Status::Ok | Status::StreamEnd | Status::BufError))
            && inflate.total_out() == cluster.len() as u64;
        if whole { Ok(cluster) } else { Err(damaged("its deflate stream is damaged")) }
    }

    /// Bytes in a cluster.
    fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let in_cluster = self.cluster() - self.at % self.cluster();
        let count = in_cluster.min(self.size.saturating_sub(self.at)).min(buffer.len() as u64) as usize;
        self.fill(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = to.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a place before the disk's start"))?;
        Ok(self.at)
    }
}

fn damaged(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}

/// The table of `entries` numbers at `place` of the file.
fn table(file: &File, place: u64, entries: u64) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; entries as usize * 8];
    file.read_exact_at(&mut bytes, place)?;
    Ok(bytes.chunks_exact(8).map(|entry| number(entry, 0, 8)).collect())
}

/// The big-endian number of `length` bytes at `at`.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::formats::qcow2::{self, CLUSTER, Options};

    fn image(disk: &[u8]) -> File {
        let mut raw = tempfile::NamedTempFile::new().unwrap();
        raw.write_all(disk).unwrap();
        let mut out = tempfile::tempfile().unwrap();
        let options = Options { level: 1, incompressible: Vec::new(), threads: 1 };
        qcow2::write(raw.path(), &mut out, &options, &mut |_, _| ()).unwrap();
        out
    }

    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 5 * CLUSTER + 1024];
        disk[..CLUSTER].iter_mut().enumerate().for_each(|(i, byte)| *byte = (i / 600) as u8);
        // Evenly distributed, so stored as it is.
        disk[2 * CLUSTER..3 * CLUSTER].iter_mut().enumerate().for_each(|(i, byte)| *byte = i as u8);
        disk[5 * CLUSTER..].fill(7);
        disk
    }

    #[test]
    fn reads_what_it_wrote_from_any_place() {
        let disk = disk();
        let mut reader = Reader::open(image(&disk)).unwrap();
        assert_eq!(reader.size(), disk.len() as u64);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert!(all == disk);
        for (at, length) in [(CLUSTER - 3, 9), (5 * CLUSTER + 1000, 24), (0, 3 * CLUSTER)] {
            reader.seek(SeekFrom::Start(at as u64)).unwrap();
            let mut bytes = vec![1; length];
            reader.read_exact(&mut bytes).unwrap();
            assert!(bytes == disk[at..at + length], "{length} bytes at {at}");
        }
        assert_eq!(reader.seek(SeekFrom::End(9)).unwrap(), disk.len() as u64 + 9);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        assert!(reader.seek(SeekFrom::Current(-(1 << 40))).is_err());
    }

    #[test]
    fn what_it_cannot_read_is_refused_by_reason() {
        let whole = {
            let mut bytes = vec![0; image(&disk()).metadata().unwrap().len() as usize];
            image(&disk()).read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        let open = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            Reader::open(file)
        };
        let cases: [(usize, u8, &str); 7] = [
            (0, 0, "no qcow2 header"),
            (7, 4, "version 4"),
            (15, 1, "backing file"),
            (23, 22, "2^22"),
            (35, 1, "encrypted"),
            (79, 8, "incompatible features (0x8)"),
            (39, 0, "first-level table of 0 entries"),
        ];
        for (at, byte, words) in cases {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            let error = format!("{:#}", open(&bytes).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
        for length in [0, 71, 72, 104, CLUSTER, CLUSTER + 7] {
            assert!(open(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_damaged_cluster_is_an_error_and_never_other_bytes_than_whole_ones() {
        let disk = disk();
        let mut bytes = vec![0; image(&disk).metadata().unwrap().len() as usize];
        image(&disk).read_exact_at(&mut bytes, 0).unwrap();
        // The first deflate stream follows header and first-level table.
        bytes[2 * CLUSTER] = 0x07; // a kind of block that deflate has not got
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut reader = Reader::open(file).unwrap();
        let error = reader.read(&mut [0; 10]).unwrap_err().to_string();
        assert_eq!(error, "cluster 0 of the disk: its deflate stream is damaged");
        // Another cluster is still there.
        reader.seek(SeekFrom::Start(2 * CLUSTER as u64)).unwrap();
        let mut sound = [0; 16];
        reader.read_exact(&mut sound).unwrap();
        assert_eq!(sound, disk[2 * CLUSTER..][..16]);
    }
}
