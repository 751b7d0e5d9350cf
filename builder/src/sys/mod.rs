//! The only module that starts processes, enters namespaces and mounts.

pub mod cmd;
pub mod digest;
pub mod enter;
pub mod file;
pub mod running;
pub mod sandbox;
pub mod sparse;
pub mod tool;
pub mod userns;
