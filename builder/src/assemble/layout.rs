//! Where the node's partitions lie and what they are called: arithmetic only.
//!
//! Invariant: pure. Partitions follow one another in the order given, from 1 MiB on, each on a MiB; one more MiB at the
//! end holds the backup table.

use anyhow::{Context as _, Result};
use uuid::{Builder, Uuid};

use crate::formats::gpt::{self, Partition, Table};
use crate::sys::digest::Digest;

/// The alignment of every partition, in bytes.
pub const MIB: u64 = 1 << 20;
/// The length in bytes of the partition that holds GRUB's core image for BIOS machines.
pub const BIOS_BOOT_SIZE: u64 = MIB;

/// GRUB's core image on a BIOS machine ("Hah!IdontNeedEFI").
pub const BIOS_BOOT: Uuid = Uuid::from_u128(0x21686148_6449_6E6F_744E_656564454649);
/// The EFI system partition (UEFI specification).
pub const ESP: Uuid = Uuid::from_u128(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B);
/// An x86-64 root file system (Discoverable Partitions Specification).
pub const ROOT_X86_64: Uuid = Uuid::from_u128(0x4F68BCE3_E8CD_4DB1_96E7_FBCAF984B709);
/// The dm-verity tree of an x86-64 root (Discoverable Partitions Specification).
pub const ROOT_X86_64_VERITY: Uuid = Uuid::from_u128(0x2C7357ED_EBD2_46D9_AEC1_23D437EC2BF5);
/// `/var` (Discoverable Partitions Specification).
pub const VAR: Uuid = Uuid::from_u128(0x4D21B016_B534_45C2_A9FB_5C16E091FD2D);

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// GRUB's core image for BIOS machines, without a file system.
    BiosBoot,
    /// The EFI system partition: GRUB, kernel and initrd.
    Esp,
    /// The read-only root file system.
    Root,
    /// The dm-verity tree of the root.
    RootVerity,
    /// The writable `/var`. Last, so that it can grow.
    State,
}

impl Role {
    /// The partition's name: for people, and for tools that list partitions. (Nothing is found by it.)
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BiosBoot => "bios",
            Self::Esp => "esp",
            Self::Root => "root",
            Self::RootVerity => "root-verity",
            Self::State => "state",
        }
    }

    /// The partition's type.
    #[must_use]
    pub fn kind(self) -> Uuid {
        match self {
            Self::BiosBoot => BIOS_BOOT,
            Self::Esp => ESP,
            Self::Root => ROOT_X86_64,
            Self::RootVerity => ROOT_X86_64_VERITY,
            Self::State => VAR,
        }
    }

    fn attributes(self) -> u64 {
        match self {
            Self::Root | Self::RootVerity => gpt::READ_ONLY,
            Self::BiosBoot | Self::Esp | Self::State => 0,
        }
    }
}

/// Where one partition lies, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// What it is for.
    pub role: Role,
    /// Its first byte on the disk, a multiple of 1 MiB.
    pub offset: u64,
    /// Its length, a multiple of 1 MiB: what was asked for, rounded up.
    pub length: u64,
}

impl Placed {
    /// Its first sector: a file system's "hidden sectors".
    #[must_use]
    pub fn first_lba(&self) -> u64 {
        self.offset / gpt::SECTOR
    }
}

/// The partitions of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// In the order of the disk.
    pub partitions: Vec<Placed>,
    /// The length of the disk in bytes, a multiple of 1 MiB.
    pub size: u64,
}

impl Layout {
    /// Lays out partitions of at least the given lengths in bytes.
    pub fn of(wanted: &[(Role, u64)]) -> Result<Self> {
        let mut end = MIB;
        let mut partitions = Vec::with_capacity(wanted.len());
        for &(role, bytes) in wanted {
            let too_large = || format!("partition {:?} of {bytes} bytes is too large for a disk", role.name());
            let length = bytes.max(1).checked_next_multiple_of(MIB).with_context(too_large)?;
            partitions.push(Placed { role, offset: end, length });
            // Far below the 2^64 bytes that would overflow, so that the last MiB can be added.
            end = end.checked_add(length).filter(|end| *end < 1 << 63).with_context(too_large)?;
        }
        Ok(Self { partitions, size: end + MIB })
    }

