//! The command table: one short function for each command.

mod boot;
mod build;
mod bundle;
mod cache;
mod check;
mod events;
mod live;
mod paths;
mod plan;
mod say;
mod user_data;

use std::ffi::{OsStr, OsString};
use std::panic::{UnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::report::{self, FREE_SPACE, Failure, Fault, Report};
use crate::spec::Override;
use crate::sys::{enter, sandbox, userns};
use events::Mode;

/// Bakes an immutable Ubuntu node image for the Harbor registry.
#[derive(Debug, Parser)]
#[command(name = "habuild", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The project's directory: the one that holds images/ and layers/ [default: this one or one above it]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Also show each line that tools print
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bake and export an image
    Image(ImageArgs),
    /// Boot an image under QEMU and watch its console
    Boot(boot::BootArgs),
    /// Show what would be built, what is cached, and why a layer is not
    Plan(SpecArgs),
    /// Resolve packages anew and write the lock file
    Lock(SpecArgs),
    /// Check image specs, layers, node configs and user-data: every problem with its place
    Check(check::CheckArgs),
    /// Print the cloud-init user-data that delivers a node config
    UserData(user_data::UserDataArgs),
    /// Show what is in a Harbor bundle, and check it as a build does
    Bundle(bundle::BundleArgs),
    /// List, verify or clean the cache
    Cache(cache::CacheArgs),
    /// Inside the user namespace: carry out a plan given on standard input
    #[command(name = build::COMMAND, hide = true)]
    Build,
    /// Inside the user namespace: look into a bundle
    #[command(name = bundle::COMMAND, hide = true)]
    BundleInside(bundle::BundleArgs),
    /// Inside the user namespace: check against a bundle
    #[command(name = check::COMMAND, hide = true)]
    CheckInside(check::CheckArgs),
    /// Inside the user namespace: carry out a cache command
    #[command(name = cache::COMMAND, hide = true)]
    CacheInside(cache::CacheArgs),
}

/// What every command that reads a spec takes.
#[derive(Debug, Args)]
struct SpecArgs {
    /// The image spec: a name in images/, or a path
    #[arg(default_value = "harbor-node")]
    spec: String,
    /// Override a key of the spec; the value is TOML, else a string (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Another base, such as debian:bookworm
    #[arg(long, value_name = "DISTRIBUTION:RELEASE")]
    base: Option<String>,
    /// The archive to fetch packages from
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Where layers and packages are kept [default: $XDG_CACHE_HOME/habuild]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Where the artifacts go [default: out/NAME]
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Use no network: what is missing is listed
    #[arg(long)]
    offline: bool,
    /// Use exactly this lock
    #[arg(long, value_name = "FILE")]
    locked: Option<PathBuf>,
    /// One JSON event a line on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ImageArgs {
    #[command(flatten)]
    spec: SpecArgs,
    /// What to make of the disk, such as raw,qcow2
    #[arg(long, value_name = "FORMAT,…", value_delimiter = ',')]
    format: Vec<String>,
    /// Read the artifacts again before saying that nothing changed
    #[arg(long)]
    verify: bool,
}

impl SpecArgs {
    /// The options as overrides of the spec's keys.
    fn overrides(&self, formats: &[String]) -> Result<Vec<Override>> {
        let mut texts: Vec<(Option<&str>, String)> = self.set.iter().map(|text| (None, text.clone())).collect();
        if let Some(base) = &self.base {
            let Some((distribution, release)) = base.split_once(':') else {
                return Err(Failure::new(Fault::Usage, format!("--base {base} is not DISTRIBUTION:RELEASE"))
                    .remedy("such as --base debian:bookworm")
                    .into());
            };
            texts.push((Some("--base"), format!("base.distribution={distribution}")));
            texts.push((Some("--base"), format!("base.release={release}")));
        }
        texts.extend(self.mirror.iter().map(|mirror| (Some("--mirror"), format!("base.mirror={mirror}"))));
        if !formats.is_empty() {
            texts.push((Some("--format"), format!("artifacts.formats={formats:?}")));
        }
        texts
            .iter()
            .map(|(option, text)| {
                let wrong = |mistake| Failure::new(Fault::Usage, format!("{}: {mistake}", option.unwrap_or("--set")));
                let read = Override::parse(text).map_err(wrong)?;
                Ok(match option {
                    Some(option) => read.given_as(option),
                    None => read,
                })
            })
            .collect()
    }
}

