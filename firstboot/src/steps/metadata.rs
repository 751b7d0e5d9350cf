//! Step `metadata`: what cloud-init found, the node config, and the image's bundle.

use std::io;
use std::path::Path;

use serde_json::Value;

use crate::bundle::Bundle;
use crate::host::Host;
use crate::located;
use crate::trouble::Trouble;
use contract::schema::{self, NodeConfig, Problem};

/// What this node is to be.
pub(super) struct Node {
    pub(super) instance: String,
    pub(super) config: NodeConfig,
    pub(super) bundle: Bundle,
    pub(super) warnings: Vec<String>,
}

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

/// Reads everything.
pub(super) fn read(host: &Host, path: &Path) -> Result<Node, Trouble> {
    let (config, warnings) = match find(host, path) {
        Found::Config { config, warnings } => (*config, warnings),
        Found::Missing => return Err(Trouble::lasting(format!("{} is gone", path.display()))),
        Found::Wrong(problems) => return Err(wrong(&problems, path)),
        Found::Unreadable(error) => {
            return Err(Trouble::lasting(format!("{} cannot be read: {error}", path.display())));
        }
    };
    let later = schema::not_in_this_version(&config);
    if !later.is_empty() {
        return Err(wrong(&later, path));
    }
    let bundle = Bundle::find(host)?;
    // Before anything is fetched or mounted.
    bundle.fits(host, &config, &|key| config.literal(key))?;
    let warnings = warnings.iter().map(|problem| located(path, "", problem)).collect();
    Ok(Node { instance: instance(host)?, config, bundle, warnings })
}

/// The first problem, and how many more there are; the journal has them all.
fn wrong(problems: &[Problem], path: &Path) -> Trouble {
    for problem in problems {
        crate::host::journal::say(&located(path, "", problem));
    }
    let first = problems.first().map_or(String::new(), |problem| located(path, "", problem));
    let more = match problems.len() {
        0 | 1 => String::new(),
        2 => " (and 1 more problem)".to_owned(),
        count => format!(" (and {} more problems)", count - 1),
    };
    Trouble::lasting(format!("{first}{more}"))
}

/// Where cloud-init leaves what it found; the second is its own copy of the id alone.
const INSTANCE_DATA: &str = "/run/cloud-init/instance-data.json";
const INSTANCE_ID: &str = "/var/lib/cloud/data/instance-id";

/// The instance's id, which names what belongs to this machine and to none that its disk is copied to.
fn instance(host: &Host) -> Result<String, Trouble> {
    let data = host.read(Path::new(INSTANCE_DATA)).ok().map(|content| content.bytes);
    let id = data.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let id = id.and_then(|data| data.pointer("/v1/instance_id").and_then(Value::as_str).map(str::to_owned));
    let id = id.or_else(|| {
        let content = host.read(Path::new(INSTANCE_ID)).ok()?;
        Some(String::from_utf8_lossy(&content.bytes).trim().to_owned())
    });
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| {
        Trouble::passing(format!(
            "cloud-init has not said which instance this is: {INSTANCE_DATA} has no v1.instance_id"
        ))
        .hint("cloud-init status --long")
    })?;
    // It becomes part of file names.
    Ok(id.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).take(80).collect())
}
