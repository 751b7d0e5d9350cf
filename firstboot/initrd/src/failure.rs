//! Everything that keeps the initrd from starting the node, in words: what was looked for, what was found.

use std::fmt::{Display, Formatter, Result};
use std::io::Error;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use crate::state::Content;

/// What went wrong.
#[derive(Debug)]
pub enum Failure {
    /// The command line has no root hash.
    NoRootHash,
    /// The root hash is none.
    RootHash {
        /// What stands there.
        text: String,
    },
    /// The command line has several.
    ManyRootHashes {
        /// How many.
        count: usize,
    },
    /// No disk has the root's partition.
    NoRoot {
        /// The GUID that was looked for.
        guid: Uuid,
        /// How long.
        waited: Duration,
        /// The disks that were there.
        disks: Vec<String>,
        /// Modules that could not be loaded, and why.
        modules: Vec<String>,
    },
    /// Several partitions are the root.
    ManyRoots {
        /// The GUID that they have.
        guid: Uuid,
        /// Where they are.
        places: Vec<String>,
    },
    /// The root's disk has not exactly one partition of some kind.
    Partitions {
        /// What was looked for.
        what: String,
        /// The disk and what is on it.
        disk: String,
        /// How many there are.
        count: usize,
    },
    /// The disk ends before its partitions do.
    TooSmall {
        /// The disk.
        disk: String,
        /// Its length in bytes.
        size: u64,
        /// Where its last partition ends, in bytes.
        needed: u64,
    },
    /// The kernel made no device for a partition that the table has.
    NoDevice {
        /// The disk.
        disk: String,
        /// The partition's number.
        number: u32,
    },
    /// The tree has no superblock that can be used.
    Superblock {
        /// The tree's device.
        path: PathBuf,
        /// What is wrong with it: a clause.
        fault: &'static str,
    },
    /// The kernel refused the verity device.
    Verity {
        /// The table that it was given.
        table: String,
        /// What was said.
        cause: String,
    },
    /// The state partition holds no ext4 file system.
    State {
        /// Its device.
        path: PathBuf,
        /// What it holds instead.
        content: Content,
    },
    /// The state's file system cannot be repaired without a person.
    Check {
        /// Its device.
        path: PathBuf,
        /// e2fsck's exit code; none if a signal ended it.
        code: Option<i32>,
        /// What e2fsck said.
        said: String,
    },
    /// Something of the system failed.
    System {
        /// What was tried: "mount A on B".
        what: String,
        /// The system's reason.
        cause: Error,
    },
}

