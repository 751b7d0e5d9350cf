//! What a state partition holds, told from its first bytes: an ext4 file system, or a reason why it is not mounted.

use crate::gpt::u32_at;

/// As many bytes as are looked at.
pub const LOOKED_AT: usize = 2048;

/// What a partition's first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An ext2, ext3 or ext4 superblock (the kernel's `ext4.rst`: magic 0xEF53 at 1024 + 0x38).
    Ext,
    /// A LUKS header (cryptsetup's on-disk format: magic at 0).
    Encrypted,
    /// Zeroes.
    Empty,
    /// Something else.
    Other,
}

impl Content {
    /// Tells what `bytes`, the first of a partition, are.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        const MAGIC: usize = 1024 + 0x38;
        if bytes.get(MAGIC..MAGIC + 2) == Some(&[0x53, 0xef]) {
            Self::Ext
        } else if bytes.starts_with(b"LUKS\xba\xbe") {
            Self::Encrypted
        } else if bytes.iter().all(|byte| *byte == 0) {
            Self::Empty
        } else {
            Self::Other
        }
    }
}

/// The length in bytes that the superblock of an ext4 file system says; `bytes` are a partition's first (the kernel's `ext4.rst`:
/// `s_blocks_count_lo` at 4, `s_log_block_size` at 0x18, `s_feature_incompat` at 0x60, `s_blocks_count_hi` at 0x150).
#[must_use]
pub fn length(bytes: &[u8]) -> Option<u64> {
    const SUPERBLOCK: usize = 1024;
    const INCOMPAT_64BIT: u32 = 0x80;
    let at = |at| u32_at(bytes, SUPERBLOCK + at);
    let high = if at(0x60)? & INCOMPAT_64BIT == 0 { 0 } else { at(0x150)? };
    let blocks = u64::from(high) << 32 | u64::from(at(4)?);
    blocks.checked_mul(1024_u64.checked_shl(at(0x18)?)?)
}

impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ext => "an ext4 file system",
            Self::Encrypted => "an encrypted volume (LUKS)",
            Self::Empty => "nothing but zeroes",
            Self::Other => "no ext4 file system",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_systems_length() {
        let mut bytes = vec![0; LOOKED_AT];
        bytes[1028] = 3;
        bytes[1024 + 0x18] = 2;
        bytes[1024 + 0x150] = 1;
        assert_eq!(length(&bytes), Some(3 * 4096), "the upper half counts with the feature only");
        bytes[1024 + 0x60] = 0x80;
        assert_eq!(length(&bytes), Some(((1 << 32) + 3) * 4096));
        bytes[1024 + 0x18] = 200;
        assert_eq!(length(&bytes), None);
    }

    #[test]
    fn contents_are_told_apart() {
        let with = |at: usize, bytes: &[u8]| {
            let mut all = vec![0; LOOKED_AT];
            all[at..at + bytes.len()].copy_from_slice(bytes);
            Content::of(&all)
        };
        assert_eq!(with(1080, &[0x53, 0xef]), Content::Ext);
        assert_eq!(with(0, b"LUKS\xba\xbe\0\x02"), Content::Encrypted);
        assert_eq!(with(0, &[]), Content::Empty);
        assert_eq!(with(7, &[1]), Content::Other);
        assert_eq!(Content::of(&[]), Content::Empty);
    }
}
