//! Which parts of a file hold data, and which of those are only zeros.

use std::fs::File;
use std::io;
use std::ops::Range;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// The byte ranges of `file` that are not holes, in order. Moves the file's position.
pub(super) fn data_ranges(file: &File) -> io::Result<Vec<Range<u64>>> {
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
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    // Comparing slices is what the C library does fastest.
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

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
    fn one_byte_makes_zeros_data() {
        let mut bytes = vec![0; 9000];
        assert!(is_zero(&bytes) && is_zero(&[]));
        bytes[8999] = 1;
        assert!(!is_zero(&bytes));
    }
}
