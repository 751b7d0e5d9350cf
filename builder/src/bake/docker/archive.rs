//! Reads what `docker save` writes, once and in any order: layers are unpacked as they come, documents are kept.
//!
//! A layer that the cache has is only hashed. Which one it is, its name tells: in a digest, or by what the same name
//! meant in an earlier archive.
//!
//! Two forms: `ID.json` and `ID/layer.tar`, where a layer may be a link to another one's; and since Docker 25
//! `blobs/sha256/DIGEST`. Both have `manifest.json`, which leads to the rest.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufReader, Cursor, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use contract::harbor::is_image;
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::configuration;
use super::frames::Frames;
use super::images::{Images, StoredLayer};
use super::layer::{self, Unpacked};
use super::reference;
use crate::bake::foreign::{Filled, Put, bad, fill, inside, reading, shown, wrong};
use crate::bake::tarstream::{Entry, Kind, TarStream};
use crate::sys::digest::{Digest, Hashing};

/// No manifest or configuration is longer; they are held in memory.
const LONGEST_DOCUMENT: u64 = 8 << 20;
/// Nor are all of them together, many times over.
const LONGEST_DOCUMENTS: usize = 64 << 20;
/// As many layers as Docker stacks.
const MOST_LAYERS: usize = 125;

/// Against an archive that another program than Docker wrote.
const SAVED: &str = "use the offline installer as Harbor released it, or make the archive in it with docker save";
/// Against images for other machines.
const MACHINE: &str = "use a bundle for Linux on amd64: nodes are nothing else in this version of habuild";

const MANIFEST: &str = "manifest.json";
const BLOBS: &str = "blobs/sha256/";
const LAYER: &str = "/layer.tar";

/// An image with everything that it needs found and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The digest of the configuration.
    pub id: Digest,
    /// Names with tags.
    pub tags: Vec<String>,
    /// The layers' digests, bottom first.
    pub layers: Vec<Digest>,
    /// The configuration, byte for byte.
    pub configuration: String,
}

/// The names with tags that an image of this name has among `images`.
pub(in crate::bake) fn tags_of<'i>(images: &'i [Image], name: &'i str) -> impl Iterator<Item = &'i str> {
    let tags = images.iter().flat_map(|image| &image.tags).map(String::as_str);
    tags.filter(move |tag| is_image(tag, name))
}

/// An archive that was read.
#[derive(Debug)]
pub struct Archive {
    /// In the archive's order.
    pub images: Vec<Image>,
    /// The layers of these images by the digest of their tar.
    pub layers: BTreeMap<Digest, StoredLayer>,
    /// Which layer each name in the archive means.
    pub names: BTreeMap<String, Digest>,
}

/// A layer that is not the one that its name meant in an earlier archive, told when its bytes have gone by.
#[derive(Debug)]
pub struct OtherLayer;

impl std::fmt::Display for OtherLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name means another layer than before")
    }
}

impl std::error::Error for OtherLayer {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ManifestEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// What was found under a name.
#[derive(Debug)]
struct Found<'a> {
    cache: &'a Images,
    known: &'a BTreeMap<String, Digest>,
    layers: BTreeMap<String, Digest>,
    documents: BTreeMap<String, Vec<u8>>,
    links: BTreeMap<String, String>,
    stored: BTreeMap<Digest, StoredLayer>,
    /// How long the documents are together.
    length: usize,
}

/// Reads the tar `source`, called `what`; layers that `cache` lacks are unpacked below `scratch` and kept there. `known`
/// says what names meant in earlier archives; an [`OtherLayer`] asks for another try without it.
pub fn read(
    source: impl Read,
    what: &str,
    cache: &Images,
    known: &BTreeMap<String, Digest>,
    scratch: &Path,
) -> Result<Archive> {
    let (layers, documents, links, stored, length) = Default::default();
    let mut found = Found { cache, known, layers, documents, links, stored, length };
    let mut names = Filled::default();
    let mut tar = TarStream::new(source, what);
    let mut serial = 0;
    while let Some(entry) = tar.next_entry()? {
        let refused = |words: &str| bad(format!("{what}: {} {words}", shown(&entry.name)));
        let path = inside(Path::new(OsStr::from_bytes(&entry.name)));
        let path = path.ok_or_else(|| refused("leads out of the archive"))?;
        let put = match entry.kind {
            Kind::Directory => Put::Directory,
            Kind::Symlink => Put::Symlink,
            _ => Put::File,
        };
        if !path.as_os_str().is_empty() {
            let taken = names.take(&path, put).and_then(|_| names.hold(entry.link.len()));
            taken.map_err(|words| refused(&words))?;
        }
        let name = path.to_string_lossy().into_owned();
        match entry.kind {
            Kind::File => {
                serial += 1;
                found.take(&name, &entry, &mut tar, what, &scratch.join(serial.to_string()))?;
            }
            Kind::Symlink | Kind::Link => {
                let target = PathBuf::from(OsStr::from_bytes(&entry.link));
                let target = match entry.kind {
                    Kind::Symlink => path.parent().unwrap_or(Path::new("")).join(target),
                    _ => target,
                };
                let target = inside(&target).ok_or_else(|| refused("is a link that leads out of the archive"))?;
                found.links.insert(name, target.to_string_lossy().into_owned());
            }
            _ => {}
        }
    }
    tar.finish(|_| Ok(()))?;
    found.images(what)
}

