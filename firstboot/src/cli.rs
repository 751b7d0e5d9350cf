//! The command line: what is printed, where, and which exit code it gets.
#![expect(clippy::print_stderr, reason = "the one place that prints")]

mod cluster;
mod secrets;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::json;

use crate::cloud_stage::{self, Stage};
use crate::host::Host;
use crate::images;
use crate::located;
use crate::share::{self, TOKEN_KEY_BITS};
use crate::status::{State, Status};
use crate::steps::{self, Ended, Found, proof};
use crate::supervise;
use crate::trouble::{Trouble, WRONG};
use contract::schema::{NodeConfig, Problem, not_in_this_version};

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
    /// How far this node is; exit code 0 fine, 1 failed, 2 something needs a look
    Status {
        #[command(flatten)]
        machine: Machine,
        /// Print one JSON object instead
        #[arg(long)]
        json: bool,
        /// Wait until the node is ready or has failed
        #[arg(long)]
        wait: bool,
    },
    /// Prove what Harbor must not start without
    Check {
        #[command(flatten)]
        machine: Machine,
        /// That the share is mounted, is this cluster's, and can be written
        #[arg(long, required_unless_present = "images")]
        share: bool,
        /// The share alone, before this node has come to terms with it
        #[arg(long, hide = true, requires = "share")]
        unsettled: bool,
        /// That Docker's store holds the container images that were baked
        #[arg(long)]
        images: bool,
    },
    /// Which nodes the share has seen, and when
    Cluster(cluster::Cluster),
    /// Back the cluster's secrets up, and restore them
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    /// What habuild-firstboot.service runs at every boot
    Boot {
        #[command(flatten)]
        place: ConfigPlace,
    },
    /// What cloud-init's units run: start a stage in its one process, and wait for the end
    #[command(hide = true)]
    CloudInitStage { stage: Stage },
    /// Settle a share's secrets as the step certificates does, and print their digest
    #[command(hide = true)]
    Settle(SettleArgs),
    /// What harbor.service runs: Harbor's containers
    Supervise {
        #[command(flatten)]
        machine: Machine,
    },
}

#[derive(Debug, Args)]
struct SettleArgs {
    #[command(flatten)]
    machine: Machine,
    #[arg(long, value_name = "DIR")]
    share: String,
    #[arg(long, default_value = "hub")]
    cluster: String,
    #[arg(long, default_value = "v1.1.2")]
    harbor: String,
    #[arg(long)]
    instance: String,
    /// The length of the token key, should it be this node that makes it
    #[arg(long, default_value_t = TOKEN_KEY_BITS)]
    bits: u32,
}

#[derive(Debug, Args)]
struct Machine {
    /// Take every path below this directory
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
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
        Command::Status { machine, json, wait } => status(&Host::new(&machine.root), json, wait),
        Command::Check { machine, share, unsettled, images } => {
            let host = Host::new(&machine.root);
            let wanted = if unsettled { proof::For::Agent } else { proof::For::Harbor };
            match (share, images) {
                (true, true) => check_share(&host, wanted).and_then(|()| check_images(&host)),
                (_, true) => check_images(&host),
                _ => check_share(&host, wanted),
            }
            .map_or_else(|code| code, |()| ExitCode::SUCCESS)
        }
        Command::Boot { place } => match steps::run(&Host::new(&place.root), &place.config) {
            Ended::Done => ExitCode::SUCCESS,
            Ended::Failed => ExitCode::FAILURE,
        },
        Command::Cluster(args) => cluster::run(&args),
        Command::Secrets(command) => secrets::run(&command),
        Command::CloudInitStage { stage } => cloud_init_stage(stage),
        Command::Settle(args) => settle(&args),
        Command::Supervise { machine } => match supervise::run(&Host::new(&machine.root)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(trouble) => {
                eprintln!("habuild: {trouble}");
                ExitCode::FAILURE
            }
        },
    }
}

fn cloud_init_stage(stage: Stage) -> ExitCode {
    match cloud_stage::run(stage, Path::new(cloud_stage::SOCKETS)) {
        Ok((_, 0)) => ExitCode::SUCCESS,
        Ok((message, code)) => {
            eprintln!("cloud-init: {message}");
            ExitCode::from(code)
        }
        Err(error) => {
            eprintln!("cloud-init does not answer: {error}; look at: systemctl status cloud-init-main");
            ExitCode::FAILURE
        }
    }
}

/// Exit code 1: it may pass; 2: it will not; 4: it may pass, and sooner if the share is mounted anew.
fn check_share(host: &Host, wanted: proof::For) -> Result<(), ExitCode> {
    let expected = proof::Expected::recorded(host);
    match expected.and_then(|expected| proof::prove(host, &expected, wanted)) {
        Ok(None) => Ok(()),
        Ok(Some(doubt)) => print(&(doubt + "\n")),
        Err(trouble) => Err(said(&trouble)),
    }
}

fn check_images(host: &Host) -> Result<(), ExitCode> {
    let found = images::differences(host).map_err(|trouble| said(&trouble))?;
    if found.is_empty() {
        return Ok(());
    }
    for difference in found {
        eprintln!("{difference}");
    }
    eprintln!("Docker's store is not what was baked: replace this node, or load the bundle's images again");
    Err(ExitCode::from(WRONG))
}

fn said(trouble: &Trouble) -> ExitCode {
    eprintln!("{trouble}");
    ExitCode::from(trouble.exit_code())
}

fn settle(args: &SettleArgs) -> ExitCode {
    let node = share::Node {
        share: &args.share,
        cluster: &args.cluster,
        harbor: &args.harbor,
        instance: &args.instance,
        adopt: false,
        upgrade_from: None,
        database: share::Used::No,
        given: None,
        bits: args.bits,
    };
    let settled = share::settle(&Host::new(&args.machine.root), &node);
    match settled.and_then(|settled| share::digest(&settled.secrets)).map(|digest| print(&(digest + "\n"))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(code)) => code,
        Err(trouble) => said(&trouble),
    }
}

fn status(host: &Host, as_json: bool, wait: bool) -> ExitCode {
    let status = loop {
        let status = Status::read(host);
        let under_way = status.as_ref().is_none_or(|status| status.state == State::Starting);
        if !wait || !under_way {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    };
    let Some(status) = status else {
        eprintln!("the agent has not begun in this boot: systemctl status habuild-firstboot");
        return ExitCode::from(UNREADABLE);
    };
    let harbor = supervise::state::read(host);
    let text = if as_json {
        let mut object = json!(status);
        if let (Some(object), Some(harbor)) = (object.as_object_mut(), &harbor) {
            object.insert("service".to_owned(), json!(harbor));
        }
        serde_json::to_string_pretty(&object).unwrap_or_default() + "\n"
    } else {
        status.text(harbor.as_ref(), host.now().as_secs(), std::io::stdout().is_terminal())
    };
    match print(&text) {
        Ok(()) => ExitCode::from(status.exit_code(harbor.as_ref())),
        Err(code) => code,
    }
}

/// Writes to standard output. Unlike `print!`, this does not panic when the reader has gone (`show | head -1`).
fn print(text: &str) -> Result<(), ExitCode> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("standard output: {error}");
            Err(ExitCode::from(70))
        }
        _ => Ok(()),
    }
}

fn show(host: &Host, path: &Path, as_json: bool) -> ExitCode {
    let (config, warnings) = match steps::find(host, path) {
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
    if let Err(code) = print(&text) {
        return code;
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
