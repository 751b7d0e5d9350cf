//! Stage 3: makes the layers that the store does not have.
//!
//! A layer is baked in an overlay on the trees of the layers below; what the overlay's upper directory then holds is
//! cleaned, packed and committed. Packing one layer goes on while the next is baked.
//!
//! Invariant: runs inside `sys::userns`; the same road for root and for an ordinary user.

mod ahead;
pub mod bundle;
pub(crate) mod clean;
mod copy;
pub mod cpio;
pub mod docker;
mod foreign;
mod header;
pub(crate) mod initrd;
pub(crate) mod install;
mod modules;
mod network;
pub mod pack;
pub mod packages;
mod pax;
mod pinned;
pub mod rootfs;
pub mod step;
pub mod store;
mod tarstream;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;

use anyhow::{Context as _, Result, anyhow};

use crate::plan::Plan;
use crate::plan::layer::PlannedLayer;
use crate::report::{self, Event};
use crate::sys::enter::Overlay;
use crate::sys::file::{self, Lock, Scratch};
use bundle::Bundle;
use packages::{Origin, Packages};
use rootfs::Rootfs;
use step::Inputs;
use store::{Layer, Store};

/// What `bake` gives: the image's layers, the tools, and the kernel with its initrd, each in the store.
#[derive(Debug)]
pub struct Baked {
    /// The image's layers, bottom first.
    pub layers: Vec<Layer>,
    /// Their unpacked trees, bottom first.
    pub trees: Vec<PathBuf>,
    /// The tools' tree.
    pub tools: PathBuf,
    /// The directory that holds `vmlinuz` and `initrd.img`.
    pub boot: PathBuf,
    /// The layer of the kernel and its initrd.
    pub initrd: Layer,
    /// The Harbor bundle, if the image has one.
    pub bundle: Option<Arc<Bundle>>,
}

/// What bake may use besides the plan.
#[derive(Debug, Clone)]
pub struct Resources {
    /// The layer store.
    pub store: Store,
    /// The package cache.
    pub packages: Packages,
    /// Where packages are fetched from.
    pub origin: Origin,
    /// Whether nothing may be fetched.
    pub offline: bool,
}

/// Bakes every layer of `plan` that is missing.
pub fn run(plan: &Plan, resources: &Resources) -> Result<Baked> {
    fetch_packages(plan, resources)?;
    thread::scope(|scope| {
        let (bundle_ready, ready) = std::sync::mpsc::channel::<Arc<Bundle>>();
        let bundle = scope.spawn(move || take_bundle(plan, resources, &bundle_ready));
        // The tools have a chain of their own; the initrd needs them and the bottom layer, and nobody waits for it
        // before the disk is made.
        let tools = scope.spawn(|| {
            let no_bundle = || Err(anyhow!("the tools have no bundle"));
            bake_chain(plan, std::slice::from_ref(&plan.tools), resources, &|_| Ok(()), &no_bundle)
        });
        let (bottom_ready, bottom) = std::sync::mpsc::channel::<PathBuf>();
        let initrd = scope.spawn(move || -> Result<(PathBuf, Layer, PathBuf)> {
            let (_, tools) = join(tools)?;
            let tools = tools.into_iter().next().context("no tools tree")?;
            let (layer, boot) = take_or_make_initrd(plan, &bottom, &tools, &resources.store)?;
            Ok((tools, layer, boot))
        });
        let bundle_of = || ready.recv().map_err(|_| anyhow!("the bundle could not be unpacked"));
        let chain = bake_chain(
            plan,
            &plan.layers,
            resources,
            &|tree| {
                // The other side has gone when the initrd is cached.
                let _ = bottom_ready.send(tree.into());
                Ok(())
            },
            &bundle_of,
        );
        drop(bottom_ready);
        let (initrd, bundle) = (join(initrd), join(bundle)?);
        let (layers, trees) = chain?;
        let (tools, initrd, boot) = initrd?;
        Ok(Baked { layers, trees, tools, boot, initrd, bundle })
    })
}