impl Found<'_> {
    /// Takes a file of the archive by what it holds.
    fn take(&mut self, name: &str, entry: &Entry, tar: &mut impl Read, what: &str, at: &Path) -> Result<()> {
        let is_blob = name.starts_with(BLOBS);
        // Where skopeo wrote it, layers lie at the top, and each `ID/layer.tar` is a link to one.
        let is_layer = name.ends_with(LAYER) || (name.ends_with(".tar") && !name.contains('/'));
        let is_document = !name.contains('/') && name.ends_with(".json");
        if !is_blob && !is_layer && !is_document {
            return Ok(());
        }
        let part = format!("{what}: {name}");
        let mut head = [0; 512];
        let n = fill(tar, &mut head).map_err(|error| reading(&part, error))?;
        let head = head[..n].to_vec();
        let looks_like_json =
            head.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| b"{[".contains(byte));
        if is_document || (is_blob && looks_like_json) {
            if entry.size > LONGEST_DOCUMENT {
                return Err(bad(format!("{part} is too long ({} bytes)", entry.size)));
            }
            let mut document = head;
            tar.read_to_end(&mut document).map_err(|error| reading(&part, error))?;
            self.length += document.len();
            if self.length > LONGEST_DOCUMENTS {
                return Err(bad(format!("{part}: there are more than {LONGEST_DOCUMENTS} bytes of documents")));
            }
            check_name(name, Digest::of(&document), &part)?;
            self.documents.insert(name.into(), document);
            return Ok(());
        }
        let named = name.strip_prefix(BLOBS).and_then(Digest::parse);
        let expected = self.known.get(name).copied().or(named);
        let cached = expected.map_or(Ok(None), |diff_id| self.cache.find(diff_id))?;
        let (stored, digest) = match cached {
            Some(layer) => {
                let (diff_id, digest) = hash(head, tar, &part)?;
                if diff_id != layer.diff_id {
                    // A blob's own digest is judged below.
                    check_name(name, digest, &part)?;
                    return Err(OtherLayer.into());
                }
                (layer, digest)
            }
            None => {
                let (unpacked, digest) = unpack(head, tar, &part, at)?;
                (self.cache.keep(unpacked, at)?, digest)
            }
        };
        if is_blob {
            check_name(name, digest, &part)?;
        }
        self.layers.insert(name.into(), stored.diff_id);
        self.stored.insert(stored.diff_id, stored);
        Ok(())
    }

    /// Where links lead.
    fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        let mut name = name.strip_prefix("./").unwrap_or(name);
        for _ in 0..40 {
            match self.links.get(name) {
                Some(target) => name = target,
                None => break,
            }
        }
        name
    }

    fn images(self, what: &str) -> Result<Archive> {
        let manifest = self.documents.get(MANIFEST);
        let manifest =
            manifest.ok_or_else(|| wrong(format!("{what} has no {MANIFEST}: docker save did not write it"), SAVED))?;
        let entries: Vec<ManifestEntry> = serde_json::from_slice(manifest)
            .map_err(|error| bad(format!("{what}: {MANIFEST} cannot be understood ({error})")))?;
        let mut length = 0;
        let images = entries.into_iter().map(|entry| self.image(entry, what, &mut length));
        let images = images.collect::<Result<Vec<_>>>()?;
        if images.is_empty() {
            return Err(wrong(format!("{what} holds no image"), SAVED));
        }
        let mut ids: BTreeMap<&str, Digest> = BTreeMap::new();
        for image in &images {
            for tag in &image.tags {
                if ids.insert(tag, image.id).is_some_and(|other| other != image.id) {
                    return Err(bad(format!("{what}: {tag} names two images")));
                }
            }
        }
        // Layers that belong to no image are nobody's.
        let mut stored = self.stored;
        stored.retain(|diff_id, _| images.iter().any(|image| image.layers.contains(diff_id)));
        Ok(Archive { images, layers: stored, names: self.layers })
    }

    /// An image of the manifest; `length` counts what the configurations take.
    fn image(&self, entry: ManifestEntry, what: &str, length: &mut usize) -> Result<Image> {
        let tags = entry.repo_tags.unwrap_or_default();
        let called = tags.first().cloned().unwrap_or_else(|| entry.config.clone());
        let refused = |words: String| bad(format!("{what}: image {called}: {words}"));
        if let Some(tag) = tags.iter().find(|tag| !reference::has_tag(tag)) {
            return Err(refused(format!("{tag:?} is not a name with a tag")));
        }
        let tags: Vec<String> = tags.iter().map(|tag| contract::harbor::familiar(tag)).collect();
        let configuration = self.documents.get(self.resolve(&entry.config));
        let configuration = configuration.ok_or_else(|| refused(format!("{} is missing", entry.config)))?;
        *length += configuration.len();
        if *length > LONGEST_DOCUMENTS {
            return Err(refused(format!("there are more than {LONGEST_DOCUMENTS} bytes of configurations")));
        }
        let id = Digest::of(configuration);
        check_name(&entry.config, id, &format!("{what}: {}", entry.config))?;
        configuration::is_for_nodes(configuration)
            .map_err(|words| wrong(format!("{what}: image {called}: {} {words}", entry.config), MACHINE))?;
        let wanted =
            configuration::diff_ids(configuration).map_err(|words| refused(format!("{} {words}", entry.config)))?;
        let layers = entry.layers.unwrap_or_default();
        if wanted.len() != layers.len() {
            return Err(refused(format!("it has {} layers, its configuration names {}", layers.len(), wanted.len())));
        }
        if layers.is_empty() || layers.len() > MOST_LAYERS {
            return Err(refused(format!("it has {} layers, Docker takes 1 to {MOST_LAYERS}", layers.len())));
        }
        for (name, wanted) in layers.iter().zip(&wanted) {
            let found = self.layers.get(self.resolve(name)).ok_or_else(|| refused(format!("{name} is missing")))?;
            if format!("sha256:{found}") != *wanted {
                return Err(refused(format!("{name} has digest sha256:{found}, the configuration says {wanted}")));
            }
        }
        let layers = layers.iter().filter_map(|name| self.layers.get(self.resolve(name)).copied()).collect();
        let configuration =
            String::from_utf8(configuration.clone()).map_err(|_| refused(format!("{} is not UTF-8", entry.config)))?;
        Ok(Image { id, tags, layers, configuration })
    }
}

