//! Step `configure`: Harbor's configuration and compose file, rendered into a directory of the node.
//!
//! Invariant: a file is written only when it changes, so that a second run tells whether Harbor must be restarted.

mod cfg;
mod compose;
mod settings;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub(crate) use compose::{container, start_order};

use crate::bundle::{Bundle, Generation, broken};
use crate::docker;
use crate::host::Host;
use crate::schema::NodeConfig;
use crate::secrets::Resolved;
use crate::share::SharedSecrets;
use crate::trouble::Trouble;

/// The rendered configuration.
pub(crate) const WORK: &str = "/var/lib/habuild/harbor";
/// The compose file.
pub(crate) const COMPOSE: &str = "/var/lib/habuild/harbor/docker-compose.yml";
/// Harbor's data that no other node needs.
const LOCAL: &str = "/var/lib/harbor";

/// What every node of the cluster has alike, and what its share holds.
pub(crate) struct Cluster<'c> {
    pub(crate) shared: &'c SharedSecrets,
    /// Whether Harbor must take its settings from the environment at its next start.
    pub(crate) reset: bool,
}

/// Files to be written below [`WORK`].
#[derive(Default)]
struct Rendered {
    files: BTreeMap<String, (String, u32)>,
    /// Environment files; they become part of the compose file.
    env: BTreeMap<String, String>,
    directories: Vec<String>,
}

impl Rendered {
    fn add(&mut self, path: &str, text: String, mode: u32) {
        self.files.insert(path.to_owned(), (text, mode));
    }
}

/// What the image's version of Harbor cannot do, told before anything is fetched or mounted.
pub(crate) fn limits(config: &NodeConfig, bundle: &Bundle) -> Result<(), Trouble> {
    match bundle.generation {
        Generation::Cfg => cfg::limits(config, bundle),
        Generation::Yml => Err(Trouble::lasting(format!("Harbor {}: not in this version of habuild", bundle.version))
            .hint("this version configures Harbor 1.1 and 1.2")),
    }
}

/// Whether Harbor's settings on the share name another database than the node config.
pub(crate) fn must_reset(config: &NodeConfig, settings: Option<&[u8]>) -> bool {
    cfg::must_reset(config, settings)
}

/// Renders and writes everything; `true` when something changed. `data` is Harbor's directory on the share.
pub(crate) fn apply(
    host: &Host,
    config: &NodeConfig,
    bundle: &Bundle,
    secrets: &Resolved,
    cluster: &Cluster<'_>,
    data: &str,
) -> Result<bool, Trouble> {
    let mut rendered = cfg::render(host, config, bundle, secrets, cluster)?;
    let places = compose::Places {
        shared: data,
        local: LOCAL,
        work: WORK,
        http_port: config.harbor.http_port,
        https_port: config.tls.as_ref().map(|_| config.harbor.https_port),
        jobservice: config.harbor.jobservice,
        env: &rendered.env,
    };
    let text = bundle.file(host, "docker-compose.yml")?;
    let composed = compose::rewrite(&text, &places).map_err(|what| broken("docker-compose.yml", &what))?;
    let file = serde_json::to_string_pretty(&composed.file)
        .map_err(|error| Trouble::lasting(format!("{COMPOSE}: {error}")))?;
    // It holds passwords: what Harbor's containers get as their environment.
    rendered.add("docker-compose.yml", file + "\n", 0o600);
    let made = |path: &str, error: std::io::Error| Trouble::passing(format!("{path} cannot be written: {error}"));
    host.make_directory(Path::new(WORK), 0o700).map_err(|error| made(WORK, error))?;
    let inner = rendered.directories.iter().map(|path| format!("{WORK}/{path}"));
    for path in inner.chain(composed.local).chain(composed.shared) {
        host.make_directory(Path::new(&path), 0o755).map_err(|error| made(&path, error))?;
    }
    let changed = write(host, &rendered).map_err(|(path, error)| made(&path, error))?;
    if changed {
        docker::check(host)?;
    }
    Ok(changed)
}

/// Writes what differs and removes what is no longer rendered.
fn write(host: &Host, rendered: &Rendered) -> Result<bool, (String, std::io::Error)> {
    let mut changed = false;
    for (name, (text, mode)) in &rendered.files {
        let path = format!("{WORK}/{name}");
        let at = Path::new(&path);
        let directory = at.parent().unwrap_or(at);
        host.make_directory(directory, 0o755).map_err(|error| (path.clone(), error))?;
        changed |= host.write(at, text.as_bytes(), *mode).map_err(|error| (path.clone(), error))?;
    }
    let wanted: BTreeSet<&Path> = rendered.files.keys().map(Path::new).collect();
    let there = host.files_below(Path::new(WORK)).map_err(|error| (WORK.to_owned(), error))?;
    for path in there.iter().filter(|path| !wanted.contains(path.as_path())) {
        let path = Path::new(WORK).join(path);
        host.remove(&path).map_err(|error| (path.display().to_string(), error))?;
        changed = true;
    }
    Ok(changed)
}
