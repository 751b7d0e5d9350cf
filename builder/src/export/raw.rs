//! A raw disk copied without its holes and zeros.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::sparse;

/// What is left a hole when it is zero: a page, and a block of most file systems.
const BLOCK: usize = 4096;
const BUFFER: usize = 1 << 20;

/// Copies the disk in the file `raw` to `out`, which must be empty, and leaves holes where the disk is zero.
///
/// `progress` is called now and then with the bytes done and the bytes to do; holes of `raw` count as neither.
pub fn write(raw: &Path, out: &mut File, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let reading = || format!("failed to read {}", raw.display());
    let writing = || format!("failed to write a copy of {}", raw.display());
    let disk = File::open(raw).with_context(reading)?;
    let length = disk.metadata().with_context(reading)?.len();
    let ranges = sparse::data_ranges(&disk).with_context(reading)?;
    out.set_len(length).with_context(writing)?;

    let total = ranges.iter().map(|range| range.end - range.start).sum();
    let mut done = 0;
    let mut buffer = vec![0; BUFFER];
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let part = usize::try_from(range.end - at).unwrap_or(BUFFER).min(BUFFER);
            disk.read_exact_at(&mut buffer[..part], at).with_context(reading)?;
            for (offset, run) in runs(&buffer[..part]) {
                out.write_all_at(run, at + offset as u64).with_context(writing)?;
            }
            at += part as u64;
            done += part as u64;
            progress(done, total);
        }
    }
    Ok(())
}

/// The runs of blocks that are not zero, with their offsets.
fn runs(bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut runs = Vec::new();
    let mut start = None;
    for (number, block) in bytes.chunks(BLOCK).enumerate() {
        let at = number * BLOCK;
        if sparse::is_zero(block) {
            runs.extend(start.take().map(|start| (start, &bytes[start..at])));
        } else {
            start.get_or_insert(at);
        }
    }
    runs.extend(start.map(|start| (start, &bytes[start..])));
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_copy_is_equal_and_has_holes_for_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.raw");
        let disk = File::create(&path).unwrap();
        disk.set_len((20 << 20) + 512).unwrap();
        disk.write_all_at(&vec![0; 4 << 20], 0).unwrap();
        disk.write_all_at(&[1; 5000], 1 << 20).unwrap();
        disk.write_all_at(&[2; 512], 20 << 20).unwrap();
        let mut copy = File::create_new(directory.path().join("copy.raw")).unwrap();
        let mut last = (0, 1);
        write(&path, &mut copy, &mut |done, total| last = (done, total)).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(directory.path().join("copy.raw")).unwrap());
        assert!(copy.metadata().unwrap().blocks() * 512 < 1 << 20);
        assert_eq!(last.0, last.1);
    }

    #[test]
    fn runs_are_joined_blocks() {
        let mut bytes = vec![0; 4 * BLOCK + 7];
        bytes[BLOCK] = 1;
        bytes[2 * BLOCK] = 1;
        bytes[4 * BLOCK + 6] = 1;
        let found: Vec<_> = runs(&bytes).into_iter().map(|(at, run)| (at, run.len())).collect();
        assert_eq!(found, [(BLOCK, 2 * BLOCK), (4 * BLOCK, 7)]);
    }
}