/// Unpacks a layer, compressed or not; gives it and the digest of the file that held it.
fn unpack(head: Vec<u8>, file: &mut impl Read, part: &str, at: &Path) -> Result<(Unpacked, Digest)> {
    decompressed(head, file, part, |tar| {
        let unpacked = layer::unpack(tar, part, at)?;
        let diff_id = unpacked.diff_id;
        Ok((unpacked, diff_id))
    })
}

/// The digest of a layer's tar and that of the file that held it.
fn hash(head: Vec<u8>, file: &mut impl Read, part: &str) -> Result<(Digest, Digest)> {
    decompressed(head, file, part, |tar| {
        let mut hashing = Hashing::new(std::io::sink());
        std::io::copy(&mut BufReader::with_capacity(1 << 16, tar), &mut hashing)
            .map_err(|error| reading(part, error))?;
        let (diff_id, ..) = hashing.finish();
        Ok((diff_id, diff_id))
    })
}

/// Hands a layer's tar to `take`, which reads all of it and gives its digest too; gives that of the file that held it.
fn decompressed<T>(
    head: Vec<u8>,
    file: &mut impl Read,
    part: &str,
    take: impl FnOnce(&mut dyn Read) -> Result<(T, Digest)>,
) -> Result<(T, Digest)> {
    let (gzip, zstd) = (head.starts_with(&[0x1f, 0x8b]), head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    let mut whole = Cursor::new(head).chain(file);
    if !gzip && !zstd {
        // The file is the tar: it is hashed once.
        return take(&mut whole);
    }
    let mut whole = Hashing::new(whole);
    let (taken, _) = match gzip {
        true => take(&mut MultiGzDecoder::new(&mut whole)),
        false => take(&mut Frames::new(&mut whole)),
    }?;
    std::io::copy(&mut whole, &mut std::io::sink()).map_err(|error| reading(part, error))?;
    Ok((taken, whole.finish().0))
}

/// A file that is named after its digest must have it.
fn check_name(name: &str, digest: Digest, part: &str) -> Result<()> {
    let stem = name.strip_prefix(BLOBS).unwrap_or_else(|| name.strip_suffix(".json").unwrap_or(name));
    match Digest::parse(stem) {
        Some(wanted) if wanted != digest => Err(bad(format!("{part} is damaged: it has digest {digest}"))),
        _ => Ok(()),
    }
}
