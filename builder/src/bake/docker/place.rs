//! Lays images out as Docker's classic `overlay2` store has them.
//!
//! Directory and link names, which Docker draws at random, are derived from the layers' chain ids.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use super::archive::{Archive, Image, Stored, split_tag};
use super::layer::{DIFF, SPLIT};
use super::marks::{self, Mark};
use crate::bake::foreign::bad;
use crate::bake::pack;
use crate::sys::digest::Digest;
use crate::sys::file;

/// Directories that are there before any image is, with their modes.
const DIRECTORIES: [(&str, u32); 12] = [
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

/// The store in a directory.
#[derive(Debug)]
pub(super) struct Place<'a> {
    root: &'a Path,
    marks: Vec<Mark>,
    /// Chains that are there, with the chain's directories, top first, as `lower` lists them.
    lower: BTreeMap<Digest, String>,
    /// Where a layer's files have gone.
    moved: BTreeMap<Digest, String>,
}

impl<'a> Place<'a> {
    /// A store without images at `root`.
    pub(super) fn new(root: &'a Path) -> Result<Self> {
        for (path, mode) in DIRECTORIES {
            directory(&root.join(path), mode)?;
        }
        directory(&root.join("overlay2/l"), 0o700)?;
        Ok(Self { root, marks: Vec::new(), lower: BTreeMap::new(), moved: BTreeMap::new() })
    }

    /// Lays out what was read; gives the names of the images, sorted.
    pub(super) fn fill(mut self, archive: &Archive, what: &str) -> Result<Vec<String>> {
        let mut tags: BTreeMap<String, Digest> = BTreeMap::new();
        for image in &archive.images {
            let mut parent = None;
            for diff_id in &image.layers {
                let stored = archive.layers.get(diff_id).context("a layer that was not read")?;
                parent = Some(self.layer(parent, stored)?);
            }
            self.image(image)?;
            for tag in &image.tags {
                if tags.insert(tag.clone(), image.id).is_some_and(|other| other != image.id) {
                    return Err(bad(format!("{what}: {tag} names two images")));
                }
            }
        }
        self.repositories(&tags)?;
        let list = marks::text(&mut self.marks);
        write(&self.root.join("overlay2").join(marks::FILE), list.as_bytes(), 0o600)?;
        Ok(tags.into_keys().collect())
    }

    /// Puts a layer on its parent, once.
    fn layer(&mut self, parent: Option<Digest>, stored: &Stored) -> Result<Digest> {
        let diff_id = stored.unpacked.diff_id;
        let chain = chain_id(parent, diff_id);
        if self.lower.contains_key(&chain) {
            return Ok(chain);
        }
        let (cache, link) = (cache_id(chain), link_name(chain));
        let at = self.root.join("overlay2").join(&cache);
        directory(&at, 0o710)?;
        let entry = self.root.join(format!("image/overlay2/layerdb/sha256/{chain}"));
        directory(&entry, 0o700)?;
        match self.moved.get(&diff_id) {
            None => {
                file::rename(&stored.at.join(DIFF), &at.join(DIFF))?;
                file::rename(&stored.at.join(SPLIT), &entry.join(SPLIT))?;
                self.moved.insert(diff_id, format!("{cache} {chain}"));
            }
            Some(first) => {
                // On another parent it is another layer to Docker, with files of its own.
                let (cache, chain) = first.split_once(' ').context("a layer without a place")?;
                copy_tree(&self.root.join("overlay2").join(cache).join(DIFF), &at.join(DIFF))?;
                let split = file::read(&self.root.join(format!("image/overlay2/layerdb/sha256/{chain}/{SPLIT}")))?;
                file::write(&entry.join(SPLIT), split)?;
            }
        }
        set_mode(&entry.join(SPLIT), 0o644)?;
        for mark in &stored.unpacked.marks {
            let path = Path::new(&cache).join(DIFF).join(&mark.path);
            self.marks.push(Mark { path, what: mark.what.clone() });
        }
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
        write(&entry.join("diff"), format!("sha256:{diff_id}").as_bytes(), 0o644)?;
        write(&entry.join("size"), stored.unpacked.size.to_string().as_bytes(), 0o644)?;
        self.lower.insert(chain, lower);
        Ok(chain)
    }

    fn image(&self, image: &Image) -> Result<()> {
        let path = self.root.join(format!("image/overlay2/imagedb/content/sha256/{}", image.id));
        write(&path, &image.configuration, 0o600)
    }

    /// `repositories.json`: names to image ids.
    fn repositories(&self, tags: &BTreeMap<String, Digest>) -> Result<()> {
        let mut names: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for (tag, id) in tags {
            let (name, _) = split_tag(tag).context("a name without a tag")?;
            names.entry(name).or_default().insert(tag, format!("sha256:{id}"));
        }
        let json = serde_json::to_vec(&BTreeMap::from([("Repositories", names)])).context("failed to write JSON")?;
        write(&self.root.join("image/overlay2/repositories.json"), &json, 0o600)
    }
}

/// Copies a layer's files with owners, modes, capabilities, hard links and times.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let mut names: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut directories = BTreeSet::new();
    for entry in WalkDir::new(from).sort_by_file_name() {
        let entry = entry.with_context(|| format!("failed to walk {}", from.display()))?;
        let metadata = entry.metadata().with_context(|| format!("failed to read {}", entry.path().display()))?;
        let at = to.join(entry.path().strip_prefix(from).context("a walk that left its tree")?);
        copy_one(entry.path(), &metadata, &at, &mut names)
            .with_context(|| format!("failed to copy {}", entry.path().display()))?;
        if metadata.is_dir() {
            directories.insert((at, metadata.mtime()));
        }
    }
    directories.iter().rev().try_for_each(|(path, time)| pack::set_time(path, *time))
}

fn copy_one(from: &Path, metadata: &fs::Metadata, at: &Path, names: &mut BTreeMap<u64, PathBuf>) -> Result<()> {
    if metadata.is_dir() {
        // `to` itself has a trailing nothing; its parent is there.
        fs::create_dir(at)?;
    } else if metadata.is_symlink() {
        symlink(fs::read_link(from)?, at)?;
    } else {
        if let Some(first) = names.get(&metadata.ino()) {
            return Ok(fs::hard_link(first, at)?);
        }
        fs::copy(from, at)?;
        if metadata.nlink() > 1 {
            names.insert(metadata.ino(), at.into());
        }
    }
    std::os::unix::fs::lchown(at, Some(metadata.uid()), Some(metadata.gid()))?;
    if !metadata.is_symlink() {
        fs::set_permissions(at, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    if metadata.is_file()
        && let Some(value) = pack::attribute(from, pack::CAPABILITY)?
    {
        rustix::fs::lsetxattr(at, pack::CAPABILITY, &value, rustix::fs::XattrFlags::empty())?;
    }
    pack::set_time(at, metadata.mtime())
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
