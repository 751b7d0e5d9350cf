//! `habuild bundle`: what is in a Harbor bundle. It is unpacked into the cache, with every check of a build, and a build
//! then finds it there.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use contract::harbor::{self, COMPOSE_FILE, Generation, HarborOption, When};
use serde_json::{Value, json};

use super::paths;
use super::say::say;
use crate::bake::bundle::{self, Bundle};
use crate::bake::docker::{self, Image};
use crate::bake::packages::Packages;
use crate::bake::store::Store;
use crate::plan::inputs;
use crate::report;
use crate::spec::image::Chosen;
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
    let (planned, length) = inputs::bundle_file(&args.file)?;
    let (store, packages) = (Store::open(&cache)?, Packages::open(&cache)?);
    let _in_use = store.in_use()?;
    let sha256 = planned.sha256;
    let (bundle, _) = bundle::take(&planned, &store, &packages, true)?;
    bundle.render_dry()?;
    let services = services(&bundle)?;
    let baked = bundle.clone().only(&Chosen::default())?.images;
    if args.json {
        say(format_args!("{:#}", as_json(&bundle, sha256, length, &services, &baked)));
        return Ok(0);
    }
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    say(format_args!("{name}: Harbor {}, {}", bundle.version, report::size(length)));
    say(format_args!("sha256 {sha256}"));
    say(format_args!("\nservices"));
    for service in &services {
        let (image, when) = match &service.image {
            Some(image) => (image.as_str(), in_words(service.when)),
            None => ("-", "cannot run: the bundle has no image for it"),
        };
        say(format_args!("  {:<16} {image:<56} {when}", service.name));
    }
    say(format_args!("\ncontainer images, their layers from the bottom up"));
    for image in &bundle.images {
        let names = if image.tags.is_empty() { "(no name)".to_owned() } else { image.tags.join(", ") };
        let needed = match when_needed(&services, image) {
            _ if !baked.contains(image) => "  never baked".to_owned(),
            Some(when) if when != When::Always => format!("  {}", in_words(when)),
            _ => String::new(),
        };
        say(format_args!("  {names:<44} {}  {:>9}{needed}", image.id.short(), report::size(size_of(&bundle, image))));
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

/// A service of a bundle's Harbor.
struct Service {
    name: String,
    image: Option<String>,
    when: When,
}

/// The services: of the compose file that the bundle brings, or of those that its `prepare` makes one of.
fn services(bundle: &Bundle) -> Result<Vec<Service>> {
    if bundle.generation == Generation::Yml {
        let members = harbor::members(&bundle.version).into_iter();
        return Ok(members
            .map(|member| Service {
                name: member.service.to_owned(),
                image: bundle.tags_of(member.image).next().map(str::to_owned),
                when: member.when,
            })
            .collect());
    }
    let compose = file::read(&bundle.files.join(COMPOSE_FILE))?;
    let services = harbor::services(&compose);
    let services = services.map_err(|words| bundle.refused(harbor::broken(COMPOSE_FILE, &words)))?;
    let of = |(name, image): (String, Option<String>)| Service { when: harbor::when(&name), name, image };
    Ok(services.into_iter().map(of).collect())
}

/// When the service runs that an image is for, if it is for one.
fn when_needed(services: &[Service], image: &Image) -> Option<When> {
    let of = |service: &&Service| service.image.as_ref().is_some_and(|name| image.tags.contains(name));
    services.iter().find(of).map(|service| service.when)
}

/// When a service runs, as programs are told.
fn in_a_word(when: When) -> &'static str {
    match when {
        When::Always => "always",
        When::Bundled => "bundled",
        When::Prepare => "prepare",
        When::Option(option) => option.name(),
        When::Never => "never",
    }
}

/// When a service runs, as people are told.
fn in_words(when: When) -> &'static str {
    match when {
        When::Always => "always",
        When::Bundled => "where the node config says bundled",
        When::Prepare => "once, to render the configuration",
        When::Option(HarborOption::Trivy) => "where the node config says harbor.trivy",
        When::Option(HarborOption::Metrics) => "where the node config says harbor.metrics",
        When::Never => "never: the node's journal does its work",
    }
}

fn size_of(bundle: &Bundle, image: &Image) -> u64 {
    image.layers.iter().filter_map(|diff_id| bundle.layers.get(diff_id)).map(|layer| layer.size).sum()
}

fn as_json(bundle: &Bundle, sha256: Digest, length: u64, services: &[Service], baked: &[Image]) -> Value {
    let image = |(image, (_, chains)): (&Image, (Digest, Vec<Digest>))| {
        let layers = image.layers.iter().zip(chains).map(|(diff_id, chain)| {
            let size = bundle.layers.get(diff_id).map_or(0, |layer| layer.size);
            json!({ "diff_id": diff_id, "chain_id": chain, "size": size })
        });
        json!({
            "id": image.id,
            "names": image.tags,
            "size": size_of(bundle, image),
            "baked": baked.contains(image),
            "when": when_needed(services, image).map(in_a_word),
            "layers": layers.collect::<Vec<_>>(),
        })
    };
    let images: Vec<Value> = bundle.images.iter().zip(docker::chains(&bundle.images)).map(image).collect();
    json!({
        "version": bundle.version,
        "generation": bundle.generation,
        "sha256": sha256,
        "size": length,
        "warnings": bundle.doubts(),
        "services": services
            .iter()
            .map(|service| json!({ "name": service.name, "image": service.image, "when": in_a_word(service.when) }))
            .collect::<Vec<_>>(),
        "images": images,
    })
}
