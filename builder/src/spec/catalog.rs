//! Reads an image spec and the layers that it names, and checks the files against each other.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::image::{Base, ImageSpec};
use super::layer::{Action, LayerSpec};
use super::names::{Selector, parse_name};
use super::overrides::Override;
use super::read_image::{ReadImage, TOOLS_LAYER, read_image};
use super::read_layer::read_layer;
use super::source::{Source, placed};
use super::{actions_for, covers};
use crate::report::{Failure, Fault, Problem, Report};
use contract::strict::{Field, Mistake, Reader};

/// Everything that was read, checked against itself: each layer that the image names is here.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// The image.
    pub image: ImageSpec,
    /// The image's file, as the person named it.
    pub image_file: PathBuf,
    /// The layers that the image names and the tools layer, by name.
    pub layers: BTreeMap<String, LayerSpec>,
}

/// Reads the image spec `image` (a name in `root/images/`, or a path to a `.toml` file) with `overrides` laid over
/// it, and the layers it names from `root/layers/`. The error is a [`Report`] of every problem in all of them.
pub fn load(root: &Path, image: &str, overrides: &[Override]) -> Result<Catalog> {
    let file = find_image(root, image).map_err(Report::from)?;
    load_file(root, &file, overrides)
}

/// As [`load`], with the spec's file named.
pub(crate) fn load_file(root: &Path, file: &Path, overrides: &[Override]) -> Result<Catalog> {
    let mut report = Report::default();
    let catalog = read_all(root, file, overrides, &mut report).map_err(Report::from)?;
    report.into_result()?;
    // A reader that answers nothing must have said why.
    catalog.ok_or_else(|| Failure::new(Fault::Bug, format!("{} is refused without a reason", file.display())).into())
}

/// Reads one layer's definition by itself.
pub(crate) fn check_layer(file: &Path) -> Result<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let name = directory.canonicalize().ok().and_then(|path| path.file_name().map(OsStr::to_owned)).unwrap_or_default();
    let mut report = Report::default();
    read_layer_file(file, &name.to_string_lossy(), &directory, None, &mut report);
    Ok(report.into_result()?)
}

/// The file of an image: a path when it looks like one, else a name below `images/`.
fn find_image(root: &Path, image: &str) -> Result<PathBuf, Problem> {
    if image.contains('/') || image.ends_with(".toml") {
        let file = PathBuf::from(image);
        return match file.exists() {
            true => Ok(file),
            false => Err(placed(file, (0, 0), "", Mistake::new("there is no such file"))),
        };
    }
    let directory = below(root, "images");
    let file = directory.join(format!("{image}.toml"));
    if !image.is_empty() && file.exists() {
        return Ok(file);
    }
    let known = names_in(&directory, |path| path.extension() == Some(OsStr::new("toml")));
    let mistake = match known.is_empty() {
        true => Mistake::new(format!("no image specs in {}", directory.display()))
            .hint("run habuild in the project's directory, or name a .toml file"),
        false => Mistake::unknown("image", image, known.iter().map(String::as_str)),
    };
    Err(placed(file, (0, 0), "", mistake))
}

fn read_all(root: &Path, file: &Path, overrides: &[Override], report: &mut Report) -> Result<Option<Catalog>, Problem> {
    let source = Source::read(file, overrides)?;
    let tree = source.parse()?;
    let mut d = Reader::of_definitions();
    let read = read_image(&mut d, &Field::root(&tree));
    let directory = below(root, "layers");
    let known = names_in(&directory, |path| path.join("layer.toml").is_file());
    let mut layers = BTreeMap::new();
    let mut read_one = |name: &str| {
        let directory = directory.join(name);
        let layer = read_layer_file(&directory.join("layer.toml"), name, &directory, read.base.as_ref(), report);
        layers.extend(layer.map(|layer| (name.to_owned(), layer)));
    };
    for (name, field) in &read.layers {
        if known.contains(name) {
            read_one(name);
            continue;
        }
        let names = known.iter().map(String::as_str).filter(|name| *name != TOOLS_LAYER);
        let mistake = match known.is_empty() {
            true => Mistake::new(format!("no layers in {}", directory.display()))
                .hint("run habuild in the project's directory"),
            false => Mistake::unknown("layer", name, names),
        };
        d.note(field.node.place, &field.key, mistake);
    }
    if known.iter().any(|name| name == TOOLS_LAYER) {
        read_one(TOOLS_LAYER);
    } else {
        let file = directory.join(TOOLS_LAYER).join("layer.toml");
        report.push(placed(
            file,
            (0, 0),
            "",
            Mistake::new("the tools layer is missing").hint("the tools that every build runs are installed from it"),
        ));
    }
    check_bundle(&mut d, &read, &layers);
    let spec = read.spec;
    report.append(source.report(d.problems));
    Ok(spec.map(|image| Catalog { image, image_file: source.file().to_owned(), layers }))
}

