//! The only room that starts processes, enters namespaces and mounts.

pub mod cmd;
pub mod digest;
mod tool;
