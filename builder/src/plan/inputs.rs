//! The only reader and hasher of a layer's sources: actions become ready steps.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use super::layer::{BundleSource, PlannedBundle, PlannedFile, Source, Step};
use crate::report::{Failure, Fault};
use crate::spec::image::{Harbor, ImageSpec};
use crate::spec::layer::{Action, Artifact, CopyFrom, LayerSpec};
use crate::spec::{self};
use crate::sys::digest::Digest;
use crate::sys::file;

/// What layers may copy that does not lie in them.
#[derive(Debug)]
pub struct Sources<'a> {
    /// The programs that are built, and where.
    pub artifacts: &'a [(Artifact, PathBuf)],
    /// The project's directory, where a bundle's relative path begins.
    pub root: &'a Path,
}

/// The steps of a layer for an image's release.
pub fn steps(layer: &LayerSpec, image: &ImageSpec, sources: &Sources<'_>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for action in spec::actions_for(layer, &image.base) {
        add(&mut steps, action, layer, image, sources).with_context(|| format!("layer {}", layer.name))?;
    }
    Ok(steps)
}

fn add(
    steps: &mut Vec<Step>,
    action: &Action,
    layer: &LayerSpec,
    image: &ImageSpec,
    sources: &Sources<'_>,
) -> Result<()> {
    let file = |to, mode: Option<u32>, source| Step::File(PlannedFile { to, mode: mode.unwrap_or(0o644), source });
    match action.clone() {
        Action::Copy { from: CopyFrom::Artifact(artifact), to, mode } => {
            let (_, built) = sources.artifacts.iter().find(|(built, _)| *built == artifact).ok_or_else(|| {
                let (what, target) = match artifact {
                    Artifact::Firstboot => ("first-boot binary", "make firstboot"),
                    Artifact::Init => ("initrd's program", "make initrd"),
                };
                Failure::new(Fault::Environment, format!("the {what} is not built")).remedy(target)
            })?;
            steps.push(copied(built, to, mode)?);
        }
        Action::Copy { from: CopyFrom::File(from), to, mode } => {
            steps.push(copied(&layer.directory.join(from), to, mode)?);
        }
        Action::Copy { from: CopyFrom::Directory(from), to, mode } => {
            let from = layer.directory.join(from);
            for entry in WalkDir::new(&from).sort_by_file_name() {
                let entry = entry.with_context(|| format!("failed to list {}", from.display()))?;
                let name = entry.path().strip_prefix(&from).context("a walk that left its directory")?;
                let refused = |words: &str| {
                    let words = format!("{:?} {words}", entry.path());
                    Failure::new(Fault::Usage, words).remedy("rename it or take it out of the layer")
                };
                let name = name.to_str().ok_or_else(|| refused("has a name that is not UTF-8"))?;
                let to = format!("{}/{name}", to.trim_end_matches('/'));
                if entry.file_type().is_file() {
                    steps.push(copied(entry.path(), to, mode)?);
                } else if !entry.file_type().is_dir() {
                    return Err(refused("is neither a file nor a directory").into());
                }
            }
        }
        Action::Render { from, to, mode } => {
            let text = render(&layer.directory.join(from), layer, image)?;
            steps.push(file(to, mode, Source::Text(text)));
        }
        Action::Fetch { url, sha256, to, mode } => steps.push(file(to, mode, Source::Url { url, sha256 })),
        Action::Bundle {} => {
            let harbor = image.harbor.as_ref().context("a bundle to unpack, and none in the image")?;
            steps.push(Step::Bundle(bundle(harbor, sources.root)?));
        }
        Action::Operation(operation) => steps.push(Step::Operation(operation)),
    }
    Ok(())
}

/// A file as it is now. Only its executable bit counts: other bits depend on who checked the sources out.
fn copied(path: &Path, to: String, mode: Option<u32>) -> Result<Step> {
    let (digest, length) = Digest::of_file(path)?;
    let executable = fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o100 != 0);
    let mode = mode.unwrap_or(if executable { 0o755 } else { 0o644 });
    let path = std::path::absolute(path).with_context(|| format!("failed to resolve {}", path.display()))?;
    Ok(Step::File(PlannedFile { to, mode, source: Source::File { path, digest, length } }))
}

/// The bundle: a file is hashed where it lies, a URL is believed until it is fetched.
pub fn bundle(harbor: &Harbor, root: &Path) -> Result<PlannedBundle> {
    if harbor.bundle.contains("://") {
        let sha256 = harbor.sha256.context("a bundle from a URL without its digest")?;
        let from = BundleSource::Url(harbor.bundle.clone());
        return Ok(PlannedBundle { sha256, from, images: harbor.images.clone(), settings: harbor.settings.clone() });
    }
    let path = root.join(&harbor.bundle);
    let refused = |words: String| Failure::new(Fault::Input, format!("bundle {}: {words}", path.display()));
    if path.exists() && !path.is_file() {
        return Err(refused("is no regular file".into()).remedy("name the offline installer's .tgz file").into());
    }
    let (sha256, _) = Digest::of_file(&path).map_err(|error| {
        refused("cannot be read".into())
            .because(error)
            .remedy("harbor.bundle in the image spec names it; the stand-in is built by: make stand-in")
    })?;
    if let Some(wanted) = harbor.sha256
        && wanted != sha256
    {
        return Err(refused(format!("has digest {sha256}, the spec says {wanted}"))
            .remedy("fetch it again, or correct harbor.sha256")
            .into());
    }
    let path = std::path::absolute(&path).with_context(|| format!("failed to resolve {}", path.display()))?;
    Ok(PlannedBundle {
        sha256,
        from: BundleSource::File(path),
        images: harbor.images.clone(),
        settings: harbor.settings.clone(),
    })
}

/// A bundle that no image spec names: all of it; and its length in bytes.
pub fn bundle_file(path: &Path) -> Result<(PlannedBundle, u64)> {
    let wrong = |words: &str| {
        let failure = Failure::new(Fault::Usage, format!("{}: {words}", path.display()));
        failure.remedy("name Harbor's offline installer: harbor-offline-installer-vX.Y.Z.tgz")
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(wrong("is no file").into()),
        Err(error) => return Err(wrong("there is no such file").because(error).into()),
    }
    let (sha256, length) = Digest::of_file(path)?;
    Ok((PlannedBundle::whole(sha256, BundleSource::File(path.into())), length))
}

/// Renders a template over explicit values; an unknown variable is the template's mistake.
fn render(path: &Path, layer: &LayerSpec, image: &ImageSpec) -> Result<String> {
    let text = file::read_text(path)?;
    let mut context = tera::Context::new();
    context.insert("image", &image.name);
    context.insert("layer", &layer.name);
    context.insert("base", &image.base);
    tera::Tera::one_off(&text, &context, false).map_err(|error| {
        // Tera's own words are in the causes: which variable, which line.
        let mut words = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            words = inner.to_string();
            cause = inner.source();
        }
        Failure::new(Fault::Usage, format!("{}: {words}", path.display()))
            .remedy("a template knows image, layer and base")
            .into()
    })
}
