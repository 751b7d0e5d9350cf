//! The dm-verity hash device of a read-only root: a superblock and a tree of SHA-256 hashes.
//!
//! Invariant: what is written depends on the data, the salt and the UUID alone, and equals what
//! `veritysetup format --salt --uuid` writes. Format: the kernel's `admin-guide/device-mapper/verity.rst`, and
//! cryptsetup's wiki page "DMVerity" for the superblock; version 1, blocks of 4096 bytes.

mod read;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub use self::read::{Superblock, verify};
use crate::sys::digest::Digest;

/// Bytes in a block, of data and of hashes alike.
pub const BLOCK: usize = 4096;
/// The salt, hashed in front of every block.
pub type Salt = [u8; 32];

const HASH: usize = 32;
/// Data blocks a thread reads and hashes at a time: 2 MiB.
const BATCH: usize = 512;

/// Writes the hash device of the file `data` to the file `hash`, which is created or replaced, and returns the root
/// hash. `data` must be whole blocks; `threads` threads share the hashing.
pub fn format(data: &Path, hash: &Path, salt: &Salt, uuid: Uuid, threads: usize) -> Result<Digest> {
    let file = File::open(data).with_context(|| format!("failed to open {}", data.display()))?;
    let length = file.metadata().with_context(|| format!("failed to stat {}", data.display()))?.len();
    let whole = length > 0 && length.is_multiple_of(BLOCK as u64);
    ensure!(whole, "{} has {length} bytes, not a whole number of {BLOCK}-byte blocks", data.display());
    let blocks = length / BLOCK as u64;

    let leaves =
        hash_file(&file, blocks, salt, threads).with_context(|| format!("failed to read {}", data.display()))?;
    let (root, levels) = tree(leaves, salt);

    let written = File::create(hash).and_then(|mut out| {
        out.write_all(&superblock(blocks, salt, uuid))?;
        // The level of the root block comes first.
        levels.iter().rev().try_for_each(|level| out.write_all(level))
    });
    written.with_context(|| format!("failed to write {}", hash.display()))?;
    Ok(root)
}

/// The length in bytes of the hash device of `data` bytes.
#[must_use]
pub fn hash_device_size(data: u64) -> u64 {
    let per_block = (BLOCK / HASH) as u64;
    let (mut total, mut level) = (1, data.div_ceil(BLOCK as u64));
    while level > 1 {
        level = level.div_ceil(per_block);
        total += level;
    }
    total * BLOCK as u64
}

/// The hashes of a file's blocks, one behind the other.
fn hash_file(file: &File, blocks: u64, salt: &Salt, threads: usize) -> Result<Vec<u8>> {
    let mut hashes = vec![0; usize::try_from(blocks)? * HASH];
    // Each batch is a stretch of the result, so that threads need no order among them.
    let batches = Mutex::new(hashes.chunks_mut(BATCH * HASH).enumerate());
    let next = || batches.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut buffer = vec![0; BATCH * BLOCK];
        while let Some((number, hashes)) = next() {
            let data = &mut buffer[..hashes.len() / HASH * BLOCK];
            file.read_exact_at(data, (number * BATCH * BLOCK) as u64)?;
            hash_blocks(data, salt, hashes);
        }
        anyhow::Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
        ended.collect::<Result<()>>()
    })?;
    Ok(hashes)
}

/// The root hash above `leaves`, and the levels between them, from the leaves up, each padded to whole blocks.
fn tree(leaves: Vec<u8>, salt: &Salt) -> (Digest, Vec<Vec<u8>>) {
    let mut levels = Vec::new();
    let mut level = leaves;
    while level.len() > HASH {
        level.resize(level.len().next_multiple_of(BLOCK), 0);
        let mut above = vec![0; level.len() / BLOCK * HASH];
        hash_blocks(&level, salt, &mut above);
        levels.push(level);
        level = above;
    }
    // A single data block has no tree: its hash is the root hash.
    let mut root = [0; HASH];
    root.copy_from_slice(&level);
    (Digest(root), levels)
}

/// Hashes each block of `data` into its place in `hashes`.
fn hash_blocks(data: &[u8], salt: &Salt, hashes: &mut [u8]) {
    let salted = Sha256::new_with_prefix(salt);
    for (block, hash) in data.chunks_exact(BLOCK).zip(hashes.chunks_exact_mut(HASH)) {
        hash.copy_from_slice(&salted.clone().chain_update(block).finalize());
    }
}

fn superblock(blocks: u64, salt: &Salt, uuid: Uuid) -> [u8; BLOCK] {
    let mut superblock = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| superblock[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"verity");
    put(8, &1u32.to_le_bytes()); // version of the superblock
    put(12, &1u32.to_le_bytes()); // hash type: the salt comes first
    put(16, uuid.as_bytes());
    put(32, b"sha256");
    put(64, &(BLOCK as u32).to_le_bytes());
    put(68, &(BLOCK as u32).to_le_bytes());
    put(72, &blocks.to_le_bytes());
    put(80, &(salt.len() as u16).to_le_bytes());
    put(88, salt);
    superblock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_as_long_as_announced_and_threads_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (data, hash) = (directory.path().join("data"), directory.path().join("hash"));
        for blocks in [1, 2, 128, 129, 513, 128 * 128 + 1] {
            let bytes: Vec<u8> = (0..blocks * BLOCK).map(|i| (i / 99) as u8).collect();
            std::fs::write(&data, &bytes).unwrap();
            let results = [1, 3].map(|threads| {
                let root = format(&data, &hash, &[5; 32], Uuid::from_u128(9), threads).unwrap();
                (root, std::fs::read(&hash).unwrap())
            });
            assert!(results[0] == results[1], "{blocks} blocks");
            assert_eq!(results[0].1.len() as u64, hash_device_size((blocks * BLOCK) as u64));
        }
    }

    #[test]
    fn data_of_no_or_broken_blocks_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for length in [0, 1, 4097] {
            file.as_file().set_len(length).unwrap();
            let error = format(file.path(), Path::new("/absent/hash"), &[0; 32], Uuid::from_u128(0), 1).unwrap_err();
            assert!(error.to_string().starts_with(&file.path().display().to_string()), "{error}");
        }
    }
}
