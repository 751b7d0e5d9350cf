//! (export)
pub mod qcow2;
pub mod raw;
mod sparse;
