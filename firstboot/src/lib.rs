//! The node's side of habuild: the node-config schema, and the agent that acts on it.
//!
//! Invariant: `schema` is pure; everything outside the process is reached through `host`.

pub mod schema;

mod boot;
mod cli;
mod host;

/// Runs `habuild-firstboot` with the process's own arguments; gives the exit code.
#[must_use]
pub fn run() -> std::process::ExitCode {
    cli::run()
}
