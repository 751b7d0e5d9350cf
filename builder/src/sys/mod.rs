//! The only module that starts processes, enters namespaces and mounts.

pub mod cmd;
pub mod digest;
pub(crate) mod enter;
pub(crate) mod exit;
pub(crate) mod file;
pub mod running;
pub(crate) mod sandbox;
pub(crate) mod sparse;
pub mod tool;
pub(crate) mod userns;
