//! Lays images out as Docker's classic `overlay2` store has them: everything but the layers' files, which stay where
//! they are and are mounted by who makes the file system.
//!
//! Directory and link names, which Docker draws at random, are derived from the layers' chain ids.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::archive::Image;
use super::images::StoredLayer;
use super::layer::{DIFF, SPLIT};
use super::marks::Mark;
use super::reference::split_tag;
use crate::sys::digest::Digest;
use crate::sys::file;

/// Directories that are there before any image is, with their modes.
const DIRECTORIES: [(&str, u32); 13] = [
    ("", 0o710),
    ("image", 0o700),
    ("image/overlay2", 0o700),
    ("image/overlay2/distribution", 0o700),
    ("image/overlay2/imagedb", 0o700),
    ("image/overlay2/imagedb/content", 0o700),
    ("image/overlay2/imagedb/content/sha256", 0o700),
    ("image/overlay2/imagedb/metadata", 0o700),
    ("image/overlay2/imagedb/metadata/sha256", 0o700),
    ("image/overlay2/layerdb", 0o700),
    ("image/overlay2/layerdb/sha256", 0o755),
    ("overlay2", 0o710),
    ("overlay2/l", 0o700),
];

/// The chain id of a layer on another one.
pub(super) fn chain_id(parent: Option<Digest>, diff_id: Digest) -> Digest {
    parent.map_or(diff_id, |parent| Digest::of(format!("sha256:{parent} sha256:{diff_id}").as_bytes()))
}

/// The name of a layer's directory.
fn cache_id(chain: Digest) -> String {
    Digest::of(format!("cache-id sha256:{chain}").as_bytes()).to_string()
}

/// The short name of a layer's directory: 26 digits in base 32, as Docker makes them.
fn link_name(chain: Digest) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Digest::of(format!("link sha256:{chain}").as_bytes());
    let bit = |n: usize| usize::from(digest.0[n / 8] >> (7 - n % 8) & 1);
    let digit = |n: usize| (0..5).fold(0, |value, i| value << 1 | bit(5 * n + i));
    (0..26).map(|n| char::from(DIGITS[digit(n)])).collect()
}

/// A store that was laid out.
#[derive(Debug, Default)]
pub struct LaidOut {
    /// What no build can make; paths are relative to the store.
    pub marks: Vec<Mark>,
    /// Directories of the store, relative to it, and those of the cache that hold their content.
    pub mounts: BTreeMap<PathBuf, PathBuf>,
}

/// Lays `images` out in the new directory `root`, the image's `/var/lib/docker`.
pub fn lay_out(root: &Path, images: &[Image], layers: &BTreeMap<Digest, StoredLayer>) -> Result<LaidOut> {
    for (path, mode) in DIRECTORIES {
        directory(&root.join(path), mode)?;
    }
    let mut place = Place { root, laid_out: LaidOut::default(), lower: BTreeMap::new() };
    let mut tags: BTreeMap<&str, Digest> = BTreeMap::new();
    for image in images {
        let mut parent = None;
        for diff_id in &image.layers {
            let stored = layers.get(diff_id).context("a layer that was not read")?;
            parent = Some(place.layer(parent, stored)?);
        }
        let path = root.join(format!("image/overlay2/imagedb/content/sha256/{}", image.id));
        write(&path, image.configuration.as_bytes(), 0o600)?;
        tags.extend(image.tags.iter().map(|tag| (tag.as_str(), image.id)));
    }
    repositories(root, &tags)?;
    Ok(place.laid_out)
}

/// The chains of `images`, bottom first, each once.
pub fn chains(images: &[Image]) -> Vec<(Digest, Vec<Digest>)> {
    let chain = |image: &Image| {
        let mut parent = None;
        let chains = image.layers.iter().map(|diff_id| {
            let chain = chain_id(parent, *diff_id);
            parent = Some(chain);
            chain
        });
        (image.id, chains.collect())
    };
    images.iter().map(chain).collect()
}

/// The store in a directory.
struct Place<'a> {
    root: &'a Path,
    laid_out: LaidOut,
    /// Chains that are there, with the chain's directories, top first, as `lower` lists them.
    lower: BTreeMap<Digest, String>,
}

