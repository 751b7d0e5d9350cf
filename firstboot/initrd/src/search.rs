//! Which partitions are this image's, of all that the machine has.
//!
//! The root and its tree have the halves of the root hash as GUIDs (Discoverable Partitions Specification, as systemd's
//! `roothash=` has it). The state is the partition of type `/var` on the same disk: never one of another disk, which
//! may be another node's.

use uuid::Uuid;

use crate::command_line::RootHash;
use crate::failure::Failure;
use crate::gpt::Partition;

/// The type of a partition for `/var` (Discoverable Partitions Specification).
pub const VAR: Uuid = Uuid::from_u128(0x4D21_B016_B534_45C2_A9FB_5C16_E091_FD2D);

/// A disk as far as its table was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name of it.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// The length of its sectors in bytes.
    pub sector: u64,
    /// Its partitions, or why there are none to see: a noun phrase.
    pub table: Result<Vec<Partition>, String>,
}

impl std::fmt::Display for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} MiB: ", self.name, self.size >> 20)?;
        match &self.table {
            Err(fault) => f.write_str(fault),
            Ok(partitions) if partitions.is_empty() => f.write_str("a table without partitions"),
            Ok(partitions) => {
                let guids: Vec<String> = partitions.iter().map(|partition| partition.guid.to_string()).collect();
                write!(f, "partitions {}", guids.join(", "))
            }
        }
    }
}

/// The GUIDs of the root and of its tree.
#[must_use]
pub fn guids(root: &RootHash) -> (Uuid, Uuid) {
    let half = |at: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&root.0[at..at + 16]);
        Uuid::from_bytes(bytes)
    };
    (half(0), half(16))
}

/// The partitions of this image: numbers on one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The disk's name.
    pub disk: String,
    /// The root's number.
    pub root: u32,
    /// Its verity tree's number.
    pub tree: u32,
    /// The state's number.
    pub state: u32,
}

/// Finds them. `None`: no disk has the root, yet.
pub fn find<'a>(disks: impl IntoIterator<Item = &'a Disk>, hash: &RootHash) -> Result<Option<Place>, Failure> {
    let (root, tree) = guids(hash);
    let on = |disk: &'a Disk| -> Vec<(&'a Disk, u32)> {
        let partitions = disk.table.as_deref().unwrap_or_default().iter();
        partitions.filter(|partition| partition.guid == root).map(|partition| (disk, partition.number)).collect()
    };
    let found: Vec<(&Disk, u32)> = disks.into_iter().flat_map(on).collect();
    let (disk, number) = match found.as_slice() {
        [] => return Ok(None),
        [one] => *one,
        many => {
            let places = many.iter().map(|(disk, number)| format!("{} (partition {number})", disk.name));
            return Err(Failure::ManyRoots { guid: root, places: places.collect() });
        }
    };
    let only = |what, is: &dyn Fn(&Partition) -> bool| {
        let partitions = disk.table.as_deref().unwrap_or_default().iter();
        let found: Vec<u32> = partitions.filter(|p| is(p)).map(|partition| partition.number).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            _ => Err(Failure::Partitions { what, disk: disk.to_string(), count: found.len() }),
        }
    };
    let place = Place {
        disk: disk.name.clone(),
        root: number,
        tree: only(format!("the root's verity tree (GUID {tree})"), &|partition| partition.guid == tree)?,
        state: only(format!("the node's state (type {VAR})"), &|partition| partition.kind == VAR)?,
    };
    let ends = disk.table.as_deref().unwrap_or_default().iter().map(|partition| partition.last.saturating_add(1));
    let needed = ends.max().unwrap_or_default().saturating_mul(disk.sector);
    if needed > disk.size {
        return Err(Failure::TooSmall { disk: disk.name.clone(), size: disk.size, needed });
    }
    Ok(Some(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> RootHash {
        RootHash(std::array::from_fn(|i| i as u8 + 1))
    }

    /// A disk of this image: its ESP, root, tree and state.
    fn disk(name: &str) -> Disk {
        let (root, tree) = guids(&hash());
        let of = |number: u32, kind, guid| {
            let (first, last) = (2048 * u64::from(number), 2048 * u64::from(number) + 2047);
            Partition { number, kind: Uuid::from_u128(kind), guid, first, last }
        };
        let table = vec![
            of(2, 2, Uuid::from_u128(2)),
            of(3, 3, root),
            of(4, 4, tree),
            of(5, VAR.as_u128(), Uuid::from_u128(5)),
        ];
        Disk { name: name.to_owned(), size: 6 << 20, sector: 512, table: Ok(table) }
    }

    fn without(number: u32) -> Disk {
        let mut disk = disk("vda");
        disk.table.as_mut().unwrap().retain(|partition| partition.number != number);
        disk
    }

    #[test]
    fn the_halves_of_the_hash_are_the_guids() {
        let (root, tree) = guids(&hash());
        assert_eq!(root.to_string(), "01020304-0506-0708-090a-0b0c0d0e0f10");
        assert_eq!(tree.to_string(), "11121314-1516-1718-191a-1b1c1d1e1f20");
    }

    #[test]
    fn root_tree_and_state_are_found_on_one_disk() {
        let other = Disk { table: Err("no table".to_owned()), ..disk("vda") };
        let place = find([&other, &disk("vdb")], &hash()).unwrap().unwrap();
        assert_eq!(place, Place { disk: "vdb".to_owned(), root: 3, tree: 4, state: 5 });
        assert_eq!(find([&other, &without(3)], &hash()).unwrap(), None);
    }

    #[test]
    fn a_disk_that_is_smaller_than_its_table_is_refused() {
        let small = Disk { size: (6 << 20) - 1, ..disk("vda") };
        let said = find([&small], &hash()).unwrap_err().to_string();
        assert_eq!(said, "the disk vda has 5 MiB, and its partitions end at 6 MiB");
    }

    #[test]
    fn two_disks_of_one_image_and_missing_partitions_are_refused_by_name() {
        let said = find([&disk("vda"), &disk("vdb")], &hash()).unwrap_err().to_string();
        assert!(said.contains("vda (partition 3), vdb (partition 3)"), "{said}");
        // A state of another disk does not count.
        let elsewhere = Disk { name: "vdb".to_owned(), ..without(3) };
        for (number, words) in [(4, "verity tree"), (5, "state")] {
            let said = find([&without(number), &elsewhere], &hash()).unwrap_err().to_string();
            assert!(said.contains(words) && said.contains("vda"), "{said}");
        }
        let mut two_states = disk("vda");
        two_states.table.as_mut().unwrap()[0].kind = VAR;
        assert!(find([&two_states], &hash()).unwrap_err().to_string().contains("2 partitions"));
    }
}
