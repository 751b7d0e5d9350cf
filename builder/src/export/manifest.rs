//! `manifest.json`: what an output directory holds and what it was made from. The same on every machine.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::bake::store::Layer;
use crate::plan::Plan;
use crate::plan::lock::Package;
use crate::spec::image::{Format, ImageSpec};
use crate::sys::digest::Digest;

/// The manifest's file name.
pub const FILE: &str = "manifest.json";

/// The manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of this file.
    pub version: u32,
    /// The habuild that made it.
    pub habuild: String,
    /// The spec with its defaults filled in.
    pub image: ImageSpec,
    /// The time of everything baked, in seconds since 1970.
    pub epoch: i64,
    /// Key of the disk: equal key, equal disk.
    pub disk: Digest,
    /// Root hash of the root's verity tree.
    pub root_hash: Digest,
    /// The kernel's command line.
    pub command_line: String,
    /// The image's layers, bottom first, then the initrd.
    pub layers: Vec<ManifestLayer>,
    /// Key of the tools that made file systems, boot loader and initrd.
    pub tools: Digest,
    /// The artifacts.
    pub artifacts: Vec<Artifact>,
    /// Every package of the image, sorted by name.
    pub packages: Vec<Package>,
}

/// A layer in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestLayer {
    /// Name.
    pub name: String,
    /// Key.
    pub key: Digest,
    /// Digest of the layer's tar.
    pub sha256: Digest,
    /// Length of the layer's tar in bytes.
    pub size: u64,
}

/// A file for a cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// File name in the output directory.
    pub file: String,
    /// Its format.
    pub format: Format,
    /// Length in bytes.
    pub size: u64,
    /// Digest.
    pub sha256: Digest,
}

impl Manifest {
    /// A manifest without artifacts yet.
    #[must_use]
    pub fn new(plan: &Plan, layers: &[&Layer], root_hash: Digest, command_line: &str) -> Self {
        let mut packages: Vec<Package> = plan.layers.iter().flat_map(|layer| layer.packages.iter().cloned()).collect();
        packages.sort();
        let layers = layers
            .iter()
            .map(|layer| ManifestLayer {
                name: layer.name.clone(),
                key: layer.key,
                sha256: layer.digest,
                size: layer.length,
            })
            .collect();
        Self {
            version: 1,
            habuild: env!("CARGO_PKG_VERSION").into(),
            image: plan.image.clone(),
            epoch: plan.epoch,
            disk: plan.disk,
            root_hash,
            command_line: command_line.into(),
            layers,
            tools: plan.tools.key,
            artifacts: Vec::new(),
            packages,
        }
    }

    /// The manifest of an output directory; `None` when there is none that can be read.
    #[must_use]
    pub fn read(directory: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(directory.join(FILE)).ok()?).ok()
    }

    /// The manifest as text.
    pub fn text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("a manifest that cannot be written")? + "\n")
    }

    /// `SHA256SUMS`, as `sha256sum --check` reads it.
    #[must_use]
    pub fn sums(&self, others: &[(String, Digest)]) -> String {
        let artifacts = self.artifacts.iter().map(|artifact| (artifact.file.clone(), artifact.sha256));
        let mut lines: Vec<(String, Digest)> = artifacts.chain(others.iter().cloned()).collect();
        lines.sort();
        lines.into_iter().map(|(file, digest)| format!("{digest}  {file}\n")).collect()
    }

    /// Whether `directory` still holds what this manifest says for `plan`: by size and time, and with `read_all` by
    /// content. Artifacts carry the epoch as their time, so that a file that was touched shows.
    #[must_use]
    pub fn stands(&self, plan: &Plan, directory: &Path, read_all: bool) -> bool {
        let formats: Vec<Format> = self.artifacts.iter().map(|artifact| artifact.format).collect();
        self.disk == plan.disk
            && self.image == plan.image
            && formats == plan.image.artifacts.formats
            && self.artifacts.iter().all(|artifact| {
                let path = directory.join(&artifact.file);
                fs::metadata(&path)
                    .is_ok_and(|metadata| metadata.len() == artifact.size && metadata.mtime() == self.epoch)
                    && (!read_all || Digest::of_file(&path).is_ok_and(|(digest, _)| digest == artifact.sha256))
            })
    }
}