impl Failure {
    /// What whoever reads it can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoRootHash | Self::RootHash { .. } | Self::ManyRootHashes { .. } => {
                "correct grub/grub.cfg on the ESP, or start a new machine from the image"
            }
            Self::NoRoot { .. } => {
                "attach the disk with this image, by an interface that it has a driver for: virtio, NVMe, Xen, Hyper-V, VMware, SATA"
            }
            Self::TooSmall { .. } => {
                "give the machine a disk that is at least as large as the image, and copy the image to it anew"
            }
            Self::ManyRoots { .. } => "detach all disks with this image but one",
            Self::Partitions { .. } | Self::NoDevice { .. } | Self::Superblock { .. } | Self::Verity { .. } => {
                "the disk is damaged, or not all of the image was copied: start a new machine from the image"
            }
            Self::State { .. } | Self::Check { .. } => {
                "start a new machine from the image; for what is in /var, attach this disk to another machine and run e2fsck there"
            }
            Self::System { .. } => "start the machine again; if it says so again, start a new one from the image",
        }
    }

    /// A failure of what was tried.
    pub fn system(what: impl Into<String>, cause: impl Into<Error>) -> Self {
        Self::System { what: what.into(), cause: cause.into() }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::NoRootHash => f.write_str(
                "the kernel's command line has no habuild.root=, so it is not known which image to start: the boot \
                 loader's configuration is not this image's",
            ),
            Self::RootHash { text } => {
                write!(f, "habuild.root={text} of the kernel's command line is not 64 hexadecimal digits")
            }
            Self::ManyRootHashes { count } => {
                write!(f, "habuild.root= stands {count} times on the kernel's command line, it has to be there once")
            }
            Self::NoRoot { guid, waited, disks, modules } => {
                write!(f, "no disk has the root partition (GUID {guid}); waited {} seconds", waited.as_secs())?;
                write!(f, "\nthese disks were found:{}", if disks.is_empty() { " none" } else { "" })?;
                disks.iter().try_for_each(|disk| write!(f, "\n- {disk}"))?;
                modules.iter().try_for_each(|module| write!(f, "\ndriver {module}"))
            }
            Self::ManyRoots { guid, places } => write!(
                f,
                "the root partition (GUID {guid}) is there {} times: {}\nit is not known whose state is this node's",
                places.len(),
                places.join(", ")
            ),
            Self::Partitions { what, disk, count: 0 } => {
                write!(f, "the root's disk has no partition for {what}\n{disk}")
            }
            Self::Partitions { what, disk, count } => {
                write!(f, "the root's disk has {count} partitions for {what}, one is wanted\n{disk}")
            }
            Self::TooSmall { disk, size, needed } => {
                write!(
                    f,
                    "the disk {disk} has {} MiB, and its partitions end at {} MiB",
                    size >> 20,
                    needed.div_ceil(1 << 20)
                )
            }
            Self::NoDevice { disk, number } => {
                write!(f, "partition {number} stands in the table of {disk}, and the kernel has no device for it")
            }
            Self::Superblock { path, fault } => {
                write!(f, "the verity superblock of {} cannot be used: {fault}", path.display())
            }
            Self::Verity { table, cause } => {
                write!(f, "the kernel refused the verified root: {cause}\ntable: {table}")
            }
            Self::State { path, content } => write!(
                f,
                "the state partition {} holds {content}, where the node's ext4 file system has to be",
                path.display()
            ),
            Self::Check { path, code, said } => {
                let code = code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
                write!(
                    f,
                    "the state's file system on {} cannot be repaired unattended (e2fsck: {code})",
                    path.display()
                )?;
                said.lines().try_for_each(|line| write!(f, "\n{line}"))
            }
            Self::System { what, cause } => write!(f, "could not {what}: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_nowhere_comes_with_all_that_was_seen() {
        let mut failure = Failure::NoRoot {
            guid: Uuid::from_u128(7),
            waited: Duration::from_secs(90),
            disks: vec!["vda of 5 MiB: no GUID partition table".to_owned()],
            modules: vec!["nvme: Invalid argument".to_owned()],
        };
        assert_eq!(
            failure.to_string(),
            "no disk has the root partition (GUID 00000000-0000-0000-0000-000000000007); waited 90 seconds\n\
             these disks were found:\n- vda of 5 MiB: no GUID partition table\ndriver nvme: Invalid argument"
        );
        if let Failure::NoRoot { disks, .. } = &mut failure {
            disks.clear();
        }
        assert!(failure.to_string().contains("these disks were found: none\n"));
    }

    #[test]
    fn who_reads_it_is_told_what_to_do() {
        let state = Failure::State { path: "/dev/vda5".into(), content: Content::Empty };
        assert!(state.remedy().contains("run e2fsck there"));
        assert!(Failure::ManyRoots { guid: Uuid::nil(), places: Vec::new() }.remedy().starts_with("detach"));
        assert!(Failure::NoRootHash.remedy().contains("grub.cfg"));
    }

    #[test]
    fn what_a_check_said_is_kept() {
        let said = "inode 12 is odd\nrun it manually\n".to_owned();
        let failure = Failure::Check { path: "/dev/vda5".into(), code: Some(4), said };
        let words = failure.to_string();
        assert!(words.ends_with(
            "/dev/vda5 cannot be repaired unattended (e2fsck: exit code 4)\ninode 12 is odd\nrun it manually"
        ));
    }
}
