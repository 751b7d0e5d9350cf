//! A raw disk as qcow2: version 3, clusters of 64 KiB, deflated where that is worth while.
//!
//! Invariant: the file depends on the disk's bytes, the level and the incompressible ranges; not on holes, nor on the
//! number of threads. Format: QEMU's `docs/interop/qcow2.txt`. Any QEMU since 1.1 reads it.

mod cluster;
mod metadata;
mod pipeline;
mod read;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use self::cluster::Fate;
use self::metadata::Metadata;
use self::pipeline::Batch;
pub use self::read::Reader;
use crate::sys::sparse;

/// Bytes in a cluster, of the disk and of the file alike.
const CLUSTER: usize = 1 << 16;
/// Bytes that are gathered before they are written.
const GATHERED: usize = 1 << 20;

/// How to write the image.
#[derive(Debug, Clone)]
pub struct Options {
    /// zlib's level, 1 (fast) to 9 (small).
    pub level: u32,
    /// Byte ranges of the disk known to be compressed already: clusters inside them are stored without a try.
    pub incompressible: Vec<Range<u64>>,
    /// How many threads deflate.
    pub threads: usize,
}

/// Writes the disk in the file `raw` to `out`, which must be empty, as qcow2.
///
/// `progress` is called now and then with the bytes done and the bytes to do; holes of `raw` count as neither.
pub fn write(raw: &Path, out: &mut File, options: &Options, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
    ensure!((1..=9).contains(&options.level), "deflate has no level {}", options.level);
    let context = || format!("failed to read {}", raw.display());
    let disk = File::open(raw).with_context(context)?;
    let length = disk.metadata().with_context(context)?.len();
    let whole = length > 0 && length.is_multiple_of(512);
    ensure!(whole, "{} has {length} bytes, not a whole number of 512-byte sectors", raw.display());

    let batches = pipeline::batches(&sparse::data_ranges(&disk).with_context(context)?);
    let total = batches.iter().map(|batch| batch.end - batch.start).sum::<u64>() * CLUSTER as u64;
    let mut image = Image { out, metadata: Metadata::new(length), gathered: Vec::new(), at: 0 };
    let mut done = 0;
    pipeline::run(&disk, &batches, options, |batch| {
        image.add(&batch)?;
        done += batch.clusters.len() as u64;
        progress(done * CLUSTER as u64, total);
        Ok(())
    })
    .with_context(|| format!("failed to convert {} to qcow2", raw.display()))?;
    image.finish().with_context(|| format!("failed to convert {} to qcow2", raw.display()))
}

/// An image that is being written.
#[derive(Debug)]
struct Image<'a> {
    out: &'a File,
    metadata: Metadata,
    /// Bytes not yet written, which belong at `at`.
    gathered: Vec<u8>,
    at: u64,
}

impl Image<'_> {
    fn add(&mut self, batch: &Batch) -> Result<()> {
        let mut packed = batch.packed.as_slice();
        for ((number, fate), bytes) in (batch.first..).zip(&batch.clusters).zip(batch.bytes.chunks(CLUSTER)) {
            match *fate {
                Fate::Zero => {}
                Fate::Stored => {
                    let at = self.metadata.store(number);
                    self.put(at, bytes)?;
                }
                Fate::Deflated(length) => {
                    let (stream, rest) = packed.split_at(length);
                    packed = rest;
                    let at = self.metadata.pack(number, length as u64);
                    self.put(at, stream)?;
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        if at != self.at + self.gathered.len() as u64 || self.gathered.len() >= GATHERED {
            self.flush()?;
            self.at = at;
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write_all_at(&self.gathered, self.at).context("failed to write the image")?;
        self.gathered.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.flush()?;
        let (pieces, length) = self.metadata.finish();
        for (at, bytes) in pieces {
            self.out.write_all_at(&bytes, at).context("failed to write the image's tables")?;
        }
        // The last table need not fill its cluster.
        self.out.set_len(length).context("failed to set the image's length")
    }
}
