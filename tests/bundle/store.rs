//! What a store holds: each layer once, its exact tar again from its files, and what only `assemble` can make in a list.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use habuild::bake::pack;
use habuild::sys::digest::Digest;
use serde_json::Value;
use tempfile::TempDir;

use super::make::{Image, Tar, bundle, save, save_blobs};
use super::{read, unpack};

const STORE: &str = "var/lib/docker";

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

/// The layers of a store by chain id: directory of the layer, directory of its record.
fn layers(root: &TempDir) -> BTreeMap<String, (PathBuf, PathBuf)> {
    let store = root.path().join("root").join(STORE);
    let records = fs::read_dir(store.join("image/overlay2/layerdb/sha256")).unwrap().map(|entry| entry.unwrap());
    records
        .map(|record| {
            let cache = fs::read_to_string(record.path().join("cache-id")).unwrap();
            let chain = record.file_name().to_string_lossy().into_owned();
            (chain, (store.join("overlay2").join(cache), record.path()))
        })
        .collect()
}

/// Makes a layer's tar again, as Docker does to save it.
fn tar_again(layer: &(PathBuf, PathBuf)) -> Vec<u8> {
    let mut tar = Vec::new();
    let split = GzDecoder::new(fs::File::open(layer.1.join("tar-split.json.gz")).unwrap());
    for (position, line) in serde_json::Deserializer::from_reader(split).into_iter::<Value>().enumerate() {
        let line = line.unwrap();
        assert_eq!(line.get("position").map_or(0, |value| value.as_u64().unwrap()), position as u64);
        match line["type"].as_u64().unwrap() {
            2 => tar.extend(base64(line["payload"].as_str().unwrap())),
            _ if line["size"].as_u64().is_some_and(|size| size > 0) => {
                tar.extend(fs::read(layer.0.join("diff").join(line["name"].as_str().unwrap())).unwrap());
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
    let root = unpack(&bundle("v1.1.2", &["vmware/app:v1"], &save(&images()))).unwrap();
    let layers = layers(&root);
    assert_eq!(layers.len(), 4, "base; above on base; other on base; above on other");
    for layer in layers.values() {
        let wanted = fs::read_to_string(layer.1.join("diff")).unwrap();
        assert_eq!(format!("sha256:{}", Digest::of(&tar_again(layer))), wanted);
        let link = fs::read_to_string(layer.0.join("link")).unwrap();
        let short = root.path().join("root").join(STORE).join("overlay2/l").join(link);
        assert_eq!(fs::canonicalize(short).unwrap(), fs::canonicalize(layer.0.join("diff")).unwrap());
    }
}

#[test]
fn records_are_docker_s() {
    let root = unpack(&bundle("v1.1.2-x", &["vmware/app:v1", "app:2"], &save(&images()))).unwrap();
    let record =
        r#"{"schema":1,"version":"v1.1.2-x","generation":"cfg","images":["app:2","vmware/app:v1","vmware/two:v1"]}"#;
    assert_eq!(read(&root, "usr/share/habuild/bundle.json"), format!("{record}\n"));
    let id = Digest::of(&images()[0].configuration());
    let repositories: Value =
        serde_json::from_str(&read(&root, format!("{STORE}/image/overlay2/repositories.json"))).unwrap();
    assert_eq!(repositories["Repositories"]["vmware/app"]["vmware/app:v1"], format!("sha256:{id}"));
    assert_eq!(repositories["Repositories"]["app"]["app:2"], format!("sha256:{id}"));
    let configuration = read(&root, format!("{STORE}/image/overlay2/imagedb/content/sha256/{id}"));
    assert_eq!(configuration.as_bytes(), images()[0].configuration());
    let layers = layers(&root);
    let (cache, record) = &layers[&Digest::of(&base()).to_string()];
    // Two files of which one has two names, and a symbolic link: 6 + 2 + 70000 + 1 bytes, and 7 for the link.
    assert_eq!(fs::read_to_string(record.join("size")).unwrap(), "70016");
    assert!(!record.join("parent").exists() && !cache.join("lower").exists() && !cache.join("work").exists());
    let diff = cache.join("diff");
    let inode = |name: &str| fs::metadata(diff.join(name)).unwrap().ino();
    assert_eq!(inode("etc/words"), inode("etc/again"));
    let su = fs::metadata(diff.join("usr/bin/su")).unwrap();
    assert_eq!((su.mode() & 0o7777, su.mtime()), (0o4755, 1_500_000_000));
    let mode = |path: &str| fs::metadata(root.path().join("root").join(STORE).join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode(""), mode("overlay2"), mode("image"), mode("overlay2/l")), (0o710, 0o710, 0o700, 0o700));
    let bundle = root.path().join("root/usr/share/habuild/bundle");
    let mode = |path: &str| fs::metadata(bundle.join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("prepare"), mode("harbor.cfg"), mode("common")), (0o755, 0o644, 0o755));
    assert!(!bundle.join("harbor.v1.1.2-x.tar.gz").exists(), "the image archive is in the store");
    assert_eq!(fs::read_link(bundle.join("common/here")).unwrap(), PathBuf::from("templates/ui"));
}

#[test]
fn what_cannot_be_made_here_is_listed() {
    let root = unpack(&bundle("v1.1.2", &["vmware/app:v1"], &save(&images()[..1]))).unwrap();
    let list = read(&root, format!("{STORE}/overlay2/.habuild-marks"));
    let layers = layers(&root);
    let (cache, _) = layers.values().find(|(_, record)| record.join("parent").exists()).unwrap();
    let name = cache.file_name().unwrap().to_string_lossy();
    let own = fs::metadata(cache).unwrap();
    let expected = format!(
        "whiteout {name}/diff/etc/again\nwhiteout {name}/diff/gone\n\
         attribute {name}/diff/noted user.note a%20b\nowner {name}/diff/noted 70000 {}\n\
         node {name}/diff/null c 1 3 0666 {} {} 1500000000\nopaque {name}/diff/var\n",
        own.gid(),
        own.uid(),
        own.gid()
    );
    let sorted = |text: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    assert_eq!(sorted(&list), sorted(&expected));
    assert!(!cache.join("diff/.wh.gone").exists() && !cache.join("diff/null").exists());
}

#[test]
fn the_form_of_the_archive_leaves_no_trace() {
    let mut digests = Vec::new();
    for saved in [save(&images()), save_blobs(&images(), false), save_blobs(&images(), true)] {
        let root = unpack(&bundle("v1.1.2", &["vmware/app:v1"], &saved)).unwrap();
        let tree = root.path().join("root");
        pack::settle(&tree, 1_600_000_000).unwrap();
        digests.push(pack::pack(&tree.join(STORE), &root.path().join("tar")).unwrap());
    }
    assert_eq!(digests[0], digests[1], "blobs");
    assert_eq!(digests[0], digests[2], "compressed blobs");
}

#[test]
fn a_store_survives_the_layer_s_tar() {
    let root = unpack(&bundle("v1.1.2", &["vmware/app:v1"], &save(&images()))).unwrap();
    let (tree, tar, again) = (root.path().join("root"), root.path().join("tar"), root.path().join("again"));
    pack::settle(&tree, 1_600_000_000).unwrap();
    let first = pack::pack(&tree, &tar).unwrap();
    fs::create_dir(&again).unwrap();
    pack::unpack(&tar, &again).unwrap();
    assert_eq!(pack::pack(&again, &root.path().join("tar2")).unwrap(), first);
}
