//! The image spec, `images/NAME.toml`: what to bake.

use serde::{Deserialize, Serialize};

use super::names::{ByteSize, Distribution};
use crate::sys::digest::Digest;

/// An image spec with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Lower-case letters, digits and hyphens; names the output directory and files.
    pub name: String,
    /// Layer names, bottom first. The first must be `base`.
    pub layers: Vec<String>,
    /// The distribution to start from.
    pub base: Base,
    /// The Harbor bundle, for the layer that unpacks it.
    pub harbor: Option<Harbor>,
    /// The disk's shape.
    pub disk: Disk,
    /// What to make of the disk.
    pub artifacts: Artifacts,
}

/// `[base]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// `ubuntu` or `debian`.
    pub distribution: Distribution,
    /// The release's code name, such as `noble`.
    pub release: String,
    /// `amd64`.
    pub architecture: String,
    /// The archive's URL; `None`: the bootstrapping tool's own default for the release.
    pub mirror: Option<String>,
    /// A snapshot archive's URL, asked for versions that are gone from the mirror.
    pub snapshot: Option<String>,
}

/// `[harbor]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harbor {
    /// A path (from the project's directory on, unless absolute), or an https URL.
    pub bundle: String,
    /// Required for a URL.
    pub sha256: Option<Digest>,
}

/// `[disk]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The root file system.
    pub root: Root,
    /// Size of the state partition in the artifact; it grows to the disk's end at first boot. At least 1 GiB.
    pub var_size: ByteSize,
    /// Firmware the disk starts from; not empty, no doubles.
    pub firmware: Vec<Firmware>,
}

/// `disk.root`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// `squashfs` (others: not in this version).
    pub filesystem: String,
    /// Whether dm-verity guards it.
    pub verity: bool,
}

/// A kind of firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// BIOS.
    Bios,
    /// UEFI.
    Uefi,
}

/// `[artifacts]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// Formats to export; not empty, no doubles.
    pub formats: Vec<Format>,
}

/// A file format for a cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The sparse disk as it is.
    Raw,
    /// QEMU's copy-on-write format, zlib clusters.
    Qcow2,
}

impl Format {
    /// The ending of its files' names, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}
