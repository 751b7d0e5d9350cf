//! `manifest.json`: what an output directory holds and what it was made from. The same on every machine.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::assemble::Disk;
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
    /// The state file system.
    pub state: ManifestState,
    /// The image's layers, bottom first, then the initrd.
    pub layers: Vec<ManifestLayer>,
    /// Key of the tools that made file systems, boot loader and initrd.
    pub tools: Digest,
    /// The artifacts.
    pub artifacts: Vec<Artifact>,
    /// Every package of the image, sorted by name.
    pub packages: Vec<Package>,
}

/// The state file system in the manifest; its length is the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestState {
    /// What the spec asks for, `disk.var.size`, in bytes.
    pub size: u64,
    /// What the container images of the bundle take on top, in bytes.
    pub images: u64,
}

/// A layer in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestLayer {
    /// Its directory in `layers/`, or `initrd`.
    pub name: String,
    /// What it was made from.
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
    /// As `SHA256SUMS` has it.
    pub sha256: Digest,
}

impl Manifest {
    /// A manifest without artifacts yet.
    #[must_use]
    pub fn new(plan: &Plan, layers: &[&Layer], disk: &Disk) -> Self {
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
            root_hash: disk.root_hash,
            command_line: disk.command_line.clone(),
            state: ManifestState { size: plan.image.disk.var_size.0, images: disk.images_size },
            layers,
            tools: plan.tools.key,
            artifacts: Vec::new(),
            packages,
        }
    }

    /// The manifest of an output directory; `None` when there is none that can be read, or when it names a file that
    /// no build writes there: what an old manifest names is removed.
    #[must_use]
    pub fn read(directory: &Path) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(&fs::read(directory.join(FILE)).ok()?).ok()?;
        manifest.artifacts.iter().all(|Artifact { file, format, .. }| is_artifact(file, *format)).then_some(manifest)
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
    /// content. Artifacts carry the epoch as their time, so that a file that was touched shows. Manifest, checksums and
    /// the lock called `lock` must be there and fit one another.
    #[must_use]
    pub fn stands(&self, plan: &Plan, directory: &Path, lock: &str, read_all: bool) -> bool {
        let formats: Vec<Format> = self.artifacts.iter().map(|artifact| artifact.format).collect();
        self.disk == plan.disk
            && self.image == plan.image
            && formats == plan.image.artifacts.formats
            && self.beside_stands(directory, lock)
            && self.artifacts.iter().all(|artifact| {
                let path = directory.join(&artifact.file);
                fs::metadata(&path)
                    .is_ok_and(|metadata| metadata.len() == artifact.size && metadata.mtime() == self.epoch)
                    && (!read_all || Digest::of_file(&path).is_ok_and(|(digest, _)| digest == artifact.sha256))
            })
    }
}

impl Manifest {
    /// Whether the files beside the artifacts are as they were written.
    fn beside_stands(&self, directory: &Path, lock: &str) -> bool {
        let digest =
            |name: &str| Digest::of_file(&directory.join(name)).ok().map(|(digest, _)| (name.to_owned(), digest));
        let others: Option<Vec<_>> = [FILE, lock].into_iter().map(digest).collect();
        let sums = fs::read_to_string(directory.join(super::SUMS));
        others.zip(sums.ok()).is_some_and(|(others, sums)| sums == self.sums(&others))
    }
}

/// Whether `file` names an artifact in the output directory itself, and none of the files beside the artifacts.
fn is_artifact(file: &str, format: Format) -> bool {
    let mut components = Path::new(file).components();
    let normal =
        matches!((components.next(), components.next()), (Some(Component::Normal(name)), None) if name == file);
    normal && !file.starts_with('.') && Path::new(file).extension().is_some_and(|ending| ending == format.extension())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const IMAGE: &str = r#"{"name": "node", "layers": ["base"],
        "base": {"distribution": "ubuntu", "release": "noble", "architecture": "amd64"}, "harbor": null,
        "disk": {"root": {"filesystem": "squashfs", "verity": true}, "var_size": 1, "firmware": ["bios"]},
        "artifacts": {"formats": ["raw"]}}"#;

    /// A manifest of one artifact, `raw`, with that file name.
    pub(in crate::export) fn manifest(file: &str) -> Manifest {
        let (key, raw, file) = (Digest::of(b""), Digest::of(b"raw"), serde_json::Value::from(file));
        let artifact = format!(r#"{{"file": {file}, "format": "raw", "size": 3, "sha256": "{raw}"}}"#);
        let text = format!(
            r#"{{"version": 1, "habuild": "0.1.0", "image": {IMAGE}, "epoch": 1700000000, "disk": "{key}",
                "root_hash": "{key}", "command_line": "", "state": {{"size": 1, "images": 0}}, "layers": [], "tools": "{key}", "packages": [],
                "artifacts": [{artifact}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn plan() -> Plan {
        let key = Digest::of(b"");
        let tools = format!(r#"{{"name":"tools","key":"{key}","inputs":"","request":[],"packages":[],"steps":[]}}"#);
        let text = format!(
            r#"{{"image": {IMAGE}, "epoch": 1700000000, "layers": [], "tools": {tools}, "initrd": "{key}",
                "disk": "{key}"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_output_directory_stands_only_if_all_of_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (manifest, plan) = (manifest("node.raw"), plan());
        let text = manifest.text().unwrap();
        let beside = [(FILE, text.as_str()), ("node.lock", "lock")];
        let sums = manifest.sums(&beside.map(|(name, text)| (name.to_owned(), Digest::of(text.as_bytes()))));
        let all = beside.into_iter().chain([(crate::export::SUMS, sums.as_str()), ("node.raw", "raw")]);
        let write = |name: &str, text: &str| {
            let mut file = fs::File::create(directory.path().join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
        };
        all.clone().for_each(|(name, text)| write(name, text));
        let stands = |lock: &str| manifest.stands(&plan, directory.path(), lock, true);
        assert!(stands("node.lock"));
        for (name, text) in all {
            fs::remove_file(directory.path().join(name)).unwrap();
            assert!(!stands("node.lock"), "{name} is gone");
            write(name, &"x".repeat(text.len()));
            assert!(!stands("node.lock"), "{name} is another");
            write(name, text);
        }
        assert!(!stands("another.lock"));
    }

    #[test]
    fn a_manifest_names_plain_files_or_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let read = |file: &str| {
            fs::write(directory.path().join(FILE), manifest(file).text().unwrap()).unwrap();
            Manifest::read(directory.path())
        };
        assert!(read("node.raw").is_some());
        for bad in
            ["/etc/passwd", "../x", "a/b", "a/", "", ".", "..", ".hidden", "manifest.json", "SHA256SUMS", "notes.txt"]
        {
            assert!(read(bad).is_none(), "{bad:?}");
        }
    }
}
