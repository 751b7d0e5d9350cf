//! `habuild check`: every problem of the files named, and the list of image lints. With a bundle it also says what that bundle's
//! Harbor cannot do for them, by the code that nodes judge it by.

mod against;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::paths::{self, Root};
use super::say::{say, tell};
use crate::assemble::lint::LINTS;
use crate::report::{Failure, Fault, Report};
use crate::spec;
use crate::sys::userns;
use against::Against;

/// The hidden subcommand that runs inside: bundles lie in the cache, which belongs to the namespace's root.
pub(super) const COMMAND: &str = "__check";

/// `habuild check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Files to check
    files: Vec<PathBuf>,
    /// List what every image is checked for before it becomes a disk
    #[arg(long)]
    list: bool,
    /// Check node configs, user-data and image specs against this Harbor bundle, the offline installer
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Check node configs and user-data against this image spec and its bundle: a name in images/, or a path
    #[arg(long, value_name = "SPEC")]
    image: Option<String>,
    /// The cache, into which the bundle is unpacked [default: $XDG_CACHE_HOME/habuild]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Checks here what needs no bundle; enters the namespace for what does.
pub(super) fn outside(root: Result<Root>, args: &CheckArgs) -> Result<u8> {
    if args.list {
        for lint in LINTS {
            say(format_args!("{:14} {}", lint.name, lint.description));
        }
        return Ok(0);
    }
    if args.files.is_empty() && args.image.is_none() {
        return Err(Failure::new(Fault::Usage, "check needs a file").remedy("habuild check FILE…, or --list").into());
    }
    if args.bundle.is_none() && args.image.is_none() {
        return files(&root.unwrap_or_else(|_| anywhere()), args, None);
    }
    userns::check_host()?;
    let cache = paths::cache(args.cache.as_deref())?;
    let mut arguments = vec![COMMAND.to_owned(), format!("--cache={}", paths::text(&cache)?)];
    if let Ok(root) = &root {
        arguments.push(format!("--root={}", paths::text(&root.path)?));
    }
    if let Some(bundle) = &args.bundle {
        arguments.push(format!("--bundle={}", paths::text(bundle)?));
    }
    arguments.extend(args.image.iter().map(|image| format!("--image={image}")));
    arguments.push("--".into());
    for file in &args.files {
        arguments.push(paths::text(file)?);
    }
    userns::run(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), b"")
}

/// Checks against a bundle.
pub(super) fn inside(root: Result<Root>, args: &CheckArgs) -> Result<u8> {
    let root = if args.image.is_some() { root? } else { root.unwrap_or_else(|_| anywhere()) };
    let cache = paths::cache(args.cache.as_deref())?;
    let against = Against::open(&root.path, &cache, args.bundle.as_deref(), args.image.as_deref())?;
    if args.files.is_empty() {
        say(format_args!("{}: ok with Harbor {}", args.image.as_deref().unwrap_or_default(), against.version()));
    }
    files(&root, args, Some(&against))
}

/// A file may be checked outside any project; only names of images and layers cannot be looked up then.
fn anywhere() -> Root {
    Root { path: ".".into() }
}

/// Checks each file; all of their problems are told.
fn files(root: &Root, args: &CheckArgs, against: Option<&Against>) -> Result<u8> {
    let mut code = 0;
    let mut problems = 0;
    for file in &args.files {
        let checked = spec::check_file(&root.path, file);
        let judged = checked.and_then(|checked| against.map_or(Ok(()), |against| against.judge(file, &checked)));
        match judged {
            Ok(()) => say(format_args!("{}: ok", file.display())),
            Err(error) => match error.downcast_ref::<Report>() {
                Some(report) => {
                    tell(format_args!("{report}"));
                    problems += report.problems.len();
                    code = Fault::Usage.exit_code();
                }
                None => return Err(error),
            },
        }
    }
    if problems > 0 {
        tell(format_args!("{problems} problem{}", if problems == 1 { "" } else { "s" }));
    }
    Ok(code)
}
