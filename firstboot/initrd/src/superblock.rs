//! dm-verity's superblock, checked, and the table that the kernel gets for it.
//!
//! Formats: cryptsetup's wiki page "DMVerity" for the superblock; the kernel's `admin-guide/device-mapper/verity.rst`
//! for the table.

use std::fmt::Write as _;

use uuid::Uuid;

use crate::command_line::RootHash;

/// Bytes of the superblock.
pub const SIZE: usize = 512;
const MOST_SALT: usize = 256;
/// What the kernel's device mapper counts in.
const SECTOR: u64 = 512;

/// A superblock of a SHA-256 tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The tree's UUID.
    pub uuid: Uuid,
    /// Bytes of a data block and of a hash block.
    block: (u32, u32),
    /// How many data blocks there are.
    data_blocks: u64,
    salt: Vec<u8>,
}

/// What is wrong with a superblock: a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault(pub &'static str);

impl Superblock {
    /// Reads the superblock of a tree over a partition of `data` bytes.
    pub fn parse(bytes: &[u8], data: u64) -> Result<Self, Fault> {
        let bytes: &[u8; SIZE] =
            bytes.get(..SIZE).and_then(|bytes| bytes.try_into().ok()).ok_or(Fault("the partition is too short"))?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let check = |holds: bool, fault| if holds { Ok(()) } else { Err(Fault(fault)) };
        check(&bytes[..8] == b"verity\0\0", "there is none")?;
        check(u32_at(8) == 1, "its version is not 1")?;
        check(u32_at(12) == 1, "its hash type is not 1")?;
        check(&bytes[32..39] == b"sha256\0", "its algorithm is not sha256")?;
        let block = (u32_at(64), u32_at(68));
        let possible = |size: u32| size.is_power_of_two() && (512..=4096).contains(&size);
        check(possible(block.0) && possible(block.1), "its block sizes are not 512 to 4096 bytes")?;
        let data_blocks = u64::from(u32_at(72)) | u64::from(u32_at(76)) << 32;
        let length = data_blocks.checked_mul(u64::from(block.0));
        check(data_blocks > 0 && length.is_some_and(|l| l <= data), "it covers more than the root partition has")?;
        let salt = usize::from(u16::from_le_bytes([bytes[80], bytes[81]]));
        check(salt <= MOST_SALT, "its salt is longer than 256 bytes")?;
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[16..32]);
        Ok(Self { uuid: Uuid::from_bytes(uuid), block, data_blocks, salt: bytes[88..88 + salt].to_vec() })
    }

    /// The length of the verified device in sectors.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.data_blocks * u64::from(self.block.0) / SECTOR
    }

    /// The parameters of the kernel's target `verity`: a damaged block is never handed out, the kernel panics.
    #[must_use]
    pub fn table(&self, root: &RootHash, data: &str, tree: &str) -> String {
        let Self { block: (data_block, hash_block), data_blocks, .. } = self;
        // The superblock takes the first hash block; in one of 512 bytes it fits exactly.
        let first = 1;
        let mut salt = String::new();
        self.salt.iter().for_each(|byte| _ = write!(salt, "{byte:02x}"));
        if salt.is_empty() {
            salt.push('-');
        }
        format!(
            "1 {data} {tree} {data_block} {hash_block} {data_blocks} {first} sha256 {root} {salt} \
             1 panic_on_corruption"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u64 = 10 * 4096;

    fn superblock(change: impl Fn(&mut [u8])) -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        bytes[..6].copy_from_slice(b"verity");
        (bytes[8], bytes[12], bytes[16]) = (1, 1, 0xab);
        bytes[32..38].copy_from_slice(b"sha256");
        (bytes[65], bytes[69], bytes[72], bytes[80]) = (16, 16, 10, 2);
        (bytes[88], bytes[89]) = (0x0a, 0xff);
        change(&mut bytes);
        bytes
    }

    #[test]
    fn the_table_holds_what_the_superblock_and_the_command_line_say() {
        let read = Superblock::parse(&superblock(|_| ()), DATA).unwrap();
        assert_eq!(read.sectors(), 80);
        let root = RootHash([0x11; 32]);
        let expected = format!("1 /dev/a /dev/b 4096 4096 10 1 sha256 {root} 0aff 1 panic_on_corruption");
        assert_eq!(read.table(&root, "/dev/a", "/dev/b"), expected);
        let unsalted = Superblock::parse(&superblock(|b| b[80] = 0), DATA).unwrap();
        assert!(unsalted.table(&root, "a", "b").ends_with(" - 1 panic_on_corruption"));
    }

    #[test]
    fn what_is_damaged_is_named() {
        type Change = fn(&mut [u8]);
        let cases: [(&str, Change); 9] = [
            ("there is none", |b| b[0] = 0),
            ("version", |b| b[8] = 2),
            ("hash type", |b| b[12] = 0),
            ("algorithm", |b| b[32..38].copy_from_slice(b"sha512")),
            ("block sizes", |b| b[65] = 17),
            ("block sizes", |b| b[69] = 32),
            ("covers more", |b| b[72] = 11),
            ("covers more", |b| b[72..80].fill(0xff)),
            ("salt", |b| b[81] = 1),
        ];
        for (expected, change) in cases {
            let fault = Superblock::parse(&superblock(change), DATA).unwrap_err();
            assert!(fault.0.contains(expected), "{} for {expected}", fault.0);
        }
        assert!(Superblock::parse(&superblock(|b| b[72] = 0), DATA).is_err());
        assert!(Superblock::parse(&[0; SIZE - 1], DATA).is_err());
    }
}
