//! Copies sparse files: holes stay holes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// How much is copied at a time, in bytes.
const CHUNK: usize = 1 << 20;

/// The byte ranges of `file` that hold data. A file system that cannot tell says all of it does.
pub fn data_ranges(file: &File) -> io::Result<Vec<Range<u64>>> {
    let length = file.metadata()?.len();
    let mut ranges = Vec::new();
    let mut at = 0_i64;
    while u64::try_from(at).unwrap_or(u64::MAX) < length {
        let start = match lseek(file, at, Whence::SeekData) {
            Ok(start) => start,
            // Nothing but a hole up to the end.
            Err(Errno::ENXIO) => break,
            Err(Errno::EINVAL) => return Ok(vec![0..length]),
            Err(errno) => return Err(errno.into()),
        };
        at = lseek(file, start, Whence::SeekHole)?;
        ranges.push(u64::try_from(start).unwrap_or(0)..u64::try_from(at).unwrap_or(length).min(length));
    }
    Ok(ranges)
}

/// Copies the file `from` into `to` at byte `offset`; where `from` has holes or zeros, `to` stays as it is.
pub fn copy(from: &Path, to: &File, offset: u64) -> Result<()> {
    let source = File::open(from).with_context(|| format!("failed to open {}", from.display()))?;
    let copy = || -> io::Result<()> {
        let mut buffer = vec![0_u8; CHUNK];
        for range in data_ranges(&source)? {
            let mut at = range.start;
            while at < range.end {
                let want = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
                let chunk = &mut buffer[..want];
                source.read_exact_at(chunk, at)?;
                if chunk.iter().any(|byte| *byte != 0) {
                    to.write_all_at(chunk, offset + at)?;
                }
                at += want as u64;
            }
        }
        Ok(())
    };
    copy().with_context(|| format!("failed to copy {}", from.display()))
}
