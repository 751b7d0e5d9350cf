//! Reads an [`ImageSpec`] from its table: defaults, ranges, and what this version cannot do yet.

use super::decode::{Node, Table};
use super::image::{Artifacts, Base, Disk, Firmware, Format, Harbor, ImageSpec, Root};
use super::names::{ByteSize, Distribution, parse_name};
use super::release;
use super::url::{Scheme, parse_url};
use crate::sys::digest::Digest;
use contract::strict::{Mistake, quoted};

/// The layer that every image starts from.
pub(crate) const FIRST_LAYER: &str = "base";
/// The layer that the builder's own tools run from; needed always and part of no image.
pub(crate) const TOOLS_LAYER: &str = "tools";

const DEFAULT_VAR: ByteSize = ByteSize(8 << 30);
const LEAST_VAR: ByteSize = ByteSize::GIB;
/// The largest ext4 of 4 KiB blocks that every tool of every release handles.
const MOST_VAR: ByteSize = ByteSize(16 << 40);

/// Formats of the design that come later.
const LATER_FORMATS: [&str; 5] = ["vhd", "vmdk", "gce", "ova", "raw.zst"];

/// What could be read of an image spec. The parts that other files are checked against stand beside the whole, so
/// that a mistake elsewhere in the spec does not hide those of its layers.
#[derive(Debug)]
pub(crate) struct ReadImage<'t> {
    pub(crate) spec: Option<ImageSpec>,
    pub(crate) base: Option<Base>,
    pub(crate) layers: Vec<(String, Node<'t>)>,
    /// `[harbor]`, whatever it holds.
    pub(crate) harbor: Option<Node<'t>>,
}

/// Reads the spec; every mistake goes to the problems that the table belongs to.
pub(crate) fn read_image<'t>(root: Table<'t>) -> ReadImage<'t> {
    let name = root.required("name", "name = \"my-image\"").and_then(|node| node.parse(parse_name));
    let mut named = Vec::new();
    let layers = root.required("layers", "layers = [\"base\", …]").and_then(|node| read_layer_names(&node, &mut named));
    let base =
        root.required("base", "[base] with distribution and release").and_then(|node| node.table()).and_then(read_base);
    // `None` inside: absent. `None` outside: there, and wrong.
    let harbor_node = root.get("harbor");
    let harbor = harbor_node.as_ref().map_or(Some(None), |node| read_harbor(node).map(Some));
    let disk = root.get("disk").map_or_else(|| Some(default_disk()), |node| node.table().and_then(read_disk));
    let artifacts =
        root.get("artifacts").map_or_else(|| Some(default_artifacts()), |node| node.table().and_then(read_artifacts));
    root.finish();
    let spec = (|| {
        Some(ImageSpec {
            name: name?,
            layers: layers?,
            base: base.clone()?,
            harbor: harbor?,
            disk: disk?,
            artifacts: artifacts?,
        })
    })();
    ReadImage { spec, base, layers: named, harbor: harbor_node }
}

fn read_layer_names<'t>(node: &Node<'t>, named: &mut Vec<(String, Node<'t>)>) -> Option<Vec<String>> {
    let names = node.non_empty_set(|item| {
        let name = item.parse(parse_name)?;
        if name == TOOLS_LAYER {
            item.refuse(
                Mistake::new("the tools layer is part of no image")
                    .hint("remove it: the builder's own tools run from it, unasked"),
            );
            return None;
        }
        named.push((name.clone(), item.clone()));
        Some(name)
    });
    let first = node.items()?.first().cloned()?;
    if first.string_quietly().is_some_and(|name| name != FIRST_LAYER) {
        first.refuse(Mistake::new(format!("the first layer must be {FIRST_LAYER:?}")));
        return None;
    }
    names
}

fn read_base(table: Table<'_>) -> Option<Base> {
    let distribution = table
        .required("distribution", "distribution = \"ubuntu\" or \"debian\"")
        .and_then(|node| node.parse(str::parse::<Distribution>));
    let release = table.required("release", "release = \"noble\"").and_then(|node| {
        // Without a distribution there is nothing to look the name up in; that problem is already told.
        let name = node.string()?;
        node.accept(release::find_first_class(distribution?, name)).map(|release| release.name.to_owned())
    });
    let architecture = match table.get("architecture") {
        None => Some("amd64".to_owned()),
        Some(node) => node.parse(parse_architecture),
    };
    let mirror = optional(&table, "mirror", |node| node.parse(|text| parse_url(text, Scheme::HttpOrHttps)));
    let snapshot = optional(&table, "snapshot", |node| node.parse(|text| parse_url(text, Scheme::HttpOrHttps)));
    table.finish();
    Some(Base {
        distribution: distribution?,
        release: release?,
        architecture: architecture?,
        mirror: mirror?,
        snapshot: snapshot?,
    })
}

fn parse_architecture(text: &str) -> Result<String, Mistake> {
    match text {
        "amd64" => Ok(text.to_owned()),
        "arm64" => Err(Mistake::not_in_this_version("arm64").hint("this version bakes amd64")),
        // What uname and Docker call it.
        "x86_64" | "x86-64" => Err(Mistake::new(format!("unknown architecture {text:?}")).hint("write \"amd64\"")),
        _ => Err(Mistake::unknown("architecture", text, ["amd64", "arm64"])),
    }
}

