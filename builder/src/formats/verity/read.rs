//! Verifies a hash device: its superblock, every hash, and the data below.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use uuid::Uuid;

use super::{BLOCK, HASH, Salt, hash_file, superblock, tree};
use crate::sys::digest::Digest;

/// What a hash device says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// Its UUID.
    pub uuid: Uuid,
    /// The data's length in blocks.
    pub blocks: u64,
    /// The salt.
    pub salt: Salt,
}

impl Superblock {
    /// Reads the first block of a hash device; one in another form than habuild writes is an error.
    pub fn parse(block: &[u8]) -> Result<Self> {
        ensure!(block.len() == BLOCK && block.starts_with(b"verity\0\0"), "there is no verity superblock");
        let (mut uuid, mut blocks, mut salt) = ([0; 16], [0; 8], [0; 32]);
        uuid.copy_from_slice(&block[16..32]);
        blocks.copy_from_slice(&block[72..80]);
        salt.copy_from_slice(&block[88..120]);
        let found = Self { uuid: Uuid::from_bytes(uuid), blocks: u64::from_le_bytes(blocks), salt };
        // Version, hash, block sizes, salt length and padding: one form, compared as a whole.
        let ours = superblock(found.blocks, &found.salt, found.uuid);
        ensure!(block == ours.as_slice(), "a verity superblock of another form");
        Ok(found)
    }
}

/// Verifies that `root_hash` stands for every block of the data in `data`, from its start on, by the hash device in
/// `hash`. The data's file may be longer, as a partition is. `threads` threads share the hashing.
pub fn verify(data: &Path, hash: &Path, root_hash: &Digest, threads: usize) -> Result<()> {
    let read = || format!("failed to read {}", hash.display());
    let mut device = File::open(hash).with_context(read)?;
    let mut block = vec![0; BLOCK];
    device.read_exact(&mut block).with_context(read)?;
    let Superblock { blocks, salt, .. } = Superblock::parse(&block).with_context(|| hash.display().to_string())?;

    let file = File::open(data).with_context(|| format!("failed to open {}", data.display()))?;
    let length = file.metadata().with_context(|| format!("failed to stat {}", data.display()))?.len();
    let fits = blocks > 0 && blocks.checked_mul(BLOCK as u64).is_some_and(|bytes| bytes <= length);
    ensure!(fits, "{} has {length} bytes, its hash device is for {blocks} blocks", data.display());
    let leaves =
        hash_file(&file, blocks, &salt, threads).with_context(|| format!("failed to read {}", data.display()))?;
    let (root, levels) = tree(leaves, &salt);
    // The level of the root block comes first; the leaves, last.
    let computed = levels.iter().rev().flatten().copied().collect::<Vec<u8>>();
    let mut stored = vec![0; computed.len()];
    device.read_exact(&mut stored).with_context(read)?;
    if root == *root_hash {
        ensure!(stored == computed, "{} is damaged; the data it stands for is not", hash.display());
        return Ok(());
    }
    let leaves = levels.first().map_or(0, Vec::len);
    let pairs = stored[stored.len() - leaves..].chunks(HASH).zip(computed[computed.len() - leaves..].chunks(HASH));
    match pairs.enumerate().find(|(_, (stored, computed))| stored != computed) {
        Some((number, _)) => bail!("block {number} of {} is not the one that was hashed", data.display()),
        None => bail!("the root hash of {} is {root}, not {root_hash}", data.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::formats::verity::format;

    #[test]
    fn verifies_what_it_wrote_and_names_what_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let (data, hash) = (directory.path().join("data"), directory.path().join("hash"));
        let blocks = 300;
        let bytes: Vec<u8> = (0..blocks * BLOCK).map(|i| (i / 99) as u8).collect();
        std::fs::write(&data, &bytes).unwrap();
        let root = format(&data, &hash, &[5; 32], Uuid::from_u128(9), 2).unwrap();
        let damage = |path: &Path, at: u64, byte: u8| {
            File::options().write(true).open(path).unwrap().write_all_at(&[byte], at).unwrap();
        };
        let said = |root: &Digest| verify(&data, &hash, root, 2).map_err(|error| format!("{error:#}"));
        // A partition is longer than what lies in it.
        File::options().write(true).open(&data).unwrap().set_len(1 << 21).unwrap();
        said(&root).unwrap();

        let superblock = Superblock::parse(&std::fs::read(&hash).unwrap()[..BLOCK]).unwrap();
        assert_eq!(superblock, Superblock { uuid: Uuid::from_u128(9), blocks: 300, salt: [5; 32] });
        let at = 280 * BLOCK + 17;
        damage(&data, at as u64, !bytes[at]);
        assert!(said(&root).unwrap_err().starts_with("block 280 of "), "{:?}", said(&root));
        damage(&data, at as u64, bytes[at]);
        assert!(said(&Digest([1; 32])).unwrap_err().contains("root hash"));
        let stored = std::fs::read(&hash).unwrap();
        for (at, words) in [(0, "no verity superblock"), (16 + 200, "another form"), (BLOCK * 3 + 5, "is damaged")] {
            damage(&hash, at as u64, !stored[at]);
            assert!(said(&root).unwrap_err().contains(words), "{at}: {:?}", said(&root));
            damage(&hash, at as u64, stored[at]);
        }
    }
}
