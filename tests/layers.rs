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
#[path = "layers/steps.rs"]
mod steps;
#[path = "layers/store.rs"]
mod store;
#[path = "layers/umask.rs"]
mod umask;
