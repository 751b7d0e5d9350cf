//! (export)
pub mod qcow2;
pub mod raw;
pub mod seed;
mod sparse;
