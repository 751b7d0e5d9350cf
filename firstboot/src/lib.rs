//! The node's side of habuild: the node-config schema, and the agent that acts on it.
//!
//! Invariant: `schema` is pure; everything outside the process is reached through `host`.

pub mod schema;

mod bundle;
mod cli;
mod cloud_stage;
mod command;
mod configure;
mod dial;
mod docker;
mod fstab;
mod host;
mod http;
mod journal;
mod preflight;
mod secrets;
mod share;
mod status;
mod steps;
mod supervise;
#[cfg(test)]
mod test_authority;
mod trouble;
mod trust;

use std::path::Path;

/// Runs `habuild-firstboot` with the process's own arguments; gives the exit code.
#[must_use]
pub fn run() -> std::process::ExitCode {
    cli::run()
}

/// A problem of the node config as `FILE:LINE:COLUMN: KIND KEY: MESSAGE (HINT)`.
fn located(path: &Path, kind: &str, problem: &schema::Problem) -> String {
    let place = match problem.line {
        0 => String::new(),
        line => format!("{line}:{}:", problem.column),
    };
    let bare = schema::Problem { line: 0, column: 0, ..problem.clone() };
    format!("{}:{place} {kind}{bare}", path.display())
}