    /// The partition with that role.
    #[must_use]
    pub fn get(&self, role: Role) -> Option<&Placed> {
        self.partitions.iter().find(|partition| partition.role == role)
    }

    /// The partition table. `identity` is the root hash if the root has a verity tree, otherwise any digest that tells
    /// this image from others.
    ///
    /// A root with a tree, and the tree, have the GUIDs by which the initrd finds them: the halves of the root hash.
    #[must_use]
    pub fn table(&self, identity: &Digest) -> Table {
        let verity = self.get(Role::RootVerity).is_some();
        let partition = |placed: &Placed| Partition {
            kind: placed.role.kind(),
            guid: match placed.role {
                Role::Root | Role::RootVerity if verity => of_root_hash(identity, placed.role),
                role => derived(identity, role.name()),
            },
            name: placed.role.name().to_owned(),
            first_lba: placed.first_lba(),
            sectors: placed.length / gpt::SECTOR,
            attributes: placed.role.attributes(),
        };
        Table { disk: derived(identity, "disk"), partitions: self.partitions.iter().map(partition).collect() }
    }
}

/// The GUID by which `systemd-veritysetup-generator` finds the root (first half of the root hash) and its tree (last).
fn of_root_hash(root_hash: &Digest, role: Role) -> Uuid {
    let half = if role == Role::Root { &root_hash.0[..16] } else { &root_hash.0[16..] };
    let mut bytes = [0; 16];
    bytes.copy_from_slice(half);
    Uuid::from_bytes(bytes)
}

/// The GUID of a part of this image that nothing else prescribes; also for file systems' UUIDs.
#[must_use]
pub fn derived(identity: &Digest, name: &str) -> Uuid {
    let digest = Digest::of(&[identity.0.as_slice(), name.as_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.0[..16]);
    // Version 8, RFC 9562: all bits are kept but the six that say so.
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [(Role, u64); 5] = [
        (Role::BiosBoot, BIOS_BOOT_SIZE),
        (Role::Esp, 64 * MIB),
        (Role::Root, 400 * MIB + 1),
        (Role::RootVerity, 3 * MIB + 4096),
        (Role::State, 8 << 30),
    ];

    #[test]
    fn partitions_follow_one_another_on_whole_mib() {
        let layout = Layout::of(&WANTED).unwrap();
        let places: Vec<_> = layout.partitions.iter().map(|p| (p.offset / MIB, p.length / MIB)).collect();
        assert_eq!(places, [(1, 1), (2, 64), (66, 401), (467, 4), (471, 8192)]);
        assert_eq!(layout.size, (471 + 8192 + 1) * MIB);
        assert_eq!(layout.get(Role::Esp).unwrap().first_lba(), 4096);
        assert!(Layout::of(&[(Role::Root, u64::MAX)]).is_err());
        assert!(Layout::of(&[(Role::Root, 1 << 62), (Role::State, 1 << 62)]).is_err());
    }

    #[test]
    fn the_root_hash_names_root_and_tree_and_all_others_are_derived() {
        let hash = Digest::parse("0123456789abcdef0123456789abcdeffedcba9876543210fedcba9876543210").unwrap();
        let layout = Layout::of(&WANTED).unwrap();
        let guids: Vec<_> = layout.table(&hash).partitions.iter().map(|p| p.guid.to_string()).collect();
        assert_eq!(guids[2], "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(guids[3], "fedcba98-7654-3210-fedc-ba9876543210");
        for guid in [&guids[0], &guids[1], &guids[4]] {
            assert_eq!(&guid[14..15], "8", "{guid}");
        }

        let without = Layout::of(&WANTED[..3]).unwrap().table(&hash);
        assert_eq!(without.partitions[2].guid, derived(&hash, "root"));
        assert_ne!(derived(&hash, "root"), derived(&hash, "state"));
    }
}
