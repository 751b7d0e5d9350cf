//! Step `configure`: Harbor's configuration and compose file, rendered into a directory of the node.
//!
//! Invariant: a file is written only when it changes, so that a second run tells whether Harbor must be restarted.

use std::collections::BTreeSet;
use std::path::Path;

use contract::harbor::{self, ClusterSecrets, Directories, Inputs, Rendered};
use contract::schema::NodeConfig;

use crate::bundle::Bundle;
use crate::host::Host;
use crate::host::docker::{self, WORK};
use crate::secrets::{Resolved, Secret};
use crate::share::SharedSecrets;
use crate::trouble::Trouble;

/// Harbor's data that no other node needs.
pub(crate) const LOCAL: &str = "/var/lib/harbor";

/// What every node of the cluster has alike, and what its share holds.
pub(crate) struct Cluster<'c> {
    pub(crate) shared: &'c SharedSecrets,
    /// Whether Harbor must take its settings from the environment at its next start.
    pub(crate) reset: bool,
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
    let shared = cluster.shared;
    let rendered = harbor::render(&Inputs {
        config,
        version: &bundle.version,
        file: &|path| Bundle::file(host, path),
        secret: &|key| match key {
            "database.password" if config.database.is_bundled() => Some(shared.database_password()),
            key => secrets.get(key).map(Secret::expose).map(str::to_owned),
        },
        cluster: ClusterSecrets {
            secretkey: &shared.secretkey,
            private_key: &shared.private_key,
            root_crt: &shared.root_crt,
            core_secret: &shared.core_secret,
            jobservice_secret: &shared.jobservice_secret,
        },
        reset: cluster.reset,
        directories: Directories { work: WORK, local: LOCAL, shared: data },
        compose: docker::kind(host),
    })?;
    let made = |path: &str, error: std::io::Error| Trouble::passing(format!("{path} cannot be written: {error}"));
    host.make_directory(Path::new(WORK), 0o700).map_err(|error| made(WORK, error))?;
    for path in &rendered.directories {
        host.make_directory(Path::new(path), 0o755).map_err(|error| made(path, error))?;
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
