//! Process 1 of an image's initrd: opens the verified root, checks and mounts the state, and becomes systemd.
//!
//! | module | what | pure |
//! |---|---|---|
//! | [`command_line`] | what the kernel was told | yes |
//! | [`gpt`] | a disk's partition table | yes |
//! | [`growth`] | what is written so that the last partition grows | yes |
//! | [`superblock`] | dm-verity's superblock, and the kernel's table for it | yes |
//! | [`state`] | what a state partition holds | yes |
//! | [`index`] | which modules there are, and what they need | yes |
//! | [`search`] | which partitions are this image's | yes |
//! | [`failure`] | everything that can go wrong, in words | yes |
//! | [`boot`] | the whole story | |
//! | [`modules`] | kernel modules, loaded | |
//! | [`disks`] | the machine's disks | |
//! | [`verity`] | the verified device | |
//! | [`check`] | the state's file system check | |
//! | [`debug`] | a shell, if somebody asked for one | |
//! | [`grow`] | the state, grown to the disk's end | |
//! | [`programs`] | programs of the root, run before it is the root | |
//! | [`mounts`] | mounts, and the change of the root | |
//! | [`say`] | the kernel's log, consoles, and the end | |
//!
//! Invariant: what is verified is `habuild.root=` of the kernel's command line. Nothing of a disk is believed before it
//! was compared with that, but partition tables and superblocks: a false one leads to blocks that the kernel refuses.

pub mod boot;
pub mod check;
pub mod command_line;
pub mod debug;
pub mod disks;
pub mod failure;
pub mod gpt;
pub mod grow;
pub mod growth;
pub mod index;
pub mod modules;
pub mod mounts;
pub mod programs;
pub mod say;
pub mod search;
pub mod state;
pub mod superblock;
pub mod verity;

/// Boots the node. What goes wrong is said on every console; then the machine starts again, or stays, as the kernel's
/// `panic=` says.
pub fn run() -> ! {
    let failure = match boot::boot() {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    say::fail(&failure)
}
