//! `habuild bundle`: what is in a Harbor bundle. It is unpacked into the cache, with every check of a build, and a build
//! then finds it there.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use contract::harbor::{COMPOSE_FILE, services};
use serde_json::{Value, json};

use super::paths;
use super::say::say;
use crate::bake::bundle::{self, Bundle};
use crate::bake::docker::{self, Image};
use crate::bake::packages::Packages;
use crate::bake::store::Store;
use crate::plan::layer::{BundleSource, PlannedBundle};
use crate::report::{self, Failure, Fault};
use crate::sys::digest::Digest;
use crate::sys::{file, userns};

/// The hidden subcommand that runs inside.
pub(super) const COMMAND: &str = "__bundle";

/// `habuild bundle`.
#[derive(Debug, Args)]
pub(super) struct BundleArgs {
    /// The offline installer, a .tgz file
    file: PathBuf,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
    /// The cache [default: $XDG_CACHE_HOME/habuild]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Enters the namespace.
pub(super) fn outside(args: &BundleArgs) -> Result<u8> {
    userns::check_host()?;
    let cache = paths::cache(args.cache.as_deref())?.display().to_string();
    let file = paths::absolute(&args.file)?.display().to_string();
    let mut arguments = vec![COMMAND, "--cache", &cache];
    if args.json {
        arguments.push("--json");
    }
    arguments.extend(["--", &file]);
    userns::run(&arguments, b"")
}

/// Looks into the bundle and says what it found.
pub(super) fn inside(args: &BundleArgs) -> Result<u8> {
    let cache = paths::cache(args.cache.as_deref())?;
    let wrong = |words: &str| Failure::new(Fault::Usage, format!("{}: {words}", args.file.display()));
    match std::fs::metadata(&args.file) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(wrong("is no file, and should be an offline installer").into()),
        Err(error) => return Err(wrong("there is no such file").because(error).into()),
    }
    let (store, packages) = (Store::open(&cache)?, Packages::open(&cache)?);
    let _in_use = store.in_use()?;
    let (sha256, length) = Digest::of_file(&args.file)?;
    let planned = PlannedBundle { sha256, from: BundleSource::File(args.file.clone()) };
    let (bundle, _) = bundle::take(&planned, &store, &packages, true)?;
    let compose = file::read(&bundle.files.join(COMPOSE_FILE))?;
    let services = services(&compose).map_err(|words| Failure::new(Fault::Bug, words))?;
    if args.json {
        say(format_args!("{:#}", as_json(&bundle, sha256, length, &json!(services))));
        return Ok(0);
    }
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    say(format_args!("{name}: Harbor {}, {}", bundle.version, report::size(length)));
    say(format_args!("sha256 {sha256}"));
    say(format_args!("\nservices of {COMPOSE_FILE}"));
    for (name, image) in &services {
        say(format_args!("  {name:<16} {}", image.as_deref().unwrap_or("(built)")));
    }
    say(format_args!("\ncontainer images, their layers from the bottom up"));
    for image in &bundle.images {
        let names = if image.tags.is_empty() { "(no name)".to_owned() } else { image.tags.join(", ") };
        say(format_args!("  {names:<44} {}  {:>9}", image.id.short(), report::size(size_of(&bundle, image))));
        for diff_id in &image.layers {
            let size = bundle.layers.get(diff_id).map_or(0, |layer| layer.size);
            say(format_args!("  {:<44} {}  {:>9}", "", diff_id.short(), report::size(size)));
        }
    }
    let all: u64 = bundle.layers.values().map(|layer| layer.size).sum();
    say(format_args!(
        "\n{} layers, {} unpacked; a layer that several images have counts once",
        bundle.layers.len(),
        report::size(all)
    ));
    Ok(0)
}

fn size_of(bundle: &Bundle, image: &Image) -> u64 {
    image.layers.iter().filter_map(|diff_id| bundle.layers.get(diff_id)).map(|layer| layer.size).sum()
}

fn as_json(bundle: &Bundle, sha256: Digest, length: u64, services: &Value) -> Value {
    let image = |(image, (_, chains)): (&Image, (Digest, Vec<Digest>))| {
        let layers = image.layers.iter().zip(chains).map(|(diff_id, chain)| {
            let size = bundle.layers.get(diff_id).map_or(0, |layer| layer.size);
            json!({ "diff_id": diff_id, "chain_id": chain, "size": size })
        });
        json!({
            "id": image.id,
            "names": image.tags,
            "size": size_of(bundle, image),
            "layers": layers.collect::<Vec<_>>(),
        })
    };
    let images: Vec<Value> = bundle.images.iter().zip(docker::chains(&bundle.images)).map(image).collect();
    json!({
        "version": bundle.version,
        "generation": bundle.generation,
        "sha256": sha256,
        "size": length,
        "services": services,
        "images": images,
    })
}
