//! `habuild cache`: runs inside the user namespace, since an ordinary user's layers belong to subordinate ids.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::paths;
use super::say::say;
use crate::bake::bundle::Bundles;
use crate::bake::packages::Packages;
use crate::bake::store::Store;
use crate::report::{self, Failure, Fault};
use crate::sys::{file, userns};

/// The hidden subcommand that runs inside.
pub(super) const COMMAND: &str = "__cache";

/// `habuild cache`.
#[derive(Debug, Args)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    action: Action,
    /// The cache [default: $XDG_CACHE_HOME/habuild]
    #[arg(long, global = true, value_name = "DIR")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Show every layer and every bundle
    List,
    /// Read every layer and say which are damaged
    Verify,
    /// Remove what no layer uses, damaged layers included
    Gc {
        /// Remove every layer and every package
        #[arg(long, conflicts_with = "unused")]
        all: bool,
        /// Remove also the layers and packages that no build has used for so many days
        #[arg(long, value_name = "DAYS")]
        unused: Option<u32>,
    },
}

/// Enters the namespace.
pub(super) fn outside(args: &CacheArgs) -> Result<u8> {
    userns::check_host()?;
    let cache = paths::cache(args.cache.as_deref())?.display().to_string();
    let mut arguments = vec![COMMAND, "--cache", &cache];
    let days;
    match &args.action {
        Action::List => arguments.push("list"),
        Action::Verify => arguments.push("verify"),
        Action::Gc { all, unused } => {
            arguments.push("gc");
            if *all {
                arguments.push("--all");
            }
            if let Some(unused) = unused {
                days = unused.to_string();
                arguments.extend(["--unused", &days]);
            }
        }
    }
    userns::run(&arguments, b"")
}

/// Carries the command out.
pub(super) fn inside(args: &CacheArgs) -> Result<u8> {
    let cache = paths::cache(args.cache.as_deref())?;
    if let Action::Gc { all: true, .. } = args.action {
        // Not opened: this is also the way out of a cache of another format.
        Store::clear(&cache)?;
        say(format_args!("emptied {}", cache.display()));
        return Ok(0);
    }
    if !cache.exists() {
        say(format_args!("there is no cache at {}", cache.display()));
        return Ok(0);
    }
    let store = Store::open(&cache)?;
    match args.action {
        Action::List => {
            for layer in store.layers()? {
                say(format_args!(
                    "{:10} {}  {:>9}  {}",
                    layer.name,
                    layer.key.short(),
                    report::size(layer.length),
                    layer.digest
                ));
            }
            for (sha256, version, images) in Bundles::open(&store)?.list()? {
                say(format_args!("{:10} {}  Harbor {version}, {images} container images", "bundle", sha256.short()));
            }
            Ok(0)
        }
        Action::Verify => {
            let mut damaged = 0;
            for layer in store.layers()? {
                match store.verify(&layer)? {
                    None => say(format_args!("{:10} {}  whole", layer.name, layer.key.short())),
                    Some(words) => {
                        damaged += 1;
                        say(format_args!("{:10} {}  damaged: {words}", layer.name, layer.key.short()));
                    }
                }
            }
            for record in store.torn_records()? {
                damaged += 1;
                say(format_args!("{}  damaged: it says of no layer what it is", record.display()));
            }
            let (whole, broken) = Bundles::open(&store)?.verify()?;
            if whole > 0 {
                say(format_args!("{:10} {whole} layers of container images are whole", "bundle"));
            }
            for (layer, words) in broken {
                damaged += 1;
                say(format_args!("{:10} {}  damaged: {words}", "bundle", layer.diff_id.short()));
            }
            if damaged == 0 {
                return Ok(0);
            }
            let (words, them) = match damaged {
                1 => ("one layer is damaged".to_owned(), "it"),
                _ => (format!("{damaged} layers are damaged"), "them"),
            };
            Err(Failure::new(Fault::Step, words)
                .remedy(format!("habuild cache gc removes {them}; the next build makes {them} anew"))
                .into())
        }
        Action::Gc { unused, .. } => {
            let _alone = store.alone()?;
            store.sweep_scratch()?;
            let mut freed = 0;
            for layer in store.layers()? {
                if let Some(words) = store.verify(&layer)? {
                    say(format_args!("{:10} {}  removed: {words}", layer.name, layer.key.short()));
                    freed += store.forget(&layer)?;
                }
            }
            for record in store.torn_records()? {
                say(format_args!("{}  removed: it says of no layer what it is", record.display()));
                file::remove(&record)?;
            }
            let bundles = Bundles::open(&store)?;
            for (layer, words) in bundles.verify()?.1 {
                say(format_args!("{:10} {}  removed: {words}", "bundle", layer.diff_id.short()));
                freed += bundles.forget_layer(&layer)?;
            }
            if let Some(days) = unused {
                let age = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
                let layers = store.forget_unused(age)?;
                freed += Packages::open(&cache)?.remove_unused(age)?;
                let removed = |count: usize, what: &str| {
                    let plural = |count| if count == 1 { "" } else { "s" };
                    let (things, age) = (plural(count), plural(days as usize));
                    say(format_args!("removed {count} {what}{things} that no build has used for {days} day{age}"));
                };
                removed(layers, "layer");
                let (unpacked, bytes) = bundles.forget_unused(age)?;
                freed += bytes;
                if unpacked > 0 {
                    removed(unpacked, "bundle");
                }
            }
            freed += bundles.sweep()?;
            freed += store.sweep()?;
            say(format_args!("freed {}", report::size(freed)));
            Ok(0)
        }
    }
}
