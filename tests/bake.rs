//! Bakes for real, in the sandbox: equal bits for root and an ordinary user, bad input, cut-off builds, keys, the cache.
//!
//! One bake of a small image fills a cache that most tests then share or copy; the default image is baked once by
//! whoever runs the tests and once by another user. Two builds run at once: most of one is a single process. Packages
//! come from the user's own cache where it has them. Needs what `make setup-tests` installs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "bake/bits.rs"]
mod bits;
#[path = "bake/cached.rs"]
mod cached;
#[path = "bake/caches.rs"]
mod caches;
#[path = "bake/cuts.rs"]
mod cuts;
#[path = "bake/hosts.rs"]
mod hosts;
#[path = "bake/keys.rs"]
mod keys;
#[path = "kit/mirror.rs"]
mod mirror;
#[path = "bake/people.rs"]
mod people;
#[path = "kit/places.rs"]
mod places;
#[path = "kit/server.rs"]
mod server;
#[path = "bake/small.rs"]
mod small;
#[path = "bake/sources.rs"]
mod sources;
#[path = "kit/turns.rs"]
mod turns;
