//! `habuild image`: plans outside, builds inside a user namespace.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::events::{self, Mode};
use super::paths::Root;
use super::{ImageArgs, plan};
use crate::bake::packages::{Origin, Packages};
use crate::bake::store::Store;
use crate::bake::{self, Resources};
use crate::export::manifest::Manifest;
use crate::plan::Plan;
use crate::report::{Event, Failure, Fault};
use crate::sys::cmd::Tool;
use crate::sys::userns;
use crate::{assemble, export};

/// The hidden subcommand that builds.
pub(super) const COMMAND: &str = "__build";

/// What goes from the outside to the inside: the closed plan, and where this host keeps things.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    plan: Plan,
    lock_name: String,
    lock_text: String,
    cache: PathBuf,
    output: PathBuf,
    mirror: String,
    security: Option<String>,
    snapshot: Option<String>,
    offline: bool,
    json: bool,
    verbose: bool,
}

/// `habuild image`, outside.
pub(super) fn image(root: &Root, args: &ImageArgs, verbose: bool) -> Result<u8> {
    let prepared = plan::prepare(root, &args.spec, &args.format)?;
    let output = &prepared.output;
    if Manifest::read(output)
        .is_some_and(|manifest| manifest.stands(&prepared.plan, output, &prepared.lock_name, args.verify))
    {
        Event::start("export", &prepared.plan.image.name).done("unchanged", &output.display().to_string());
        return Ok(0);
    }
    check_tools()?;
    userns::check_host()?;
    export::prepare_output(output)?;
    let job = Job {
        plan: prepared.plan,
        lock_name: prepared.lock_name,
        lock_text: prepared.lock_text,
        cache: prepared.cache,
        output: prepared.output,
        mirror: prepared.origin.mirror,
        security: prepared.origin.security,
        snapshot: prepared.origin.snapshot,
        offline: args.spec.offline,
        json: args.spec.json,
        verbose,
    };
    let input = serde_json::to_vec(&job).context("a plan that cannot be written")?;
    userns::run(&[COMMAND], &input)
}

/// Names every missing tool at once.
fn check_tools() -> Result<()> {
    let missing: Vec<Tool> = Tool::FOR_IMAGE.into_iter().filter(|tool| tool.find().is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|tool| tool.program()).collect();
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package()).collect();
    packages.dedup();
    Err(Failure::new(Fault::Environment, format!("not installed: {}", names.join(", ")))
        .remedy(format!("apt-get install {} (make setup does it)", packages.join(" ")))
        .into())
}

/// `habuild image`, inside: the four stages after the plan.
pub(super) fn inside() -> Result<u8> {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).context("failed to read the plan")?;
    let job: Job = serde_json::from_slice(&input).context("a plan that cannot be read")?;
    events::listen(Mode::choose(job.json), job.verbose);
    let resources = Resources {
        store: Store::open(&job.cache)?,
        packages: Packages::open(&job.cache)?,
        origin: Origin { mirror: job.mirror, security: job.security, snapshot: job.snapshot },
        offline: job.offline,
    };
    let _in_use = resources.store.in_use()?;
    // Held from here on: a build that loses an output to another hears of it before it bakes.
    let output = export::Output::take(&job.output)?;
    let scratch = resources.store.scratch()?;
    let baked = bake::run(&job.plan, &resources)?;
    let disk = assemble::run(&job.plan, &baked, &scratch)?;
    let artifacts = export::run(&job.plan, &baked, &disk, output, (&job.lock_name, &job.lock_text))?;
    for artifact in artifacts {
        Event::start("export", "artifact").done("ready", &artifact.display().to_string());
    }
    Ok(0)
}
