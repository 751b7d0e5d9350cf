//! The images of a `docker save` archive, as Docker's classic `overlay2` store has them, without Docker.
//!
//! The archive is read once. Each layer is unpacked as it comes, checked against its digest, and kept in the cache, where
//! the next archive finds it. A store is then laid out around the layers: small files and directories, and a list of
//! which layer belongs where.
//!
//! Invariant: equal archives, equal bits; memory does not grow with the archive's length.

mod archive;
mod configuration;
mod crc64;
mod frames;
mod images;
mod layer;
mod layout;
pub mod marks;
mod reference;
mod split;

pub(in crate::bake) use archive::tags_of;
pub use archive::{Archive, Image, OtherLayer, read};
pub use images::{BUILDER, Images, StoredLayer, key as layer_key};
pub use layout::{LaidOut, chains, lay_out};
