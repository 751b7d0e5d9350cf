//! The command line: what is printed, where, and which exit code it gets.
#![expect(clippy::print_stderr, reason = "the one place that prints")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::json;

use crate::boot::{self, Found, located};
use crate::host::Host;
use crate::schema::{NodeConfig, Problem, not_in_this_version};

/// The node config is wrong.
const WRONG: u8 = 2;
/// The node config is missing or cannot be read.
const UNREADABLE: u8 = 3;

/// Turns a booted habuild image into a node of a Harbor cluster.
#[derive(Debug, Parser)]
#[command(name = "habuild-firstboot", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the node config: checked, defaults filled in, secrets hidden
    Show {
        #[command(flatten)]
        place: ConfigPlace,
        /// Print one JSON object instead
        #[arg(long)]
        json: bool,
    },
    /// What habuild-firstboot.service runs at every boot
    Boot {
        #[command(flatten)]
        place: ConfigPlace,
    },
}

#[derive(Debug, Args)]
struct ConfigPlace {
    /// The node config
    #[arg(long, value_name = "FILE", default_value = "/etc/habuild/node.yaml")]
    config: PathBuf,
    /// Take every path below this directory
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Runs the command line.
pub(crate) fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Show { place, json } => show(&Host::new(&place.root), &place.config, json),
        Command::Boot { place } => {
            let outcome = boot::boot(&Host::new(&place.root), &place.config);
            for line in outcome.details.iter().chain([&outcome.line]) {
                eprintln!("{line}");
            }
            ExitCode::from(u8::from(outcome.failed))
        }
    }
}

fn show(host: &Host, path: &Path, as_json: bool) -> ExitCode {
    let (config, warnings) = match boot::find(host, path) {
        Found::Config { config, warnings } => (config, warnings),
        Found::Wrong(problems) => {
            for problem in &problems {
                eprintln!("{}", located(path, "", problem));
            }
            return ExitCode::from(WRONG);
        }
        Found::Missing => {
            eprintln!("{}: no node config here", path.display());
            eprintln!("cloud-init writes it from the user-data, as a write_files entry with this path and");
            eprintln!("permissions: '0600'; `cloud-init status --long` says whether it did");
            return ExitCode::from(UNREADABLE);
        }
        Found::Unreadable(error) => {
            let advice = if error.kind() == std::io::ErrorKind::PermissionDenied { " (run this as root)" } else { "" };
            eprintln!("{}: cannot be read: {error}{advice}", path.display());
            return ExitCode::from(UNREADABLE);
        }
    };
    let missing = not_in_this_version(&config);
    let text = if as_json { as_json_text(&config, &warnings, &missing) } else { as_yaml_text(&config) };
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{}: cannot be printed: {error}", path.display());
            return ExitCode::from(70);
        }
    };
    // Unlike `print!`, this does not panic when the reader has gone (`show | head -1`).
    if let Err(error) = std::io::stdout().write_all(text.as_bytes())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        eprintln!("standard output: {error}");
        return ExitCode::from(70);
    }
    if !as_json {
        for problem in &warnings {
            eprintln!("{}", located(path, "warning: ", problem));
        }
        for problem in &missing {
            eprintln!("{problem}");
        }
    }
    ExitCode::SUCCESS
}

fn as_yaml_text(config: &NodeConfig) -> Result<String, String> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX, prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(config, options).map_err(|error| error.to_string())
}

fn as_json_text(config: &NodeConfig, warnings: &[Problem], missing: &[Problem]) -> Result<String, String> {
    let list = |problems: &[Problem]| -> Vec<serde_json::Value> {
        let one = |problem: &Problem| {
            json!({
                "line": problem.line, "column": problem.column, "key": problem.key,
                "message": problem.message, "hint": problem.hint,
            })
        };
        problems.iter().map(one).collect()
    };
    let object = json!({ "config": config, "warnings": list(warnings), "not_in_this_version": list(missing) });
    serde_json::to_string_pretty(&object).map(|text| text + "\n").map_err(|error| error.to_string())
}
