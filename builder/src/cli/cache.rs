//! `habuild cache`: runs inside the user namespace, since an ordinary user's layers belong to subordinate ids.
#![expect(clippy::print_stdout, reason = "the answer is what was asked for")]

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::paths;
use crate::bake::store::Store;
use crate::report::{self, Failure, Fault};
use crate::sys::userns;

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
    /// Show every layer
    List,
    /// Read every layer and say which are damaged
    Verify,
    /// Remove what no layer uses, damaged layers included
    Gc {
        /// Remove every layer and every package
        #[arg(long)]
        all: bool,
    },
}

/// Enters the namespace.
pub(super) fn outside(args: &CacheArgs) -> Result<u8> {
    userns::check_host()?;
    let cache = paths::cache(args.cache.as_deref())?.display().to_string();
    let mut arguments = vec![COMMAND, "--cache", &cache];
    match &args.action {
        Action::List => arguments.push("list"),
        Action::Verify => arguments.push("verify"),
        Action::Gc { all } => {
            arguments.push("gc");
            if *all {
                arguments.push("--all");
            }
        }
    }
    userns::run(&arguments, b"")
}

/// Carries the command out.
pub(super) fn inside(args: &CacheArgs) -> Result<u8> {
    let cache = paths::cache(args.cache.as_deref())?;
    let store = Store::open(&cache)?;
    match args.action {
        Action::List => {
            for layer in store.layers()? {
                println!(
                    "{:10} {}  {:>9}  {}",
                    layer.name,
                    layer.key.short(),
                    report::size(layer.length),
                    layer.digest
                );
            }
            Ok(0)
        }
        Action::Verify => {
            let scratch = store.scratch()?;
            let mut damaged = 0;
            for layer in store.layers()? {
                match store.verify(&layer, scratch.path())? {
                    None => println!("{:10} {}  whole", layer.name, layer.key.short()),
                    Some(words) => {
                        damaged += 1;
                        println!("{:10} {}  damaged: {words}", layer.name, layer.key.short());
                    }
                }
            }
            if damaged == 0 {
                return Ok(0);
            }
            Err(Failure::new(Fault::Step, format!("{damaged} layers are damaged"))
                .remedy("habuild cache gc removes them; the next build makes them anew")
                .into())
        }
        Action::Gc { all } => {
            let _alone = store.alone()?;
            if all {
                store.clear()?;
                println!("emptied {}", cache.display());
                return Ok(0);
            }
            let scratch = store.scratch()?;
            for layer in store.layers()? {
                if let Some(words) = store.verify(&layer, scratch.path())? {
                    println!("{:10} {}  removed: {words}", layer.name, layer.key.short());
                    store.forget(&layer)?;
                }
            }
            drop(scratch);
            println!("freed {}", report::size(store.sweep()?));
            Ok(0)
        }
    }
}
