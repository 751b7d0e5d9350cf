//! Makes bundles, `docker save` archives and layers in memory: good ones, to be broken by the tests.
#![allow(dead_code, reason = "two test binaries use this, each a part")]

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use habuild::sys::digest::Digest;
use serde_json::{Value, json};
use tar::{EntryType, Header};

/// A tar under way. Everything belongs to whoever runs the test: nobody else's files can be made by an ordinary user.
pub(crate) struct Tar {
    builder: tar::Builder<Vec<u8>>,
    owner: (u64, u64),
}

impl Tar {
    pub(crate) fn new() -> Self {
        let own = std::fs::metadata("/proc/self").unwrap();
        Self { builder: tar::Builder::new(Vec::new()), owner: (own.uid().into(), own.gid().into()) }
    }

    fn header(&self, kind: EntryType, mode: u32) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(1_500_000_000);
        header.set_size(0);
        header
    }

    /// Writes the name into the header as it is, however bad.
    fn append(mut self, mut header: Header, name: &str, content: &[u8]) -> Self {
        if name.len() < 100 {
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_cksum();
            self.builder.append(&header, content).unwrap();
        } else {
            header.set_size(content.len() as u64);
            self.builder.append_data(&mut header, name, content).unwrap();
        }
        self
    }

    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_with(name, content, 0o644)
    }

    pub(crate) fn file_with(self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> Self {
        let header = self.header(EntryType::Regular, mode);
        self.append(header, name, content.as_ref())
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        let header = self.header(EntryType::Directory, 0o755);
        self.append(header, name, b"")
    }

    pub(crate) fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        let mut header = self.header(kind, 0o777);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.append(header, name, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Link, name, target)
    }

    pub(crate) fn device(self, name: &str, (major, minor): (u32, u32)) -> Self {
        let mut header = self.header(EntryType::Char, 0o666);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        self.append(header, name, b"")
    }

    /// PAX records for the next entry.
    pub(crate) fn records(mut self, records: &[(&str, &[u8])]) -> Self {
        self.builder.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.builder.into_inner().unwrap()
    }
}

/// Compresses.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Compresses with zstd.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// An image to be saved.
pub(crate) struct Image {
    pub(crate) tags: Vec<String>,
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) architecture: &'static str,
}

impl Image {
    pub(crate) fn new(tag: &str, layers: &[&[u8]]) -> Self {
        Self {
            tags: vec![tag.into()],
            layers: layers.iter().map(|layer| layer.to_vec()).collect(),
            architecture: "amd64",
        }
    }

    pub(crate) fn configuration(&self) -> Vec<u8> {
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| format!("sha256:{}", Digest::of(layer))).collect();
        let configuration = json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": {"Cmd": ["/bin/cat", "/etc/words"], "Env": ["PATH=/bin"]},
            "created": "2017-07-14T02:40:00Z",
            "history": diff_ids.iter().map(|_| json!({"created": "2017-07-14T02:40:00Z"})).collect::<Vec<_>>(),
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        serde_json::to_vec(&configuration).unwrap()
    }
}

/// As Docker before 25 saves; a layer that an earlier image has is a link to it, which comes first.
pub(crate) fn save(images: &[Image]) -> Vec<u8> {
    save_with(images, |_| {})
}

