//! Reads an [`ImageSpec`] from its tree: defaults, ranges, and what this version cannot do yet.

use super::image::{Artifacts, Base, Chosen, Disk, Firmware, Format, Harbor, ImageSpec, Root};
use super::names::{ByteSize, Distribution, parse_name};
use super::release;
use super::url::{Scheme, parse_url};
use crate::sys::digest::Digest;
use contract::harbor::{Defaults, HarborOption};
use contract::strict::{Field, Mistake, Reader, quoted};

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
    pub(crate) layers: Vec<(String, Field<'t>)>,
    /// `[harbor]`, whatever it holds.
    pub(crate) harbor: Option<Field<'t>>,
}

/// Reads the spec; every mistake goes to `d`.
pub(crate) fn read_image<'t>(d: &mut Reader, root: &Field<'t>) -> ReadImage<'t> {
    let mut named = Vec::new();
    let Some(fields) = d.fields(root, &["name", "layers", "base", "harbor", "disk", "artifacts"]) else {
        return ReadImage { spec: None, base: None, layers: named, harbor: None };
    };
    let name = d.need_like(&fields, "name", "name = \"my-image\"", |d, f| d.parsed(f, parse_name));
    let layers = d.need_like(&fields, "layers", "layers = [\"base\", …]", |d, f| read_layer_names(d, f, &mut named));
    let base = d.need_like(&fields, "base", "[base] with distribution and release", read_base);
    let harbor = d.maybe(&fields, "harbor", read_harbor);
    let disk = d.or(&fields, "disk", default_disk(), read_disk);
    let artifacts = d.or(&fields, "artifacts", default_artifacts(), read_artifacts);
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
    ReadImage { spec, base, layers: named, harbor: fields.get("harbor").cloned() }
}

fn read_layer_names<'t>(
    d: &mut Reader,
    field: &Field<'t>,
    named: &mut Vec<(String, Field<'t>)>,
) -> Option<Vec<String>> {
    let items = d.some_list(field)?;
    let first = items.first().cloned()?;
    let names = d.each_once(items, |d, item| {
        let name = d.parsed(item, parse_name)?;
        if name == TOOLS_LAYER {
            let mistake = Mistake::new("the tools layer is part of no image");
            return d.refuse(item, mistake.hint("remove it: the builder's own tools run from it, unasked"));
        }
        if named.iter().all(|(other, _)| *other != name) {
            named.push((name.clone(), item.clone()));
        }
        Some(name)
    });
    match first.quietly() {
        Some(name) if name != FIRST_LAYER => {
            d.refuse(&first, Mistake::new(format!("the first layer must be {FIRST_LAYER:?}")))
        }
        _ => names,
    }
}

fn read_base(d: &mut Reader, field: &Field<'_>) -> Option<Base> {
    let fields = d.fields(field, &["distribution", "release", "architecture", "mirror", "snapshot"])?;
    let distribution = d.need_like(&fields, "distribution", "distribution = \"ubuntu\" or \"debian\"", |d, f| {
        d.parsed(f, str::parse::<Distribution>)
    });
    let release = d.need_like(&fields, "release", "release = \"noble\"", |d, f| {
        let name = d.text(f)?;
        // Without a distribution there is nothing to look the name up in; that problem is already told.
        d.accept(f, release::find_first_class(distribution?, name)).map(|release| release.name.to_owned())
    });
    let architecture = d.or(&fields, "architecture", "amd64".to_owned(), |d, f| d.parsed(f, parse_architecture));
    let archive = |d: &mut Reader, f: &Field<'_>| d.parsed(f, |text| parse_url(text, Scheme::HttpOrHttps));
    let mirror = d.maybe(&fields, "mirror", archive);
    let snapshot = d.maybe(&fields, "snapshot", archive);
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

fn read_harbor(d: &mut Reader, field: &Field<'_>) -> Option<Harbor> {
    let fields = d.fields(field, &["bundle", "sha256", "options", "bundled", "settings"])?;
    let bundle = d.need_like(&fields, "bundle", "bundle = \"PATH or https URL\"", |d, f| d.parsed(f, parse_bundle));
    let sha256 = d.maybe(&fields, "sha256", |d, f| d.parsed(f, parse_digest));
    let options = d.maybe(&fields, "options", |d, f| d.list_of(f, parse_option));
    let bundled = d.or(&fields, "bundled", true, Reader::boolean);
    let settings = d.or(&fields, "settings", Defaults::default(), Defaults::read);
    let is_url = fields.get("bundle").and_then(Field::quietly).is_some_and(|text| text.contains("://"));
    if is_url && !fields.has("sha256") {
        let mistake = Mistake::new("a bundle from a URL needs sha256");
        return d.refuse_key(field, mistake.hint("add sha256 = \"64 hexadecimal digits\""));
    }
    let images = Chosen { options: options?, bundled: bundled? };
    Some(Harbor { bundle: bundle?, sha256: sha256?, images, settings: settings? })
}

fn parse_option(text: &str) -> Result<HarborOption, Mistake> {
    let mut options = HarborOption::ALL.into_iter();
    match options.find(|option| option.name() == text) {
        Some(option) => Ok(option),
        None if ["clair", "notary", "chartmuseum"].contains(&text) => Err(Mistake::not_in_this_version(text)),
        None => Err(Mistake::unknown("option of Harbor", text, HarborOption::ALL.map(HarborOption::name))),
    }
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

fn read_disk(d: &mut Reader, field: &Field<'_>) -> Option<Disk> {
    let fields = d.fields(field, &["root", "var", "firmware"])?;
    let root = d.or(&fields, "root", default_root(), read_root);
    let var_size = d.or(&fields, "var", DEFAULT_VAR, read_var);
    let firmware = d.or(&fields, "firmware", default_disk().firmware, |d, f| d.some_list_of(f, parse_firmware));
    Some(Disk { root: root?, var_size: var_size?, firmware: firmware? })
}

fn read_root(d: &mut Reader, field: &Field<'_>) -> Option<Root> {
    let fields = d.fields(field, &["filesystem", "verity"])?;
    let filesystem = d.or(&fields, "filesystem", default_root().filesystem, |d, f| d.parsed(f, parse_root_filesystem));
    let verity = d.or(&fields, "verity", true, |d, f| match d.boolean(f)? {
        true => Some(true),
        false => d.refuse(f, Mistake::not_in_this_version("a root without verity").hint("leave the key out")),
    });
    Some(Root { filesystem: filesystem?, verity: verity? })
}

fn parse_root_filesystem(text: &str) -> Result<String, Mistake> {
    match text {
        "squashfs" => Ok(text.to_owned()),
        "erofs" | "ext4" => {
            Err(Mistake::not_in_this_version(format_args!("a root of {text}")).hint("this version makes \"squashfs\""))
        }
        _ => Err(Mistake::unknown("file system", text, ["squashfs", "erofs", "ext4"])),
    }
}

fn read_var(d: &mut Reader, field: &Field<'_>) -> Option<ByteSize> {
    let fields = d.fields(field, &["size"])?;
    d.or(&fields, "size", DEFAULT_VAR, |d, f| {
        let size = parse_var_size(d.text_or_number(f)?);
        d.accept(f, size)
    })
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

fn read_artifacts(d: &mut Reader, field: &Field<'_>) -> Option<Artifacts> {
    let fields = d.fields(field, &["formats"])?;
    let formats = d.or(&fields, "formats", default_artifacts().formats, |d, f| d.some_list_of(f, parse_format));
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