/// A bundle and the one layer that unpacks it go together.
fn check_bundle(d: &mut Reader, read: &ReadImage<'_>, layers: &BTreeMap<String, LayerSpec>) {
    let Some(base) = &read.base else { return };
    let unpacks = |name: &String| {
        let layer = layers.get(name);
        layer.is_some_and(|layer| actions_for(layer, base).any(|action| matches!(action, Action::Bundle {})))
    };
    let unpacking: Vec<_> = read.layers.iter().filter(|(name, _)| unpacks(name)).collect();
    for (name, field) in unpacking.iter().skip(1) {
        let mistake = Mistake::new(format!("layer {name} unpacks the bundle a second time"));
        d.note(field.node.place, &field.key, mistake.hint("at most one layer of an image does"));
    }
    match (&read.harbor, unpacking.first()) {
        (None, Some((name, field))) => {
            let mistake = Mistake::new(format!("layer {name} unpacks a Harbor bundle, and the image names none"));
            let hint = "add [harbor] with bundle = \"PATH or https URL\", or leave the layer out";
            d.note(field.node.place, &field.key, mistake.hint(hint));
        }
        // A layer that is missing or could not be read is told by itself.
        (Some(field), None) if read.layers.iter().all(|(name, _)| layers.contains_key(name)) => {
            let mistake = Mistake::new("no layer of the image unpacks the bundle");
            d.note(field.at, &field.key, mistake.hint("add \"harbor\" to layers, or leave it out"));
        }
        _ => {}
    }
}

/// Reads one layer's file, with its packages checked against the release that is going to be baked, if it is known.
fn read_layer_file(
    file: &Path,
    name: &str,
    directory: &Path,
    base: Option<&Base>,
    report: &mut Report,
) -> Option<LayerSpec> {
    if let Err(mistake) = parse_name(name) {
        report.push(placed(file, (0, 0), "", Mistake::new(format!("the layer's directory: {mistake}"))));
        return None;
    }
    let source = Source::read(file, &[]).map_err(|problem| report.push(problem)).ok()?;
    let tree = source.parse().map_err(|problem| report.push(problem)).ok()?;
    let mut d = Reader::of_definitions();
    let root = Field::root(&tree);
    let layer = read_layer(&mut d, &root, name, directory);
    if let (Some(layer), Some(base)) = (&layer, base)
        && !covers(layer, base)
        && let Some(packages) = tree.entry("packages")
    {
        let release = Selector::Release(base.distribution, base.release.clone());
        let mistake = Mistake::new(format!("names no packages for {release}"));
        let hint = format!("add \"{release}\" = […], or default = […]; an empty list if it needs none");
        d.note(packages.place, "packages", mistake.hint(hint));
    }
    report.append(source.report(d.problems));
    layer
}

/// The names of a directory's entries that `wanted` accepts, without their `.toml`, sorted.
fn names_in(directory: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| wanted(path));
    let name_of = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        Some(name.strip_suffix(".toml").unwrap_or(name).to_owned())
    };
    let mut names: Vec<String> = paths.filter_map(name_of).collect();
    names.sort();
    names
}

/// `root/name`, or `name` when the root is the working directory: as a person would write it.
fn below(root: &Path, name: &str) -> PathBuf {
    match root == Path::new(".") || root.as_os_str().is_empty() {
        true => PathBuf::from(name),
        false => root.join(name),
    }
}
