//! What a store holds: each layer once, its exact tar again from its files, and what only `assemble` can make in a list.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use habuild::bake::docker::marks::{Mark, What};
use habuild::bake::{docker, pack};
use habuild::sys::digest::Digest;
use serde_json::Value;

use super::make::{Blobs, Image, Tar, bundle, save, save_blobs};
use super::{Unpacked, unpack};

fn base() -> Vec<u8> {
    let long = format!("opt/{}/{}", "d".repeat(120), "e".repeat(120));
    Tar::new()
        .directory("./")
        .directory("etc/")
        .file("etc/words", "hello\n")
        .hard_link("etc/again", "etc/words")
        .symlink("bin", "usr/bin")
        .file_with("usr/bin/su", "#!", 0o4755)
        .file(&long, vec![7; 70_000])
        .directory("gone/")
        .file("gone/x", "x")
        .finish()
}

fn above() -> Vec<u8> {
    Tar::new()
        .directory("etc/")
        .file("etc/.wh.again", "")
        .file(".wh.gone", "")
        .directory("var/")
        .file("var/.wh..wh..opq", "")
        .file("var/y", "y")
        .device("null", (1, 3))
        .records(&[("SCHILY.xattr.user.note", b"a b"), ("uid", b"70000")])
        .file("noted", "n")
        .finish()
}

fn images() -> Vec<Image> {
    let (base, above, other) = (base(), above(), Tar::new().file("other", "o").finish());
    let mut first = Image::new("vmware/app:v1", &[&base, &above]);
    first.tags.push("app:2".into());
    // The same layer on another one is another layer to Docker.
    vec![first, Image::new("vmware/two:v1", &[&base, &other, &above])]
}

/// The layers of a store by chain id: the layer's files, its directory, and that of its record.
fn layers(unpacked: &Unpacked) -> BTreeMap<String, (PathBuf, PathBuf, PathBuf)> {
    let store = unpacked.path("docker");
    let records = fs::read_dir(store.join("image/overlay2/layerdb/sha256")).unwrap().map(|entry| entry.unwrap());
    records
        .map(|record| {
            let cache = fs::read_to_string(record.path().join("cache-id")).unwrap();
            let chain = record.file_name().to_string_lossy().into_owned();
            let inside = Path::new("overlay2").join(cache);
            let diff = unpacked.laid_out.mounts[&inside.join("diff")].clone();
            (chain, (diff, store.join(inside), record.path()))
        })
        .collect()
}

/// Makes a layer's tar again, as Docker does to save it.
fn tar_again(diff: &Path, record: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    let split = GzDecoder::new(fs::File::open(record.join("tar-split.json.gz")).unwrap());
    for (position, line) in serde_json::Deserializer::from_reader(split).into_iter::<Value>().enumerate() {
        let line = line.unwrap();
        assert_eq!(line.get("position").map_or(0, |value| value.as_u64().unwrap()), position as u64);
        match line["type"].as_u64().unwrap() {
            2 => tar.extend(base64(line["payload"].as_str().unwrap())),
            _ if line["size"].as_u64().is_some_and(|size| size > 0) => {
                tar.extend(fs::read(diff.join(line["name"].as_str().unwrap())).unwrap());
            }
            _ => {}
        }
    }
    tar
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for four in text.as_bytes().chunks(4) {
        let used = four.iter().filter(|byte| **byte != b'=').count();
        let bits = four.iter().fold(0, |bits, byte| bits << 6 | if *byte == b'=' { 0 } else { digit(*byte) });
        bytes.extend_from_slice(&bits.to_be_bytes()[1..used]);
    }
    bytes
}

#[test]
fn every_tar_can_be_made_again() {
    let unpacked = unpack(&bundle("v1.1.2", &["vmware/app:v1"], &save(&images()))).unwrap();
    let layers = layers(&unpacked);
    assert_eq!(layers.len(), 4, "base; above on base; other on base; above on other");
    for (diff, cache, record) in layers.values() {
        let wanted = fs::read_to_string(record.join("diff")).unwrap();
        assert_eq!(format!("sha256:{}", Digest::of(&tar_again(diff, record))), wanted);
        let link = fs::read_to_string(cache.join("link")).unwrap();
        let short = unpacked.path("docker/overlay2/l").join(link);
        assert_eq!(fs::canonicalize(short).unwrap(), fs::canonicalize(cache.join("diff")).unwrap());
    }
}

