//! Two versions of a bundle like Harbor's: 1 GB of container images, many small files and some large ones, of which the
//! second version has four fifths too.
//!
//! Everything is drawn from one seed. Text and code are made to compress as real ones do, by 3.8 and by 2.6, and
//! are decompressed as fast.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use habuild::sys::digest::{Digest, Hashing};
use serde_json::json;
use tar::{Builder, EntryType, Header};

/// The versions, the second with some layers changed.
pub(crate) const VERSIONS: [&str; 2] = ["v1.5.0", "v1.5.1"];

/// What a layer is made of.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    /// Files of a distribution: thousands, most of a few kilobytes.
    Files,
    /// Programs: a few files of many megabytes.
    Programs,
}

/// Name, content, length in MiB, and whether the second version has another one.
type Layer = (&'static str, Of, u64, bool);

const PHOTON: Layer = ("photon", Of::Files, 150, false);
const TOOLS: Layer = ("tools", Of::Files, 35, false);

const IMAGES: [(&str, &[Layer]); 8] = [
    ("log", &[PHOTON, ("rsyslog", Of::Files, 25, false), ("log-start", Of::Files, 1, false)]),
    ("adminserver", &[PHOTON, TOOLS, ("adminserver", Of::Programs, 40, true)]),
    ("db", &[PHOTON, ("mariadb", Of::Files, 180, false), ("db-start", Of::Files, 2, false)]),
    (
        "ui",
        &[
            PHOTON,
            TOOLS,
            ("ui", Of::Programs, 60, true),
            ("ui-static", Of::Files, 40, true),
            ("ui-views", Of::Files, 3, false),
            ("ui-start", Of::Files, 1, false),
        ],
    ),
    ("jobservice", &[PHOTON, TOOLS, ("jobservice", Of::Programs, 60, true)]),
    ("nginx", &[PHOTON, ("nginx", Of::Files, 30, false), ("nginx-start", Of::Files, 1, false)]),
    ("registry", &[PHOTON, TOOLS, ("registry", Of::Programs, 70, false), ("registry-start", Of::Files, 1, false)]),
    (
        "clair",
        &[
            PHOTON,
            TOOLS,
            ("git", Of::Files, 100, false),
            ("clair", Of::Programs, 200, false),
            ("updates", Of::Files, 3, false),
        ],
    ),
];

/// The bundles in a directory, and what is in them.
#[derive(Debug)]
pub(crate) struct Archives {
    at: PathBuf,
    /// The length of each version's layers, each layer once.
    pub(crate) lengths: [u64; 2],
    /// What both versions have of it.
    pub(crate) shared: u64,
    /// Entries in the first version's layers.
    pub(crate) entries: usize,
}

impl Archives {
    /// The offline installer.
    pub(crate) fn bundle(&self, version: usize) -> PathBuf {
        self.at.join(format!("harbor-offline-installer-{}.tgz", VERSIONS[version]))
    }

    /// The archive of its container images.
    pub(crate) fn saved(&self, version: usize) -> PathBuf {
        saved(&self.at, version)
    }

    /// Makes them in the directory `at`.
    pub(crate) fn make(at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let mut made: BTreeMap<(&str, usize), Made> = BTreeMap::new();
        for (name, of, mib, changes) in IMAGES.iter().flat_map(|(_, layers)| layers.iter().copied()) {
            for version in 0..=usize::from(changes) {
                made.entry((name, version)).or_insert_with(|| make_layer(at, name, version, of, mib << 20));
            }
        }
        let of = |version: usize, (name, .., changes): Layer| &made[&(name, version * usize::from(changes))];
        thread::scope(|scope| {
            for version in 0..VERSIONS.len() {
                scope.spawn(move || make_bundle(at, version, |layer| of(version, layer)));
            }
        });
        made.values().for_each(|layer| fs::remove_file(&layer.tar).unwrap());
        let sum = |keep: &dyn Fn(&str, usize) -> bool| {
            made.iter().filter(|((name, version), _)| keep(name, *version)).map(|(_, layer)| layer.length).sum()
        };
        let changes = |name: &str| made.contains_key(&(name, 1));
        Self {
            at: at.into(),
            lengths: [sum(&|_, version| version == 0), sum(&|name, version| version == 1 || !changes(name))],
            shared: sum(&|name, _| !changes(name)),
            entries: made.iter().filter(|((_, version), _)| *version == 0).map(|(_, layer)| layer.entries).sum(),
        }
    }
}

fn saved(at: &Path, version: usize) -> PathBuf {
    at.join(format!("harbor.{}.tar.gz", VERSIONS[version]))
}

/// A layer's tar.
struct Made {
    tar: PathBuf,
    diff_id: Digest,
    length: u64,
    entries: usize,
}

fn make_layer(at: &Path, name: &str, version: usize, of: Of, length: u64) -> Made {
    let path = at.join(format!("{name}-{version}.tar"));
    let mut dice = Dice::new(&format!("{name} {version}"));
    let words = Words::new();
    let mut tar = Builder::new(Hashing::new(BufWriter::with_capacity(1 << 20, File::create(&path).unwrap())));
    let (mut entries, mut written, mut directory) = (0, 0, String::new());
    while written < length {
        if entries % 24 == 0 {
            directory =
                format!("usr/{}/{name}/{}-{entries}", ["lib", "share"][dice.below(2)], words.text[dice.below(900)]);
            tar.append_data(&mut header(EntryType::Directory, 0o755, 0), format!("{directory}/"), io::empty()).unwrap();
        }
        let size = match of {
            Of::Programs => (8 << 20) + dice.below(24 << 20) as u64,
            // A third of the bytes are in files of megabytes, as in a distribution.
            Of::Files if dice.below(250) == 0 => (1 << 20) + dice.below(4 << 20) as u64,
            Of::Files => 1_u64.wrapping_shl(8 + dice.below(8) as u32) + dice.below(6000) as u64,
        };
        let size = size.min(length - written);
        let file = format!("{directory}/{}.{entries}", words.text[dice.below(900)]);
        if dice.below(12) == 0 {
            let mut link = header(EntryType::Symlink, 0o777, 0);
            tar.append_link(&mut link, &file, "../other/file").unwrap();
        } else {
            let is_code = of == Of::Programs || size > 1 << 20 || dice.below(3) == 0;
            let content = words.content(&mut dice, is_code, usize::try_from(size).unwrap());
            let mode = if is_code { 0o755 } else { 0o644 };
            tar.append_data(&mut header(EntryType::Regular, mode, size), &file, content.as_slice()).unwrap();
            written += size;
        }
        entries += 1;
    }
    let (diff_id, length, mut file) = tar.into_inner().unwrap().finish();
    file.flush().unwrap();
    Made { tar: path, diff_id, length, entries }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_500_000_000);
    header.set_size(size);
    header
}

