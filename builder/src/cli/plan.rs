//! `habuild plan` and `habuild lock`, and the way from a spec to a plan that `image` takes too.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::SpecArgs;
use super::paths::{self, Root};
use super::say::say;
use crate::bake::install;
use crate::bake::packages::{Origin, Packages};
use crate::bake::store::Store;
use crate::plan::choice::Choice;
use crate::plan::layer::PlannedLayer;
use crate::plan::lock::Lock;
use crate::plan::{self, Plan, archive, explain, inputs::Sources};
use crate::report::{Failure, Fault};
use crate::spec;
use crate::sys::digest::Digest;
use crate::sys::file;

/// A plan and where its parts lie on this host.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) lock_name: String,
    pub(super) lock_text: String,
    pub(super) cache: PathBuf,
    pub(super) output: PathBuf,
    pub(super) origin: Origin,
}

/// From the command line to a plan.
pub(super) fn prepare(root: &Root, args: &SpecArgs, formats: &[String]) -> Result<Prepared> {
    let catalog = spec::load(&root.path, &args.spec, &args.overrides(formats)?)?;
    let base = &catalog.image.base;
    let output = output(root, args, &catalog.image.name)?;
    let cache = cache(args)?;
    let archive = archive::of(base, &root.path)?;
    let lock_name = Lock::file_name(&catalog.image.name, base);
    let lock = Choice {
        locked: args.locked.as_deref(),
        recorded: output.join(&lock_name),
        offline: args.offline,
        cache: &cache,
        archive: &archive,
        base,
        requests: &plan::requests(&catalog),
    }
    .lock()?;
    let artifacts = plan::artifacts(&root.path)?;
    let plan = Plan::make(&catalog, &lock, &Sources { artifacts: &artifacts, root: &root.path })?;
    let origin = Origin { mirror: archive.mirror, security: archive.security, snapshot: base.snapshot.clone() };
    Ok(Prepared { plan, lock_name, lock_text: lock.text()?, cache, output, origin })
}

/// Where the artifacts of `image` go.
fn output(root: &Root, args: &SpecArgs, image: &str) -> Result<PathBuf> {
    match &args.output {
        Some(output) => paths::absolute(output),
        None => paths::absolute(&root.path.join("out").join(image)),
    }
}

/// The cache's directory, made if need be.
fn cache(args: &SpecArgs) -> Result<PathBuf> {
    let cache = paths::cache(args.cache.as_deref())?;
    install::refuse_path(&cache)?;
    Store::prepare(&cache)?;
    Ok(cache)
}

/// A layer as `habuild plan --json` shows it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    key: Digest,
    cached: bool,
    packages: usize,
    /// The first difference from the nearest cached layer of that name.
    difference: Option<String>,
}

/// `habuild plan --json`.
#[derive(Debug, Serialize)]
struct ShownPlan<'a> {
    image: &'a str,
    base: String,
    epoch: i64,
    layers: Vec<Shown<'a>>,
    initrd: Digest,
    disk: Digest,
    output: PathBuf,
    missing_packages: usize,
}

/// `habuild plan`.
pub(super) fn show(root: &Root, args: &SpecArgs) -> Result<u8> {
    let prepared = prepare(root, args, &[])?;
    let plan = &prepared.plan;
    let store = Store::open(&prepared.cache)?;
    let cached = store.layers()?;
    let show = |layer: &'_ PlannedLayer| -> Result<(bool, Option<String>)> {
        if store.find(layer.key)?.is_some() {
            return Ok((true, None));
        }
        let same_name = cached.iter().filter(|other| other.name == layer.name).map(|other| other.inputs.as_str());
        Ok((false, explain::first_difference(&layer.inputs, same_name).map(|difference| difference.to_string())))
    };
    let mut layers = Vec::new();
    for layer in plan.all_layers() {
        let (cached, difference) = show(layer)?;
        layers.push(Shown { name: &layer.name, key: layer.key, cached, packages: layer.packages.len(), difference });
    }
    let wanted = plan.all_layers().zip(&layers).filter(|(_, shown)| !shown.cached);
    let missing_packages =
        Packages::open(&prepared.cache)?.missing(wanted.flat_map(|(layer, _)| &layer.packages)).len();
    let base = &plan.image.base;
    let shown = ShownPlan {
        image: &plan.image.name,
        base: format!("{} {} {}", base.distribution, base.release, base.architecture),
        epoch: plan.epoch,
        layers,
        initrd: plan.initrd,
        disk: plan.disk,
        output: prepared.output.clone(),
        missing_packages,
    };
    if args.json {
        say(format_args!("{}", serde_json::to_string_pretty(&shown).context("a plan that cannot be written")?));
        return Ok(0);
    }
    say(format_args!("image {} on {}", shown.image, shown.base));
    for layer in &shown.layers {
        let state = if layer.cached { "cached" } else { "to bake" };
        say(format_args!("  {:10} {}  {state:8} {:3} packages", layer.name, layer.key.short(), layer.packages));
        if let Some(difference) = &layer.difference {
            say(format_args!("             {difference}"));
        }
    }
    say(format_args!("  {:10} {}", "disk", shown.disk.short()));
    say(format_args!("packages to fetch: {missing_packages}"));
    say(format_args!("output: {}", shown.output.display()));
    Ok(0)
}

/// `habuild lock`: resolves anew and writes the lock where `image` will find it.
pub(super) fn lock(root: &Root, args: &SpecArgs) -> Result<u8> {
    if args.offline || args.locked.is_some() {
        return Err(
            Failure::new(Fault::Usage, "lock asks the archive anew: --offline and --locked do not go with it").into()
        );
    }
    let catalog = spec::load(&root.path, &args.spec, &args.overrides(&[])?)?;
    let base = &catalog.image.base;
    let output = output(root, args, &catalog.image.name)?;
    let cache = cache(args)?;
    let archive = archive::of(base, &root.path)?;
    let path = output.join(Lock::file_name(&catalog.image.name, base));
    let choice = Choice {
        locked: None,
        recorded: path.clone(),
        offline: false,
        cache: &cache,
        archive: &archive,
        base,
        requests: &plan::requests(&catalog),
    };
    let lock = choice.resolve(None)?;
    // One that cannot be read is what `lock` is there to replace.
    let changes = Lock::read(&path).ok().map(|old| lock.changes_from(&old));
    crate::export::prepare_output(&output)?;
    file::write_atomic(&path, lock.text()?.as_bytes())?;
    if !args.json {
        say(format_args!("{}", path.display()));
        for change in changes.into_iter().flatten() {
            say(format_args!("  {change}"));
        }
    }
    Ok(0)
}