#[test]
fn records_are_docker_s() {
    let unpacked = unpack(&bundle("v1.1.2-x", &["vmware/app:v1", "app:2"], &save(&images()))).unwrap();
    let record =
        r#"{"schema":1,"version":"v1.1.2-x","generation":"cfg","images":["app:2","vmware/app:v1","vmware/two:v1"]}"#;
    assert_eq!(unpacked.read("root/usr/share/habuild/bundle.json"), format!("{record}\n"));
    let id = Digest::of(&images()[0].configuration());
    let list: Value = serde_json::from_str(&unpacked.read("root/usr/share/habuild/images.json")).unwrap();
    assert_eq!(list["images"][0]["id"], id.to_string());
    assert_eq!(list["images"][0]["names"], serde_json::json!(["vmware/app:v1", "app:2"]));
    let repositories: Value = serde_json::from_str(&unpacked.read("docker/image/overlay2/repositories.json")).unwrap();
    assert_eq!(repositories["Repositories"]["vmware/app"]["vmware/app:v1"], format!("sha256:{id}"));
    assert_eq!(repositories["Repositories"]["app"]["app:2"], format!("sha256:{id}"));
    let configuration = unpacked.read(format!("docker/image/overlay2/imagedb/content/sha256/{id}"));
    assert_eq!(configuration.as_bytes(), images()[0].configuration());
    let layers = layers(&unpacked);
    for chain in list["images"][0]["chains"].as_array().unwrap() {
        assert!(layers.contains_key(chain.as_str().unwrap()), "{chain}");
    }
    let (diff, cache, record) = &layers[&Digest::of(&base()).to_string()];
    // Two files of which one has two names, and a symbolic link: 6 + 2 + 70000 + 1 bytes, and 7 for the link.
    assert_eq!(fs::read_to_string(record.join("size")).unwrap(), "70016");
    assert!(!record.join("parent").exists() && !cache.join("lower").exists() && !cache.join("work").exists());
    let inode = |name: &str| fs::metadata(diff.join(name)).unwrap().ino();
    assert_eq!(inode("etc/words"), inode("etc/again"));
    let su = fs::metadata(diff.join("usr/bin/su")).unwrap();
    assert_eq!((su.mode() & 0o7777, su.mtime()), (0o4755, 1_500_000_000));
    let mode = |path: &str| fs::metadata(unpacked.path(path)).unwrap().mode() & 0o7777;
    let modes = ["docker", "docker/overlay2", "docker/image", "docker/overlay2/l"].map(mode);
    assert_eq!(modes, [0o710, 0o710, 0o700, 0o700]);
    let bundle = |path: &str| format!("root/usr/share/habuild/bundle/{path}");
    assert_eq!(["prepare", "harbor.cfg", "common"].map(|path| mode(&bundle(path))), [0o755, 0o644, 0o755]);
    assert!(!unpacked.path(bundle("harbor.v1.1.2-x.tar.gz")).exists(), "the image archive is in the store");
    assert_eq!(fs::read_link(unpacked.path(bundle("common/here"))).unwrap(), PathBuf::from("templates/ui"));
}

#[test]
fn what_cannot_be_made_here_is_listed() {
    let unpacked = unpack(&bundle("v1.1.2", &["vmware/app:v1"], &save(&images()[..1]))).unwrap();
    let layers = layers(&unpacked);
    let (diff, cache, _) = layers.values().find(|(_, _, record)| record.join("parent").exists()).unwrap();
    let (own, at) = (fs::metadata(cache).unwrap(), cache.strip_prefix(unpacked.path("docker")).unwrap().display());
    let mut expected: Vec<String> = [
        format!("whiteout {at}/diff/etc/again"),
        format!("whiteout {at}/diff/gone"),
        format!("attribute {at}/diff/noted user.note a%20b"),
        format!("owner {at}/diff/noted 70000 {}", own.gid()),
        format!("node {at}/diff/null c 1 3 0666 {} {} 1500000000", own.uid(), own.gid()),
        format!("opaque {at}/diff/var"),
    ]
    .into();
    expected.sort();
    let mut marks = unpacked.laid_out.marks.clone();
    let mut found: Vec<String> = docker::marks::text(&mut marks).lines().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, expected);
    assert!(!diff.join(".wh.gone").exists() && !diff.join("null").exists());
}

#[test]
fn the_form_of_the_archive_leaves_no_trace() {
    let mut stores = Vec::new();
    let forms = [save(&images()), save_blobs(&images(), Blobs::Plain), save_blobs(&images(), Blobs::Gzip)];
    for saved in forms.into_iter().chain([save_blobs(&images(), Blobs::Zstd)]) {
        let unpacked = unpack(&bundle("v1.1.2", &["vmware/app:v1"], &saved)).unwrap();
        pack::settle(&unpacked.path("docker"), 1_600_000_000).unwrap();
        let digest = pack::pack(&unpacked.path("docker"), &unpacked.path("tar")).unwrap();
        let diffs: Vec<_> = unpacked.laid_out.mounts.values().map(|diff| pack::digest(diff).unwrap()).collect();
        stores.push((digest, diffs, unpacked.laid_out.marks.clone()));
    }
    assert_eq!(stores[0], stores[1], "blobs");
    assert_eq!(stores[0], stores[2], "blobs with gzip");
    assert_eq!(stores[0], stores[3], "blobs with zstd");
}

/// Docker makes the directory that a layer only hides what lies below, and files that old Dockers put behind a prefix.
#[test]
fn what_only_a_mark_or_a_prefix_names() {
    let below = Tar::new().directory("d/").file("d/old", "o").finish();
    let mut above = Tar::new().file("d/.wh..wh..opq", "").file("e/x", "x").file(&"f".repeat(60), "f").finish();
    let header = above.chunks_mut(512).find(|block| block.starts_with(&[b'f'; 60])).unwrap();
    header[345..354].copy_from_slice(b"usr/share");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let image = Image::new("app:1", &[&below, &above]);
    let unpacked = unpack(&bundle("v1.1.2", &["app:1"], &save(&[image]))).unwrap();
    let layer = &unpacked.bundle.layers[&Digest::of(&above)];
    assert_eq!(layer.marks, [Mark { path: "d".into(), what: What::Opaque }]);
    assert!(layer.diff().join("d").is_dir() && layer.diff().join("usr/share").join("f".repeat(60)).is_file());
}