/// What lies at a path of an archive.
enum Content<'a> {
    Bytes(Vec<u8>),
    File(&'a Path),
}

/// As `docker save | gzip` writes the images, and `tar -cz` the installer around them.
fn make_bundle<'a>(at: &Path, version: usize, layer: impl Fn(Layer) -> &'a Made) {
    let mut contents: BTreeMap<String, Content<'_>> = BTreeMap::new();
    let (mut manifest, mut names) = (Vec::new(), Vec::new());
    for (name, layers) in IMAGES {
        let made: Vec<&Made> = layers.iter().map(|it| layer(*it)).collect();
        let diff_ids: Vec<String> = made.iter().map(|layer| format!("sha256:{}", layer.diff_id)).collect();
        let history: Vec<_> = diff_ids.iter().map(|_| json!({"created": "2018-05-01T00:00:00Z"})).collect();
        let configuration = json!({
            "architecture": "amd64", "os": "linux", "created": "2018-05-01T00:00:00Z", "config": {"Cmd": [name]},
            "history": history, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })
        .to_string();
        // The id of a layer stands for everything below it, the top one's for the configuration too.
        let mut below = String::new();
        let ids = made.iter().enumerate().map(|(index, layer)| {
            below += &format!("{} ", layer.diff_id);
            let top = if index + 1 == made.len() { configuration.as_str() } else { "" };
            Digest::of(format!("{below}{top}").as_bytes()).to_string()
        });
        let ids: Vec<String> = ids.collect();
        for (id, layer) in ids.iter().zip(&made) {
            contents.insert(format!("{id}/VERSION"), Content::Bytes(b"1.0".to_vec()));
            contents.insert(format!("{id}/json"), Content::Bytes(json!({"id": id}).to_string().into_bytes()));
            contents.insert(format!("{id}/layer.tar"), Content::File(&layer.tar));
        }
        let (tag, config) =
            (format!("vmware/harbor-{name}:{}", VERSIONS[version]), Digest::of(configuration.as_bytes()));
        let layers: Vec<String> = ids.iter().map(|id| format!("{id}/layer.tar")).collect();
        manifest.push(json!({"Config": format!("{config}.json"), "RepoTags": [tag], "Layers": layers}));
        contents.insert(format!("{config}.json"), Content::Bytes(configuration.into_bytes()));
        names.push(tag);
    }
    contents.insert("manifest.json".into(), Content::Bytes(json!(manifest).to_string().into_bytes()));
    let saved = saved(at, version);
    write(&saved, contents);
    // Harbor's own come first, as far as the images go.
    let own = ["registry", "adminserver", "jobservice", "proxy", "ui"];
    let service = |i: usize| own.get(i).map_or_else(|| format!("s{i}"), |name| (*name).to_owned());
    let services = names.iter().enumerate().map(|(i, name)| format!("  {}:\n    image: {name}\n", service(i)));
    let compose = format!("version: '2'\nservices:\n{}", services.collect::<String>());
    let inner = format!("harbor/harbor.{}.tar.gz", VERSIONS[version]);
    write(
        &at.join(format!("harbor-offline-installer-{}.tgz", VERSIONS[version])),
        BTreeMap::from([
            ("harbor/docker-compose.yml".into(), Content::Bytes(compose.into_bytes())),
            ("harbor/harbor.cfg".into(), Content::Bytes(b"hostname = reg.mydomain.com\n".to_vec())),
            (inner, Content::File(&saved)),
        ]),
    );
}