/// The same with the manifest changed by `change`.
pub(crate) fn save_with(images: &[Image], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut tar = Tar::new();
    let mut manifest = Vec::new();
    let mut seen: Vec<(Digest, String)> = Vec::new();
    // Links go before what they lead to, as they may in real archives.
    let (mut links, mut files) = (Vec::new(), Vec::new());
    for (i, image) in images.iter().enumerate() {
        let configuration = image.configuration();
        let name = format!("{}.json", Digest::of(&configuration));
        let mut names = Vec::new();
        for (j, layer) in image.layers.iter().enumerate() {
            let (digest, directory) = (Digest::of(layer), Digest::of(format!("{i} {j}").as_bytes()).to_string());
            let path = format!("{directory}/layer.tar");
            match seen.iter().find(|(known, _)| *known == digest) {
                Some((_, first)) => links.push((path.clone(), format!("../{first}"))),
                None => {
                    files.push((path.clone(), layer));
                    seen.push((digest, path.clone()));
                }
            }
            names.push(path);
        }
        manifest.push(json!({"Config": name, "RepoTags": image.tags, "Layers": names}));
        tar = tar.file(&name, configuration);
    }
    for (path, target) in &links {
        // Longer than a header holds.
        let mut header = tar.header(EntryType::Symlink, 0o777);
        tar.builder.append_link(&mut header, path, target).unwrap();
    }
    for (path, layer) in &files {
        tar = tar.file(path, layer).file(&path.replace("layer.tar", "VERSION"), "1.0");
    }
    let mut manifest = Value::from(manifest);
    change(&mut manifest);
    tar.file("manifest.json", manifest.to_string()).file("repositories", "{}").finish()
}

/// How layers are compressed.
#[derive(Clone, Copy)]
pub(crate) enum Blobs {
    Plain,
    Gzip,
    Zstd,
}

/// As Docker from 25 on saves.
pub(crate) fn save_blobs(images: &[Image], blobs_are: Blobs) -> Vec<u8> {
    let packed = |layer: &Vec<u8>| match blobs_are {
        Blobs::Plain => layer.clone(),
        Blobs::Gzip => gzip(layer),
        Blobs::Zstd => zstd(layer),
    };
    let mut tar = Tar::new().directory("blobs/").directory("blobs/sha256/");
    let mut manifest = Vec::new();
    let mut seen = Vec::new();
    for image in images {
        let configuration = image.configuration();
        let mut blobs = vec![configuration];
        blobs.extend(image.layers.iter().map(packed));
        let names: Vec<String> = blobs.iter().map(|blob| format!("blobs/sha256/{}", Digest::of(blob))).collect();
        for (name, blob) in names.iter().zip(&blobs) {
            if !seen.contains(name) {
                tar = tar.file(name, blob);
                seen.push(name.clone());
            }
        }
        manifest.push(json!({"Config": names[0], "RepoTags": image.tags, "Layers": names[1..]}));
    }
    tar.file("index.json", "{}").file("manifest.json", Value::from(manifest).to_string()).finish()
}

/// What Harbor runs at least, in one version or the other up to 1.7.
const SERVICES: [&str; 8] = ["ui", "adminserver", "core", "jobservice", "portal", "proxy", "registry", "registryctl"];

/// A compose file with Harbor's services that names `images`, the first one for those that are left.
pub(crate) fn compose(images: &[&str]) -> String {
    let left = images.first().map_or(0, |_| SERVICES.len().saturating_sub(images.len()));
    let images = images.iter().chain(images.iter().take(1).cycle().take(left));
    let name = |i: usize| SERVICES.get(i).map_or_else(|| format!("s{i}"), |name| (*name).to_owned());
    let services = images.enumerate().map(|(i, image)| format!("  {}:\n    image: {image}\n", name(i)));
    format!("version: '2'\nservices:\n{}", services.collect::<String>())
}

/// A bundle's tar with everything but the image archive.
pub(crate) fn bundle_files(images: &[&str]) -> Tar {
    Tar::new()
        .directory("harbor/")
        .file("harbor/docker-compose.yml", compose(images))
        .file("harbor/harbor.cfg", "hostname = reg.mydomain.com\n")
        .file_with("harbor/prepare", "#!/bin/sh\n", 0o700)
        .file("harbor/common/templates/ui/env", "A=$b\n")
        .symlink("harbor/common/here", "templates/ui")
}

/// A whole bundle, compressed.
pub(crate) fn bundle(version: &str, images: &[&str], saved: &[u8]) -> Vec<u8> {
    gzip(&bundle_files(images).file(&format!("harbor/harbor.{version}.tar.gz"), gzip(saved)).finish())
}