fn join<T>(handle: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The image's bundle, unpacked; whoever bakes the layer with its files is told.
fn take_bundle(
    plan: &Plan,
    resources: &Resources,
    ready: &std::sync::mpsc::Sender<Arc<Bundle>>,
) -> Result<Option<Arc<Bundle>>> {
    let Some(planned) = plan.bundle() else { return Ok(None) };
    let event = Event::start("bake", "bundle");
    let taken =
        bundle::take(planned, &resources.store, &resources.packages, resources.offline).and_then(|(bundle, cached)| {
            let bundle = bundle.with_settings(&planned.settings)?.only(&planned.images)?;
            bundle.render_dry()?;
            Ok((bundle, cached))
        });
    let (bundle, cached) = match taken {
        Ok(taken) => taken,
        Err(error) => {
            // What is baked beside it goes on for minutes.
            event.done("failed", &error.to_string());
            return Err(error);
        }
    };
    let what = format!("Harbor {}, {} images, {} layers", bundle.version, bundle.images.len(), bundle.layers.len());
    event.done(if cached { "cached" } else { "unpacked" }, &what);
    let bundle = Arc::new(bundle);
    // Nobody listens when the layer is cached.
    let _ = ready.send(Arc::clone(&bundle));
    Ok(Some(bundle))
}

/// Fetches the packages of every layer that will be baked.
fn fetch_packages(plan: &Plan, resources: &Resources) -> Result<()> {
    let mut wanted = Vec::new();
    for layer in plan.all_layers() {
        if resources.store.take(layer.key)?.is_none() {
            wanted.extend(&layer.packages);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let event = Event::start("bake", "packages");
    wanted.sort();
    wanted.dedup();
    resources.packages.fetch(&wanted, &resources.origin, resources.offline)?;
    event.done("fetched", &format!("{} packages", wanted.len()));
    Ok(())
}

/// The initrd and its tree; made when the store has none, once `bottom` has told the tree of the bottom layer.
fn take_or_make_initrd(
    plan: &Plan,
    bottom: &Receiver<PathBuf>,
    tools: &Path,
    store: &Store,
) -> Result<(Layer, PathBuf)> {
    let _lock = store.lock(plan.initrd)?;
    let layer = match store.take(plan.initrd)? {
        Some(layer) => layer,
        None => {
            let bottom = bottom.recv().map_err(|_| anyhow!("the bottom layer could not be baked"))?;
            let event = Event::start("bake", initrd::NAME);
            let layer = initrd::make(plan, &bottom, tools, store)?;
            event.done("built", &layer.digest.short());
            layer
        }
    };
    let scratch = store.scratch()?;
    let boot = store.tree(&layer, scratch.path())?;
    Ok((layer, boot))
}

/// Bakes layers that lie on one another. `bottom_ready` is told the tree of the first as soon as it stands; `bundle` is
/// waited for when a layer needs it.
fn bake_chain(
    plan: &Plan,
    layers: &[PlannedLayer],
    resources: &Resources,
    bottom_ready: &dyn Fn(&Path) -> Result<()>,
    bundle: &dyn Fn() -> Result<Arc<Bundle>>,
) -> Result<(Vec<Layer>, Vec<PathBuf>)> {
    let store = &resources.store;
    thread::scope(|scope| {
        let mut trees: Vec<PathBuf> = Vec::new();
        let mut commits = Vec::new();
        for planned in layers {
            let lock = store.lock(planned.key)?;
            let scratch = store.scratch()?;
            let tree = if let Some(layer) = store.take(planned.key)? {
                Event::start("bake", &planned.name).done("cached", &layer.digest.short());
                let tree = store.tree(&layer, scratch.path())?;
                commits.push(scope.spawn(move || Ok(layer)));
                tree
            } else {
                let event = Event::start("bake", &planned.name);
                let upper = bake_layer(plan, planned, &trees, resources, &scratch, bundle)?;
                let tree = store.keep_tree(planned.key, &upper)?;
                let packed = tree.clone();
                commits.push(scope.spawn(move || commit(store, planned, &packed, scratch, lock, event)));
                tree
            };
            if trees.is_empty() {
                bottom_ready(&tree)?;
            }
            trees.push(tree);
        }
        let layers = commits.into_iter().map(join).collect::<Result<Vec<Layer>>>()?;
        Ok((layers, trees))
    })
}

fn commit(
    store: &Store,
    planned: &PlannedLayer,
    tree: &Path,
    scratch: Scratch,
    lock: Lock,
    event: Event,
) -> Result<Layer> {
    let layer = store.commit(&planned.name, planned.key, &planned.inputs, tree, scratch.path())?;
    event.done("built", &format!("{}, {}", layer.digest.short(), report::size(layer.length)));
    drop(lock);
    Ok(layer)
}

/// Makes one layer and gives the directory that holds it, with settled times.
fn bake_layer(
    plan: &Plan,
    planned: &PlannedLayer,
    below: &[PathBuf],
    resources: &Resources,
    scratch: &Scratch,
    bundle: &dyn Fn() -> Result<Arc<Bundle>>,
) -> Result<PathBuf> {
    let repository = scratch.directory("repository")?;
    resources.packages.repository(&planned.packages, &plan.image.base.release, &repository)?;
    let (upper, work, merged) = (scratch.directory("upper")?, scratch.directory("work")?, scratch.directory("root")?);
    let mut lowers: Vec<PathBuf> = below.iter().rev().cloned().collect();
    if lowers.is_empty() {
        // The bottom too is baked in an overlay, on nothing: its flushes to disk are skipped as the others' are.
        lowers.push(scratch.directory("nothing")?);
    }
    let overlay = Overlay::mount(&lowers, &upper, &work, &merged)?;
    let root = Rootfs::new(overlay.path());
    if below.is_empty() {
        let temporary = scratch.directory("tmp")?;
        install::bootstrap(planned, &plan.image.base, overlay.path(), &repository, &temporary)?;
    } else {
        install::install(planned, &root, &repository)?;
    }
    let inputs = Inputs { packages: &resources.packages, offline: resources.offline, bundle };
    for step in &planned.steps {
        step::apply(step, &root, &inputs).with_context(|| format!("layer {}", planned.name))?;
    }
    clean::clean(&root, plan.epoch)?;
    drop(overlay);
    pack::settle(&upper, plan.epoch)?;
    file::remove(&repository)?;
    Ok(upper)
}
