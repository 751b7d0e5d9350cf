//! `bundle.json` and `images.json`: what the bake found out about the bundle, for the node.

use serde::{Deserialize, Serialize};

use super::defaults::Defaults;
use crate::version::{Generation, Version};

/// The version of this record's form.
pub const SCHEMA: u32 = 1;

/// What an image says of its bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The bundle's version.
    pub version: Version,
    /// How this version is configured.
    pub generation: Generation,
    /// The container images in Docker's store, by name and tag.
    #[serde(default)]
    pub images: Vec<String>,
    /// The image's defaults for Harbor's own settings.
    #[serde(default, skip_serializing_if = "Defaults::is_empty")]
    pub settings: Defaults,
}

/// The container images in Docker's store as they were baked: what a node compares its own store with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageList {
    /// [`SCHEMA`].
    pub schema: u32,
    /// In the archive's order.
    pub images: Vec<ImageRecord>,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRecord {
    /// The SHA-256 digest of its configuration, which Docker calls it by.
    pub id: String,
    /// Its names with tags.
    pub names: Vec<String>,
    /// The chain id of each of its layers, bottom first.
    pub chains: Vec<String>,
}
