//! Sparse files: which parts hold data, which of those are only zeros, and copies that keep the holes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// The byte ranges of `file` that are not holes, in order. Moves the file's position.
pub(crate) fn data_ranges(file: &File) -> io::Result<Vec<Range<u64>>> {
    let length = i64::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut ranges = Vec::new();
    let mut end = 0;
    while end < length {
        let start = match lseek(file, end, Whence::SeekData) {
            Ok(start) => start,
            // Nothing but a hole follows.
            Err(Errno::ENXIO) => break,
            Err(error) => return Err(error.into()),
        };
        end = lseek(file, start, Whence::SeekHole)?;
        // Offsets the kernel returns are never negative.
        ranges.push(start.unsigned_abs()..end.unsigned_abs());
    }
    Ok(ranges)
}

/// Whether all of `bytes` are zero.
#[must_use]
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    // Comparing slices is what the C library does fastest.
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

/// What is left a hole when it is zero: a page, and a block of most file systems.
const BLOCK: usize = 4096;
const BUFFER: usize = 1 << 20;

/// Copies the file `from` into `to` at byte `offset`, and leaves `to` as it is where `from` is a hole or zero.
///
/// `progress` is called now and then with the bytes done and the bytes to do; holes count as neither. An error of `to` comes
/// as it is: the caller knows its name.
pub(crate) fn copy(from: &Path, to: &File, offset: u64, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let reading = || format!("failed to read {}", from.display());
    let source = File::open(from).with_context(reading)?;
    let ranges = data_ranges(&source).with_context(reading)?;
    let total = ranges.iter().map(|range| range.end - range.start).sum();
    let mut done = 0;
    let mut buffer = vec![0; BUFFER];
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let part = usize::try_from(range.end - at).unwrap_or(BUFFER).min(BUFFER);
            source.read_exact_at(&mut buffer[..part], at).with_context(reading)?;
            for (start, run) in runs(&buffer[..part]) {
                to.write_all_at(run, offset + at + start as u64)?;
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
        if is_zero(block) {
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

    #[test]
    fn data_is_found_between_holes_and_at_neither_end() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(data_ranges(&file).unwrap(), []);
        file.set_len(10 << 20).unwrap();
        file.write_all_at(&[1; 65536], 1 << 20).unwrap();
        file.write_all_at(&[2; 65536], 4 << 20).unwrap();
        let ranges = data_ranges(&file).unwrap();
        // A file system without holes calls all of it data.
        let all_of_it = ranges.first() == Some(&(0..10 << 20));
        assert!(ranges == [1 << 20..(1 << 20) + 65536, 4 << 20..(4 << 20) + 65536] || all_of_it);
    }

    #[test]
    fn a_full_destination_is_not_taken_for_the_source() {
        let source = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(source.path(), [1; 5000]).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = format!("{:#}", copy(source.path(), &full, 0, &mut |_, _| ()).unwrap_err());
        let name = source.path().display().to_string();
        assert!(error.contains("No space left") && !error.contains(&name), "{error}");
    }

    #[test]
    fn one_byte_makes_zeros_data() {
        let mut bytes = vec![0; 9000];
        assert!(is_zero(&bytes) && is_zero(&[]));
        bytes[8999] = 1;
        assert!(!is_zero(&bytes));
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
