//! The agent: what runs on the node, from cloud-init's data to a running Harbor.
//!
//! What it must agree on with the builder is in `contract`. Everything outside the process is reached through `host`.

mod bundle;
mod cli;
mod cloud_stage;
mod configure;
mod host;
mod images;
mod noted;
mod preflight;
mod prepare;
mod secrets;
mod share;
mod status;
mod steps;
mod stores;
mod supervise;
#[cfg(test)]
mod test_authority;
#[cfg(test)]
mod test_machine;
mod trouble;

use std::path::Path;

use contract::schema;

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