impl Place<'_> {
    /// Puts a layer on its parent, once. On another parent it is another layer to Docker.
    fn layer(&mut self, parent: Option<Digest>, stored: &StoredLayer) -> Result<Digest> {
        let chain = chain_id(parent, stored.diff_id);
        if self.lower.contains_key(&chain) {
            return Ok(chain);
        }
        let (cache, link) = (cache_id(chain), link_name(chain));
        let inside = Path::new("overlay2").join(&cache);
        let at = self.root.join(&inside);
        directory(&at, 0o710)?;
        directory(&at.join(DIFF), 0o755)?;
        self.laid_out.mounts.insert(inside.join(DIFF), stored.diff());
        let marks =
            stored.marks.iter().map(|mark| Mark { path: inside.join(DIFF).join(&mark.path), what: mark.what.clone() });
        self.laid_out.marks.extend(marks);
        let entry = self.root.join(format!("image/overlay2/layerdb/sha256/{chain}"));
        directory(&entry, 0o700)?;
        write(&entry.join(SPLIT), &file::read(&stored.split())?, 0o644)?;
        let mut lower = format!("l/{link}");
        if let Some(parent) = parent {
            let below = self.lower.get(&parent).context("a layer on nothing")?;
            write(&at.join("lower"), below.as_bytes(), 0o644)?;
            directory(&at.join("work"), 0o700)?;
            lower = format!("{lower}:{below}");
            write(&entry.join("parent"), format!("sha256:{parent}").as_bytes(), 0o644)?;
        }
        write(&at.join("link"), link.as_bytes(), 0o644)?;
        write(&at.join("committed"), b"", 0o600)?;
        let short = self.root.join("overlay2/l").join(&link);
        symlink(format!("../{cache}/{DIFF}"), &short)
            .with_context(|| format!("failed to make link {}", short.display()))?;
        write(&entry.join("cache-id"), cache.as_bytes(), 0o644)?;
        write(&entry.join("diff"), format!("sha256:{}", stored.diff_id).as_bytes(), 0o644)?;
        write(&entry.join("size"), stored.size.to_string().as_bytes(), 0o644)?;
        self.lower.insert(chain, lower);
        Ok(chain)
    }
}

/// `repositories.json`: names to image ids.
fn repositories(root: &Path, tags: &BTreeMap<&str, Digest>) -> Result<()> {
    let mut names: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for (tag, id) in tags {
        let (name, _) = split_tag(tag).context("a name without a tag")?;
        names.entry(name).or_default().insert(tag, format!("sha256:{id}"));
    }
    let json = serde_json::to_vec(&BTreeMap::from([("Repositories", names)])).context("failed to write JSON")?;
    write(&root.join("image/overlay2/repositories.json"), &json, 0o600)
}

fn directory(path: &Path, mode: u32) -> Result<()> {
    file::make_directory(path)?;
    set_mode(path, mode)
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    file::write(path, content)?;
    set_mode(path, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("failed to set the mode of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_are_docker_s() {
        // Of images that dockerd 20.10 built.
        let digest = |text: &str| Digest::parse(text).unwrap();
        let base = digest("0b54d57a77bc7e57aacd77673c638a173efcc0ced470bf646d5843e3039d27e7");
        let removes = digest("819aee55df57b0788420bf07ba6b0a3cbbb5b269592520f62ad3aee9e3b3abf5");
        let copies = digest("49c84c80e5ea8b3b816cf392923ce65f80bc04a80c86c78d81a6b6872cf0c202");
        assert_eq!(chain_id(None, base), base);
        let second = chain_id(Some(base), removes);
        assert_eq!(second.to_string(), "351c5ed2fc5b43b9d5549b62fa27fbc08b9f49f9ba877fee23baa1c7e3a999ab");
        let third = chain_id(Some(second), copies);
        assert_eq!(third.to_string(), "1d004e5e168a6011b41b83c1e20b7bec5e0bf5f6fb1d548a8e4655cf59e05f9f");
    }

    #[test]
    fn names_are_derived_and_of_docker_s_form() {
        let one = Digest::of(b"1");
        let name = link_name(one);
        assert!(
            name.len() == 26 && name.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)),
            "{name}"
        );
        assert_eq!(name, link_name(one));
        assert_ne!(name, link_name(Digest::of(b"2")));
        assert_ne!(cache_id(one), one.to_string());
    }
}