/// Runs the command line and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::from(guarded(|| {
        // Namespaces first: before clap, before tracing, before any thread.
        let hidden = match std::env::args_os().nth(1).as_deref().and_then(OsStr::to_str) {
            Some(userns::COMMAND) => Some(own_arguments().and_then(|rest| userns::enter(&rest)).map(|()| 0)),
            Some(sandbox::COMMAND) => Some(own_arguments().and_then(|rest| enter::run(&rest))),
            _ => None,
        };
        finish(hidden.unwrap_or_else(|| run(&Cli::parse())))
    }))
}

/// What habuild gave to itself behind a hidden subcommand.
fn own_arguments() -> Result<Vec<String>> {
    let text = |argument: OsString| {
        argument.into_string().map_err(|other| {
            Failure::new(Fault::Usage, format!("the argument {} is not UTF-8", other.display()))
                .remedy("rename what it names")
                .into()
        })
    };
    std::env::args_os().skip(2).map(text).collect()
}

/// A panic is a mistake in habuild, with the exit code that the README promises for one. (It has said its words.)
fn guarded(run: impl FnOnce() -> u8 + UnwindSafe) -> u8 {
    catch_unwind(run).unwrap_or_else(|_| Fault::Bug.exit_code())
}

fn run(cli: &Cli) -> Result<u8> {
    let root = paths::Root::find(cli.root.as_deref());
    match &cli.command {
        Command::Image(args) => {
            events::listen(Mode::choose(args.spec.json), cli.verbose);
            build::image(&root?, args, cli.verbose)
        }
        Command::Boot(args) => {
            events::listen(Mode::Plain, cli.verbose);
            boot::run(args)
        }
        Command::Plan(args) => {
            events::listen(Mode::Plain, cli.verbose);
            plan::show(&root?, args)
        }
        Command::Lock(args) => {
            events::listen(Mode::choose(args.json), cli.verbose);
            plan::lock(&root?, args)
        }
        Command::Check(args) => {
            events::listen(Mode::Plain, cli.verbose);
            check::outside(root, args)
        }
        Command::UserData(args) => {
            events::listen(Mode::Plain, cli.verbose);
            user_data::run(args)
        }
        Command::Bundle(args) => bundle::outside(args),
        Command::Cache(args) => cache::outside(args),
        Command::Build => build::inside(),
        Command::BundleInside(args) => {
            events::listen(Mode::Plain, cli.verbose);
            bundle::inside(args)
        }
        Command::CheckInside(args) => {
            events::listen(Mode::Plain, cli.verbose);
            check::inside(root, args)
        }
        Command::CacheInside(args) => cache::inside(args),
    }
}

/// Says what went wrong, once, and gives the exit code.
fn finish(result: Result<u8>) -> u8 {
    match result.and_then(say::judged) {
        Ok(code) => code,
        Err(error) => {
            say::tell(format_args!("{}", words(&error)));
            report::fault_of(&error).exit_code()
        }
    }
}

/// An error for people: what happened, why, and what to do.
fn words(error: &anyhow::Error) -> String {
    if let Some(report) = error.downcast_ref::<Report>() {
        let count = report.problems.len();
        return format!("{report}\n{count} problem{}", if count == 1 { "" } else { "s" });
    }
    let mut text = format!("habuild: {error}");
    let mut remedies = Vec::new();
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            remedies.extend(failure.remedy.clone());
        }
    }
    for cause in error.chain().skip(1) {
        text.push_str(&format!("\n  because: {cause}"));
    }
    if let Some(io) = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>())
        && io.kind() == std::io::ErrorKind::StorageFull
    {
        remedies.push(FREE_SPACE.into());
    }
    if let Some(remedy) = remedies.first() {
        text.push_str(&format!("\n  remedy: {remedy}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_with_the_exit_code_of_a_mistake_in_habuild() {
        assert_eq!(guarded(|| panic!("a test's")), 70);
        assert_eq!(guarded(|| 3), 3);
    }
}
