//! File and disk formats that habuild writes itself: partition table, FAT, verity tree, disk images.
//!
//! Invariant: a format is a function of its arguments. It knows no plan, no layer and no image.

pub mod fat;
pub mod gpt;
pub mod qcow2;
pub(crate) mod raw;
pub mod verity;
