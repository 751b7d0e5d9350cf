//! The small words of a spec, parsed once at the edge: sizes, releases, modes.
//!
//! Invariant: a value of these types is well formed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A size in bytes; written `8GiB`, `512MiB`, `4KiB` or a plain number of bytes. Binary units only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// A distribution whose images habuild bakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Ubuntu.
    Ubuntu,
    /// Debian.
    Debian,
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ubuntu => "ubuntu",
            Self::Debian => "debian",
        })
    }
}

/// Which releases a line of a layer is for: `default`, `debian`, or `debian:bookworm`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Selector {
    /// Every release that no narrower selector names.
    Default,
    /// Every release of a distribution that no narrower selector names.
    Distribution(Distribution),
    /// One release.
    Release(Distribution, String),
}
