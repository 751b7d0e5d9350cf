//! The lock: every package of every layer by name, version, architecture and SHA-256, and the epoch.
//!
//! It names no archive: a package's place is relative to the mirror that the spec names or that the bootstrapping tool
//! has by default, so a lock made against one mirror serves another.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::report::{Failure, Fault};
use crate::spec::image::Base;
use crate::spec::names::Distribution;
use crate::sys::digest::Digest;
use crate::sys::file;

/// The lock's own format.
const VERSION: u32 = 1;

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Format of this file.
    pub version: u32,
    /// The distribution that was resolved.
    pub distribution: Distribution,
    /// Its release.
    pub release: String,
    /// Its architecture.
    pub architecture: String,
    /// The newest `Date` of the archive's Release files, in seconds since 1970: the time of everything baked.
    pub epoch: i64,
    /// By layer: what was asked for and what that came to.
    pub layers: BTreeMap<String, LockedLayer>,
}

/// A layer's packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedLayer {
    /// The layers below, bottom first: what is installed there is not installed again.
    pub above: Vec<String>,
    /// The names that the layer asks for.
    pub request: Vec<String>,
    /// What has to be installed for them, sorted by name.
    pub packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// As the archive calls it.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture: the image's, or `all`.
    pub architecture: String,
    /// Digest of the package file.
    pub sha256: Digest,
    /// Length of the package file in bytes.
    pub size: u64,
    /// Where it lies, relative to its archive.
    pub filename: String,
    /// Whether it comes from the archive of security updates, where that is one of its own (Debian).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub security: bool,
}

/// What a layer asks of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The layer.
    pub layer: String,
    /// The layers below, bottom first.
    pub above: Vec<String>,
    /// Package names.
    pub packages: Vec<String>,
}

impl Lock {
    /// A lock for `base` with nothing in it yet.
    #[must_use]
    pub fn new(base: &Base, epoch: i64) -> Self {
        Self {
            version: VERSION,
            distribution: base.distribution,
            release: base.release.clone(),
            architecture: base.architecture.clone(),
            epoch,
            layers: BTreeMap::new(),
        }
    }

    /// The lock's file name for an image: `NAME.DISTRIBUTION-RELEASE-ARCHITECTURE.lock`.
    #[must_use]
    pub fn file_name(image: &str, base: &Base) -> String {
        format!("{image}.{}-{}-{}.lock", base.distribution, base.release, base.architecture)
    }

    /// Reads a lock.
    pub fn read(path: &Path) -> Result<Self> {
        let text = file::read_text(path).map_err(|error| {
            Failure::new(Fault::Usage, format!("the lock {} cannot be read", path.display())).because(error)
        })?;
        let lock: Self = toml::from_str(&text).map_err(|error| {
            let line = 1 + error.span().map_or(0, |span| text[..span.start].matches('\n').count());
            let message =
                format!("{}:{line}: this is not a lock that habuild reads: {}", path.display(), error.message());
            Failure::new(Fault::Usage, message).remedy("make a new one with habuild lock")
        })?;
        if lock.version != VERSION {
            return Err(Failure::new(
                Fault::Usage,
                format!("{} is a lock of version {}, this habuild reads {VERSION}", path.display(), lock.version),
            )
            .remedy("make a new one with habuild lock")
            .into());
        }
        Ok(lock)
    }

    /// The lock as text: TOML, sorted, the same on every machine.
    pub fn text(&self) -> Result<String> {
        let body = toml::to_string(self).context("a lock that cannot be written")?;
        Ok(format!("# Made by habuild: the packages of every layer. Give it back with --locked.\n{body}"))
    }

    /// What differs from an older lock, for people: one package a line.
    #[must_use]
    pub fn changes_from(&self, old: &Self) -> Vec<String> {
        let (old, new) = (old.versions(), self.versions());
        let changed = new.iter().filter_map(|(name, version)| match old.get(name) {
            None => Some(format!("+ {name} {version}")),
            Some(before) if before != version => Some(format!("  {name} {before} -> {version}")),
            Some(_) => None,
        });
        let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
        changed.chain(gone.map(|(name, version)| format!("- {name} {version}"))).collect()
    }

    /// Whether every package that `old` has too has the same version as there.
    #[must_use]
    pub fn keeps_versions_of(&self, old: &Self) -> bool {
        let old = old.versions();
        self.versions().iter().all(|(name, version)| old.get(name).is_none_or(|before| before == version))
    }

    /// Every package's version.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<&str, &str> {
        let packages = self.layers.values().flat_map(|layer| &layer.packages);
        packages.map(|package| (package.name.as_str(), package.version.as_str())).collect()
    }

    /// Why this lock does not answer `requests` on `base`; `None` when it does.
    #[must_use]
    pub fn mismatch(&self, base: &Base, requests: &[Request]) -> Option<String> {
        let own = format!("{} {} {}", self.distribution, self.release, self.architecture);
        let wanted = format!("{} {} {}", base.distribution, base.release, base.architecture);
        if own != wanted {
            return Some(format!("it is for {own}, the spec is for {wanted}"));
        }
        for request in requests {
            let Some(layer) = self.layers.get(&request.layer) else {
                return Some(format!("it has no layer {}", request.layer));
            };
            if layer.above != request.above {
                return Some(format!("layer {} lies on other layers there", request.layer));
            }
            let missing = request.packages.iter().find(|name| !layer.request.contains(name));
            let extra = layer.request.iter().find(|name| !request.packages.contains(name));
            match (missing, extra) {
                (Some(name), _) => return Some(format!("layer {} asks for {name}, which it lacks", request.layer)),
                (_, Some(name)) => return Some(format!("layer {} no longer asks for {name}", request.layer)),
                (None, None) => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_reads_back_and_says_why_it_does_not_fit() {
        let base = Base {
            distribution: Distribution::Debian,
            release: "bookworm".into(),
            architecture: "amd64".into(),
            mirror: None,
            snapshot: None,
        };
        let request =
            Request { layer: "ceph".into(), above: vec!["base".into()], packages: vec!["ceph-common".into()] };
        let mut lock = Lock::new(&base, 7);
        let package = Package {
            name: "ceph-common".into(),
            version: "1:2~3".into(),
            architecture: "amd64".into(),
            sha256: Digest::of(b""),
            size: 0,
            filename: "pool/x.deb".into(),
            security: true,
        };
        let layer =
            LockedLayer { above: request.above.clone(), request: request.packages.clone(), packages: vec![package] };
        lock.layers.insert("ceph".into(), layer);
        let text = lock.text().unwrap();
        assert_eq!(toml::from_str::<Lock>(&text).unwrap(), lock);
        assert_eq!(lock.mismatch(&base, std::slice::from_ref(&request)), None);
        let other = Base { release: "trixie".into(), ..base.clone() };
        assert!(lock.mismatch(&other, &[]).unwrap().contains("debian bookworm amd64"));
        let more = Request { packages: vec!["ceph-common".into(), "ceph-fuse".into()], ..request };
        assert_eq!(lock.mismatch(&base, &[more]).unwrap(), "layer ceph asks for ceph-fuse, which it lacks");
    }
}