fn read_harbor(node: &Node<'_>) -> Option<Harbor> {
    let table = node.table()?;
    let bundle = table.required("bundle", "bundle = \"PATH or https URL\"");
    let is_url = bundle.as_ref().and_then(Node::string_quietly).is_some_and(|text| text.contains("://"));
    let bundle = bundle.and_then(|node| node.parse(parse_bundle));
    let sha256 = match table.get("sha256") {
        None if is_url => {
            table.refuse(
                Mistake::new("a bundle from a URL needs sha256").hint("add sha256 = \"64 hexadecimal digits\""),
            );
            None
        }
        None => Some(None),
        Some(node) => node.parse(parse_digest).map(Some),
    };
    table.finish();
    Some(Harbor { bundle: bundle?, sha256: sha256? })
}

fn parse_bundle(text: &str) -> Result<String, Mistake> {
    if text.contains("://") {
        return parse_url(text, Scheme::HttpsOnly);
    }
    // A person's own path may be absolute or lead upwards; it must only be one.
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Mistake::new(format!("{} is neither a path nor an https URL", quoted(text))));
    }
    Ok(text.to_owned())
}

/// Parses 64 hexadecimal digits.
pub(crate) fn parse_digest(text: &str) -> Result<Digest, Mistake> {
    Digest::parse(text).ok_or_else(|| {
        Mistake::new(format!("{} is not a SHA-256 digest", quoted(text)))
            .hint("64 hexadecimal digits, as sha256sum prints")
    })
}

fn default_disk() -> Disk {
    Disk { root: default_root(), var_size: DEFAULT_VAR, firmware: vec![Firmware::Bios, Firmware::Uefi] }
}

fn default_root() -> Root {
    Root { filesystem: "squashfs".to_owned(), verity: true }
}

fn default_artifacts() -> Artifacts {
    Artifacts { formats: vec![Format::Qcow2] }
}

fn read_disk(table: Table<'_>) -> Option<Disk> {
    let root = table.get("root").map_or_else(|| Some(default_root()), |node| node.table().and_then(read_root));
    let var_size = table.get("var").map_or(Some(DEFAULT_VAR), |node| node.table().and_then(read_var));
    let firmware = table
        .get("firmware")
        .map_or_else(|| Some(default_disk().firmware), |node| node.non_empty_set(|item| item.parse(parse_firmware)));
    table.finish();
    Some(Disk { root: root?, var_size: var_size?, firmware: firmware? })
}

fn read_root(table: Table<'_>) -> Option<Root> {
    let filesystem = table.get("filesystem").map_or_else(
        || Some(default_root().filesystem),
        |node| {
            node.parse(|text| match text {
                "squashfs" => Ok(text.to_owned()),
                "erofs" | "ext4" => Err(Mistake::not_in_this_version(format_args!("a root of {text}"))
                    .hint("this version makes \"squashfs\"")),
                _ => Err(Mistake::unknown("file system", text, ["squashfs", "erofs", "ext4"])),
            })
        },
    );
    let verity = table.get("verity").map_or(Some(true), |node| {
        let verity = node.boolean()?;
        if !verity {
            node.refuse(Mistake::not_in_this_version("a root without verity").hint("leave the key out"));
        }
        verity.then_some(true)
    });
    table.finish();
    Some(Root { filesystem: filesystem?, verity: verity? })
}

fn read_var(table: Table<'_>) -> Option<ByteSize> {
    let size = table.get("size").map_or(Some(DEFAULT_VAR), |node| node.parse_number_or_string(parse_var_size));
    table.finish();
    size
}

fn parse_var_size(text: &str) -> Result<ByteSize, Mistake> {
    let size: ByteSize = text.parse()?;
    if size < LEAST_VAR {
        return Err(Mistake::new(format!("{size} is too small")).hint(format!("at least {LEAST_VAR}")));
    }
    if size > MOST_VAR {
        return Err(Mistake::new(format!("{size} is too large"))
            .hint(format!("at most {MOST_VAR}; it grows to the disk's end at first boot")));
    }
    if !size.0.is_multiple_of(ByteSize::MIB.0) {
        return Err(Mistake::new(format!("{size} is not a whole number of MiB"))
            .hint(format!("write \"{}MiB\"", size.0.div_ceil(ByteSize::MIB.0))));
    }
    Ok(size)
}

fn parse_firmware(text: &str) -> Result<Firmware, Mistake> {
    match text {
        "bios" => Ok(Firmware::Bios),
        "uefi" => Ok(Firmware::Uefi),
        "efi" => Err(Mistake::new("unknown firmware \"efi\"").hint("did you mean \"uefi\"?")),
        _ => Err(Mistake::unknown("firmware", text, ["bios", "uefi"])),
    }
}

fn read_artifacts(table: Table<'_>) -> Option<Artifacts> {
    let formats = table
        .get("formats")
        .map_or_else(|| Some(default_artifacts().formats), |node| node.non_empty_set(|item| item.parse(parse_format)));
    table.finish();
    Some(Artifacts { formats: formats? })
}

fn parse_format(text: &str) -> Result<Format, Mistake> {
    match text {
        "raw" => Ok(Format::Raw),
        "qcow2" => Ok(Format::Qcow2),
        later if LATER_FORMATS.contains(&later) => {
            Err(Mistake::not_in_this_version(later).hint("this version writes \"raw\" and \"qcow2\""))
        }
        _ => Err(Mistake::unknown("format", text, ["raw", "qcow2"].into_iter().chain(LATER_FORMATS))),
    }
}

/// An optional key: `Some(None)` when absent, `None` when there and wrong.
fn optional<'t, T>(
    table: &Table<'t>,
    key: &'static str,
    read: impl FnOnce(&Node<'t>) -> Option<T>,
) -> Option<Option<T>> {
    table.get(key).map_or(Some(None), |node| read(&node).map(Some))
}
