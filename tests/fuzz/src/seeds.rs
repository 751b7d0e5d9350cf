//! Inputs to begin with: archives as they should be, and one of each kind that must be refused.

use super::property::make::{Blobs, Image, Tar, bundle_files, gzip, save, save_blobs, save_with};

/// A fuzz target, a name, and the input.
pub(crate) type Seed = (&'static str, &'static str, Vec<u8>);

/// All of them.
pub(crate) fn seeds() -> Vec<Seed> {
    [layers(), image_archives(), bundles(), blobs()].concat()
}

fn base() -> Vec<u8> {
    let long = format!("opt/{}/{}", "d".repeat(60), "e".repeat(60));
    let tar = Tar::new().directory("./").directory("etc/").file("etc/words", "hello\n");
    tar.hard_link("etc/again", "etc/words").symlink("bin", "usr/bin").file(&long, "7").finish()
}

fn above() -> Vec<u8> {
    let tar = Tar::new().directory("etc/").file("etc/.wh.again", "").file("var/.wh..wh..opq", "").file("var/y", "y");
    let tar = tar.file(".wh.var", "").device("null", (1, 3));
    tar.records(&[("SCHILY.xattr.user.note", b"a b"), ("uid", b"70000")]).file("noted", "n").finish()
}

fn layers() -> Vec<Seed> {
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let able = Tar::new().records(&[("SCHILY.xattr.security.capability", &capability)]).file("a", "x");
    let numbers: [(&str, &[u8]); 3] = [("mtime", b"1.5"), ("gid", b"5"), ("size", b"1")];
    vec![
        ("layer", "base", base()),
        ("layer", "above", above()),
        ("layer", "capability", able.finish()),
        ("layer", "numbers", Tar::new().records(&numbers).file("a", "x").finish()),
        ("layer", "names", Tar::new().records(&[("path", b"b/c"), ("linkpath", b"x")]).symlink("a", "x").finish()),
        ("layer", "out", Tar::new().file("a/../../x", "x").finish()),
        ("layer", "through", Tar::new().symlink("a", "/etc").file("a/x", "x").finish()),
        ("layer", "link-out", Tar::new().hard_link("a", "../../etc/passwd").finish()),
        ("layer", "twice", Tar::new().file("a", "x").file("./a", "y").finish()),
        ("layer", "sparse", Tar::new().records(&[("GNU.sparse.major", b"1")]).file("a", "x").finish()),
        ("layer", "empty", Tar::new().finish()),
    ]
}

fn two() -> [Image; 2] {
    let mut first = Image::new("vmware/app:v1", &[&base(), &above()]);
    first.tags.push("app:2".into());
    [first, Image::new("vmware/two:v1", &[&base()])]
}

fn small() -> [Image; 1] {
    [Image::new("a:1", &[&Tar::new().file("a", "x").finish()])]
}

/// Arrays in arrays.
fn deep(levels: usize) -> serde_json::Value {
    (0..levels).fold(serde_json::Value::Null, |inner, _| serde_json::json!([inner]))
}

fn image_archives() -> Vec<Seed> {
    vec![
        ("images", "saved", save(&two())),
        ("images", "small", save(&small())),
        ("images", "plain", save_blobs(&small(), Blobs::Plain)),
        ("images", "gzip", save_blobs(&small(), Blobs::Gzip)),
        ("images", "zstd", save_blobs(&small(), Blobs::Zstd)),
        ("images", "no-layers", save_with(&small(), |manifest| manifest[0]["Layers"] = serde_json::json!([]))),
        ("images", "no-tags", save_with(&small(), |manifest| manifest[0]["RepoTags"] = serde_json::Value::Null)),
        ("images", "bad-tag", save_with(&small(), |manifest| manifest[0]["RepoTags"][0] = "../a:b".into())),
        ("images", "deep", save_with(&[], |manifest| *manifest = deep(100))),
        ("images", "out", Tar::new().symlink("a", "../x").file("../x", "").finish()),
    ]
}

fn bundles() -> Vec<Seed> {
    let of = |images: &[Image]| bundle_files(&["a:1"]).file("harbor/harbor.v1.1.2.tar.gz", save(images)).finish();
    let with = |add: fn(Tar) -> Tar| add(bundle_files(&[])).finish();
    vec![
        ("bundle", "good", of(&small())),
        ("bundle", "lacks", of(&two())),
        ("bundle", "compressed", gzip(&of(&small()))),
        ("bundle", "no-images", with(|tar| tar)),
        ("bundle", "link-out", with(|tar| tar.symlink("harbor/out", "../../x"))),
        ("bundle", "hard-link", with(|tar| tar.hard_link("harbor/a", "harbor/prepare").hard_link("harbor/b", "../x"))),
        ("bundle", "device", with(|tar| tar.device("harbor/null", (1, 3)))),
        ("bundle", "yml", with(|tar| tar.file("harbor/harbor.v2.0.0.tar.gz", ""))),
        ("bundle", "deep", composed(&format!("services: {}", "[".repeat(5000)))),
        ("bundle", "laughs", composed(&laughs())),
        ("bundle", "beside", with(|tar| tar.file("harbor/../x", "x"))),
    ]
}

/// A bundle with that compose file.
fn composed(text: &str) -> Vec<u8> {
    let tar = Tar::new().file("harbor/docker-compose.yml", text);
    tar.file("harbor/harbor.v1.1.2.tar.gz", save(&small())).finish()
}

/// Ten names, each of which stands for ten of the one before it.
fn laughs() -> String {
    let line = |i: usize| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
    format!("a0: &a0 ha\n{}services: {{a: {{image: *a9}}}}\n", (1..10).map(line).collect::<String>())
}

fn blobs() -> Vec<Seed> {
    let zstd = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
    let mut record = Tar::new().records(&[("comment", b"x")]).finish();
    record.truncate(1024);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    vec![
        ("compressed", "gzip", gzip(&base())),
        ("compressed", "gzips", [gzip(&base()[..700]), gzip(&base()[700..])].concat()),
        ("compressed", "zstd", zstd(&base())),
        ("compressed", "zstds", [zstd(&base()[..700]), skipped, zstd(&base()[700..])].concat()),
        ("compressed", "no-entry", zstd(&record.repeat(2000))),
        ("compressed", "many-entries", zstd(&base()[..1024].repeat(1000))),
        ("compressed", "gzip-of-nothing", gzip(&[0; 1 << 20])),
        ("compressed", "zstd-of-nothing", zstd(&[0; 1 << 20])),
    ]
}
