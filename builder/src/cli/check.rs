//! `habuild check`: every problem of the files named, and the list of image lints.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::paths::Root;
use super::say::{say, tell};
use crate::assemble::lint::LINTS;
use crate::report::{Failure, Fault, Report};
use crate::spec;

/// `habuild check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Files to check
    files: Vec<PathBuf>,
    /// List what every image is checked for before it becomes a disk
    #[arg(long)]
    list: bool,
}

/// Checks each file; all of their problems are told.
pub(super) fn run(root: Result<Root>, args: &CheckArgs) -> Result<u8> {
    if args.list {
        for lint in LINTS {
            say(format_args!("{:14} {}", lint.name, lint.description));
        }
        return Ok(0);
    }
    if args.files.is_empty() {
        return Err(Failure::new(Fault::Usage, "check needs a file").remedy("habuild check FILE…, or --list").into());
    }
    // A file may be checked outside any project; only names of layers cannot be looked up then.
    let root = root.unwrap_or(Root { path: ".".into() });
    let mut code = 0;
    let mut problems = 0;
    for file in &args.files {
        match spec::check_file(&root.path, file) {
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
