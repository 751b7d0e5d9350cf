//! Reads and deflates batches of clusters on several threads, and hands them on in the disk's order.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context as _, Result};

use super::cluster::{Fate, Squeezer};
use super::{CLUSTER, Options};

/// Clusters in a batch: 1 MiB.
const BATCH: u64 = 16;
/// Batches a thread may be ahead: this bounds the memory, and evens out batches of different difficulty.
const AHEAD: usize = 8;

/// A run of clusters and what became of them.
#[derive(Debug)]
pub(super) struct Batch {
    /// The number of the first cluster on the disk.
    pub(super) first: u64,
    /// The clusters' bytes; those behind the end of the disk are zero.
    pub(super) bytes: Vec<u8>,
    pub(super) clusters: Vec<Fate>,
    /// The deflate streams, one behind the other.
    pub(super) packed: Vec<u8>,
}

/// The clusters, by number, that hold any of the byte ranges `data`, cut into batches.
pub(super) fn batches(data: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut batches: Vec<Range<u64>> = Vec::new();
    for range in data {
        let end = range.end.div_ceil(CLUSTER as u64);
        // Two ranges may share a cluster.
        let taken = batches.last().map_or(0, |batch| batch.end);
        let mut start = (range.start / CLUSTER as u64).max(taken);
        while start < end {
            let batch = start..end.min(start + BATCH);
            start = batch.end;
            batches.push(batch);
        }
    }
    batches
}

/// Calls `take` with each batch, in order.
pub(super) fn run(
    disk: &File,
    batches: &[Range<u64>],
    options: &Options,
    mut take: impl FnMut(Batch) -> Result<()>,
) -> Result<()> {
    let threads = options.threads.max(1);
    thread::scope(|scope| {
        // Thread n makes the batches n, n + threads, …; so reading from each in turn gives the disk's order.
        let start = |first: usize| {
            let (sender, receiver) = sync_channel(AHEAD);
            scope.spawn(move || {
                let mut squeezer = Squeezer::new(options.level);
                for clusters in batches.iter().skip(first).step_by(threads) {
                    let batch = make(disk, clusters, options, &mut squeezer);
                    let failed = batch.is_err();
                    // Nobody receives any more when another batch failed.
                    if sender.send(batch).is_err() || failed {
                        break;
                    }
                }
            });
            receiver
        };
        let receivers: Vec<_> = (0..threads).map(start).collect();
        for receiver in receivers.iter().cycle().take(batches.len()) {
            take(receiver.recv().context("a deflating thread ended early")??)?;
        }
        Ok(())
    })
}

fn make(disk: &File, clusters: &Range<u64>, options: &Options, squeezer: &mut Squeezer) -> Result<Batch> {
    let mut bytes = vec![0; (clusters.end - clusters.start) as usize * CLUSTER];
    read(disk, &mut bytes, clusters.start * CLUSTER as u64)?;
    let mut packed = Vec::new();
    let mut fates = Vec::with_capacity(BATCH as usize);
    for (number, cluster) in (clusters.start..).zip(bytes.chunks_exact(CLUSTER)) {
        let start = number * CLUSTER as u64;
        let inside = |known: &Range<u64>| known.start <= start && start + CLUSTER as u64 <= known.end;
        let fate = if !options.incompressible.iter().any(inside) {
            squeezer.squeeze(cluster, &mut packed)?
        } else if crate::sys::sparse::is_zero(cluster) {
            Fate::Zero
        } else {
            Fate::Stored
        };
        fates.push(fate);
    }
    Ok(Batch { first: clusters.start, bytes, clusters: fates, packed })
}

/// Fills `bytes` from `at` on, as far as the disk goes.
fn read(disk: &File, bytes: &mut [u8], at: u64) -> Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match disk.read_at(&mut bytes[done..], at + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("failed to read the disk"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_share_a_cluster_are_read_once() {
        const C: u64 = CLUSTER as u64;
        let data = [4096..8192, 12288..C + 1, 2 * C..2 * C + 1, 9 * C..30 * C];
        assert_eq!(batches(&data), [0..1, 1..2, 2..3, 9..25, 25..30]);
        assert_eq!(batches(&[]), []);
    }
}
