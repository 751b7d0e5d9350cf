//! The image spec, `images/NAME.toml`: what to bake.

use contract::harbor::{Defaults, HarborOption};
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
    /// Which of its container images are baked.
    #[serde(flatten)]
    pub images: Chosen,
    /// Defaults for Harbor's own settings on every node of the image.
    #[serde(default, skip_serializing_if = "Defaults::is_empty")]
    pub settings: Defaults,
}

/// Which of a bundle's container images are baked. What no node can run (the bundle's log service, Notary, Clair, chart
/// repositories) never is.
///
/// Unless the spec says otherwise an image is for every node config: who bakes it need not know what the nodes will be told, and
/// one that is too large does less harm than a node that cannot do what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
// Manifests from before it could be chosen are read too.
#[serde(default)]
pub struct Chosen {
    /// The options of Harbor that nodes may turn on; `None`: all that the bundle has.
    pub options: Option<Vec<HarborOption>>,
    /// Whether nodes may use the bundle's own database and Redis.
    pub bundled: bool,
}

impl Default for Chosen {
    fn default() -> Self {
        Self { options: None, bundled: true }
    }
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
