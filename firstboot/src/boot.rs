//! What every boot does. In this version: read the node config and say so.

use std::io;
use std::path::Path;

use crate::host::Host;
use crate::schema::{self, NodeConfig, Problem};

/// A node config as found, or why there is none.
#[derive(Debug)]
pub(crate) enum Found {
    /// Read and without problems; `warnings` are worth telling.
    Config { config: Box<NodeConfig>, warnings: Vec<Problem> },
    /// Read, and wrong.
    Wrong(Vec<Problem>),
    /// There is no such file.
    Missing,
    /// It could not be read.
    Unreadable(io::Error),
}

/// Looks for the node config.
pub(crate) fn find(host: &Host, path: &Path) -> Found {
    let content = match host.read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Missing,
        Err(error) => return Found::Unreadable(error),
    };
    match schema::parse_bytes(&content.bytes) {
        Ok(config) => {
            let mut warnings = schema::warnings(&config);
            if content.exposed {
                warnings.insert(0, exposed());
            }
            Found::Config { config: Box::new(config), warnings }
        }
        Err(problems) => Found::Wrong(problems),
    }
}

fn exposed() -> Problem {
    Problem {
        line: 0,
        column: 0,
        key: String::new(),
        message: "others may read this file".to_owned(),
        hint: Some("permissions: '0600' in write_files, or chmod 0600".to_owned()),
    }
}

/// How a boot ended: the line for the consoles, further lines for the journal, and whether it failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) line: String,
    pub(crate) details: Vec<String>,
    pub(crate) failed: bool,
}

/// One boot.
pub(crate) fn boot(host: &Host, path: &Path) -> Outcome {
    let outcome = match find(host, path) {
        Found::Config { config, warnings } => {
            let line =
                format!("habuild: node config read: cluster {}, storage {}", config.cluster, config.storage.kind());
            let warnings = warnings.iter().map(|problem| located(path, "warning: ", problem));
            let missing = schema::not_in_this_version(&config);
            let details = warnings.chain(missing.iter().map(|problem| format!("habuild: {problem}"))).collect();
            Outcome { line, details, failed: false }
        }
        Found::Missing => {
            let line = format!("habuild: no node config at {}: this node stays as it is", path.display());
            Outcome { line, details: Vec::new(), failed: false }
        }
        Found::Wrong(problems) => failure(&problems, path),
        Found::Unreadable(error) => {
            let line = format!("habuild: failed step=metadata: {} cannot be read: {error}", path.display());
            Outcome { line, details: Vec::new(), failed: true }
        }
    };
    host.announce(&outcome.line);
    outcome
}

fn failure(problems: &[Problem], path: &Path) -> Outcome {
    let first = problems.first().map_or(String::new(), |problem| located(path, "", problem));
    let more = match problems.len() {
        0 | 1 => String::new(),
        2 => " (and 1 more problem)".to_owned(),
        count => format!(" (and {} more problems)", count - 1),
    };
    let details = problems.iter().map(|problem| located(path, "", problem)).collect();
    Outcome { line: format!("habuild: failed step=metadata: {first}{more}"), details, failed: true }
}

/// A problem as `FILE:LINE:COLUMN: KIND KEY: MESSAGE (HINT)`.
pub(crate) fn located(path: &Path, kind: &str, problem: &Problem) -> String {
    let place = match problem.line {
        0 => String::new(),
        line => format!("{line}:{}:", problem.column),
    };
    let bare = Problem { line: 0, column: 0, ..problem.clone() };
    format!("{}:{place} {kind}{bare}", path.display())
}
