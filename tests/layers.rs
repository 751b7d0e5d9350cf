//! Layers without a sandbox, a network or an archive: keys, steps, tars and the store, on roots of a few files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "layers/builder.rs"]
mod builder;
#[path = "layers/fetch.rs"]
mod fetch;
#[path = "layers/keys.rs"]
mod keys;
#[path = "layers/pack.rs"]
mod pack;
#[path = "kit/server.rs"]
mod server;
#[path = "kit/specs.rs"]
mod specs;
#[path = "layers/steps.rs"]
mod steps;
#[path = "layers/store.rs"]
mod store;
#[path = "layers/umask.rs"]
mod umask;

/// The permissions of what lies at `path`; a link's own.
fn mode(path: &std::path::Path) -> u32 {
    std::os::unix::fs::MetadataExt::mode(&std::fs::symlink_metadata(path).unwrap()) & 0o7777
}
