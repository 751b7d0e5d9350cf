//! Stage 2: freezes everything that the build will use into one serialisable value.
//!
//! Invariant: after this stage nobody opens `layers/` or `images/` by name; whoever copies a planned file hashes it
//! again and stops if it is not the one that was planned.

pub mod archive;
pub mod choice;
pub(crate) mod control;
pub(crate) mod explain;
pub mod inputs;
pub mod layer;
pub mod lock;
pub(crate) mod resolve;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::spec::image::ImageSpec;
use crate::spec::layer::Artifact;
use crate::spec::{self, Catalog};
use crate::sys::cmd::{Cmd, Tool};
use crate::sys::digest::Digest;
use layer::{BundleSource, PlannedBundle, PlannedLayer, Step};
use lock::{Lock, Request};

/// The name of the layer that holds the build's own tools, of the image's release.
pub const TOOLS: &str = "tools";

/// Everything that a build will use. Equal text, equal image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The image spec with its defaults filled in.
    pub image: ImageSpec,
    /// The time of everything baked, in seconds since 1970.
    pub epoch: i64,
    /// The image's layers, bottom first.
    pub layers: Vec<PlannedLayer>,
    /// The tools that make file systems, boot loader and initrd; not part of the image.
    pub tools: PlannedLayer,
    /// Key of the initrd and kernel.
    pub initrd: Digest,
    /// Key of the disk: it stands for every bit of it.
    pub disk: Digest,
}

impl Plan {
    /// Freezes a catalog and the lock that answers it.
    pub fn make(catalog: &Catalog, lock: &Lock, sources: &inputs::Sources<'_>) -> Result<Self> {
        let image = &catalog.image;
        let tool = format!("mmdebstrap {}", mmdebstrap_version()?);
        let mut layers: Vec<PlannedLayer> = Vec::new();
        for name in &image.layers {
            let parent = layers.last().map(|layer| layer.key);
            layers.push(plan_layer(catalog, name, parent, lock, &tool, sources)?);
        }
        let tools = plan_layer(catalog, TOOLS, None, lock, &tool, sources)?;
        let bottom = layers.first().context("an image without layers")?.key;
        let initrd = Digest::of(
            format!("initrd\nbuilder {}\ntools {}\nbase {bottom}\n", env!("HABUILD_BAKE_ID"), tools.key).as_bytes(),
        );
        let top = layers.last().context("an image without layers")?.key;
        let disk = Digest::of(
            format!(
                "disk\nbuilder {}\ntools {}\ninitrd {initrd}\nroot {top}\nimage {}\n",
                env!("HABUILD_DISK_ID"),
                tools.key,
                serde_json::to_string(&(&image.name, &image.disk)).context("a spec that cannot be written")?
            )
            .as_bytes(),
        );
        let mut image = image.clone();
        resolve_bundle(&mut image, &layers);
        Ok(Self { image, epoch: lock.epoch, layers, tools, initrd, disk })
    }

    /// The Harbor bundle, if a layer unpacks one.
    #[must_use]
    pub fn bundle(&self) -> Option<&PlannedBundle> {
        bundle_of(&self.layers)
    }

    /// Every layer that is baked, the tools first.
    pub fn all_layers(&self) -> impl Iterator<Item = &PlannedLayer> {
        std::iter::once(&self.tools).chain(&self.layers)
    }
}

fn bundle_of(layers: &[PlannedLayer]) -> Option<&PlannedBundle> {
    layers.iter().flat_map(|layer| &layer.steps).find_map(|step| match step {
        Step::Bundle(bundle) => Some(bundle),
        _ => None,
    })
}

/// In a plan a bundle is a name and a digest: where its file lies on this host is nobody else's business.
fn resolve_bundle(image: &mut ImageSpec, layers: &[PlannedLayer]) {
    if let (Some(harbor), Some(PlannedBundle { sha256, from, .. })) = (&mut image.harbor, bundle_of(layers)) {
        harbor.sha256 = Some(*sha256);
        if let BundleSource::File(path) = from {
            harbor.bundle = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        }
    }
}

fn plan_layer(
    catalog: &Catalog,
    name: &str,
    parent: Option<Digest>,
    lock: &Lock,
    tool: &str,
    sources: &inputs::Sources<'_>,
) -> Result<PlannedLayer> {
    let spec = catalog.layers.get(name).with_context(|| format!("layer {name} was not loaded"))?;
    let locked = lock.layers.get(name).with_context(|| format!("layer {name} was not locked"))?;
    let base = &catalog.image.base;
    let steps = inputs::steps(spec, &catalog.image, sources)?;
    PlannedLayer::freeze(layer::Frozen {
        name,
        parent,
        base,
        epoch: lock.epoch,
        tool: parent.is_none().then_some(tool),
        request: &locked.request,
        packages: &locked.packages,
        steps,
    })
}

/// What the layers of a catalog ask of the archive, the tools included.
#[must_use]
pub fn requests(catalog: &Catalog) -> Vec<Request> {
    let base = &catalog.image.base;
    let request = |name: &str, above: &[String]| {
        let packages = catalog.layers.get(name).map(|layer| spec::packages_for(layer, base).to_vec());
        Request { layer: name.into(), above: above.into(), packages: packages.unwrap_or_default() }
    };
    let mut requests: Vec<Request> =
        catalog.image.layers.iter().enumerate().map(|(i, name)| request(name, &catalog.image.layers[..i])).collect();
    requests.push(request(TOOLS, &[]));
    requests
}

/// The programs for the node that are built: beside this one, or in the project's `target/`.
pub fn artifacts(root: &Path) -> Result<Vec<(Artifact, PathBuf)>> {
    let target = root.join("target/x86_64-unknown-linux-musl");
    let mut found = Vec::new();
    for (artifact, name, profile) in
        [(Artifact::Firstboot, "habuild-firstboot", "release"), (Artifact::Init, "habuild-init", "initrd")]
    {
        let program = std::env::current_exe().ok();
        let beside = program.and_then(|program| Some(program.parent()?.join(format!("{name}.musl"))));
        let built = target.join(profile).join(name);
        if let Some(path) = beside.into_iter().chain([built]).find(|path| path.is_file()) {
            let path = std::path::absolute(&path).with_context(|| format!("failed to resolve {}", path.display()))?;
            found.push((artifact, path));
        }
    }
    Ok(found)
}

fn mmdebstrap_version() -> Result<String> {
    let text = Cmd::new(Tool::Mmdebstrap).arg("--version").output_text()?;
    Ok(text.split_whitespace().last().unwrap_or("unknown").to_owned())
}