fn write(path: &Path, contents: BTreeMap<String, Content<'_>>) {
    let file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let mut tar = Builder::new(GzEncoder::new(file, Compression::new(6)));
    for (name, content) in contents {
        let mut of = |size, content: &mut dyn io::Read| {
            tar.append_data(&mut header(EntryType::Regular, 0o644, size), &name, content).unwrap();
        };
        match content {
            Content::Bytes(bytes) => of(bytes.len() as u64, &mut bytes.as_slice()),
            Content::File(path) => of(fs::metadata(path).unwrap().len(), &mut File::open(path).unwrap()),
        }
    }
    tar.into_inner().unwrap().finish().unwrap().flush().unwrap();
}

/// What text and code are put together from.
struct Words {
    text: Vec<String>,
    code: Vec<Vec<u8>>,
}

impl Words {
    fn new() -> Self {
        let mut dice = Dice::new("words");
        let mut letters = |most: usize| -> String {
            (0..2 + dice.below(most)).map(|_| char::from(b'a' + dice.skewed(26) as u8)).collect()
        };
        let text = (0..4000).map(|_| letters(9)).collect();
        let mut dice = Dice::new("code");
        let code = (0..6000).map(|_| (0..2 + dice.below(9)).map(|_| dice.skewed(256) as u8).collect()).collect();
        Self { text, code }
    }

    fn content(&self, dice: &mut Dice, is_code: bool, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 16);
        while bytes.len() < length {
            // Much of a file stands in it a second time.
            if bytes.len() > 64 && dice.below(6) == 0 {
                let start = bytes.len() - 64 - dice.skewed((bytes.len() - 63).min(30_000));
                let end = bytes.len().min(start + 8 + dice.skewed(120));
                bytes.extend_from_within(start..end);
            } else if is_code {
                bytes.extend_from_slice(&self.code[dice.skewed(self.code.len())]);
                if dice.below(4) == 0 {
                    bytes.extend_from_slice(&[dice.below(256) as u8, dice.skewed(256) as u8]);
                }
            } else {
                bytes.extend_from_slice(self.text[dice.skewed(self.text.len())].as_bytes());
                bytes.push(if dice.below(10) == 0 { b'\n' } else { b' ' });
            }
        }
        bytes.truncate(length);
        bytes
    }
}

/// Numbers that look random: SplitMix64.
struct Dice(u64);

impl Dice {
    fn new(seed: &str) -> Self {
        let digest = Digest::of(seed.as_bytes()).0;
        Self(digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte)))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((mixed ^ (mixed >> 31)) as u128 * end as u128) >> 64) as usize
    }

    /// The same, small numbers more often, as the words of a language.
    fn skewed(&mut self, end: usize) -> usize {
        let (one, two) = (self.below(1 << 16), self.below(1 << 16));
        one * two / (1 << 16) * one / (1 << 16) * end / (1 << 16)
    }
}
