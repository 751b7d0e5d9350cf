//! What the builder and the node must agree on: bytes in, bytes out.
//!
//! | module | what |
//! |---|---|
//! | [`schema`] | the node config and user-data: read strictly, every problem with its place |
//! | [`harbor`] | Harbor by version: generation, rendered configuration, compose file |
//! | [`version`] | a version of Harbor, and its generation |
//! | [`strict`] | what readers of strict formats share |
//!
//! Invariant: pure. The dependency list has no process, no network and no file system; `tests/tidy.rs` holds the rest.

pub mod harbor;
pub mod schema;
pub mod strict;
pub mod version;
