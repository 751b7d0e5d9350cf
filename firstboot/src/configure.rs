//! Step `configure`: Harbor's configuration and compose file, rendered into a directory of the node.
//!
//! Invariant: what Compose accepted, and what Harbor was started with, is known by a digest that is written down last: an
//! agent that ends in between leaves nothing that the next one would take for done.

use std::collections::BTreeSet;
use std::path::Path;

use contract::harbor::{self, ClusterSecrets, Directories, Directory, Generation, Inputs, Rendered, RenderedFile};
use contract::schema::NodeConfig;

use crate::bundle::Bundle;
use crate::host::Host;
use crate::host::docker::{self, WORK};
use crate::noted::{is_noted, note};
use crate::prepare;
use crate::secrets::{Resolved, Secret};
use crate::share::{SharedSecrets, sha256};
use crate::trouble::Trouble;

/// Harbor's data that no other node needs.
pub(crate) const LOCAL: &str = "/var/lib/harbor";
/// Names what Compose has accepted.
const CHECKED: &str = "/var/lib/habuild/checked";
/// Names what Harbor was started with in this boot.
pub(crate) const STARTED: &str = "/run/habuild/started";

/// What every node of the cluster has alike, and what its share holds.
pub(crate) struct Cluster<'c> {
    pub(crate) shared: &'c SharedSecrets,
    /// Whether Harbor must take its settings from the environment at its next start.
    pub(crate) reset: bool,
}

/// Renders and writes everything; gives the digest of it. `data` is Harbor's directory on the share.
pub(crate) fn apply(
    host: &Host,
    config: &NodeConfig,
    bundle: &Bundle,
    secrets: &Resolved,
    cluster: &Cluster<'_>,
    data: &str,
) -> Result<String, Trouble> {
    let shared = cluster.shared;
    let file = |path: &str| Bundle::file(host, path);
    let secret = |key: &str| match key {
        "database.password" if config.database.is_bundled() => Some(shared.database_password()),
        key => secrets.get(key).map(Secret::expose).map(str::to_owned),
    };
    let mut inputs = Inputs {
        config,
        defaults: &bundle.settings,
        version: &bundle.version,
        file: &file,
        secret: &secret,
        cluster: ClusterSecrets {
            secretkey: &shared.secretkey,
            private_key: &shared.private_key,
            root_crt: &shared.root_crt,
            core_secret: &shared.core_secret,
            jobservice_secret: &shared.jobservice_secret,
            csrf_key: &shared.csrf_key,
        },
        reset: cluster.reset,
        directories: Directories { work: WORK, local: LOCAL, shared: data },
        compose: docker::kind(host),
        prepared: None,
    };
    let prepared;
    if bundle.version.generation() == Some(Generation::Yml) {
        let arguments = harbor::prepare_arguments(config, &bundle.version);
        prepared = prepare::run(host, bundle, &harbor::prepare_files(&inputs)?, &arguments)?;
        inputs.prepared = Some(&prepared);
    }
    let rendered = harbor::render(&inputs)?;
    let made = |path: &str, error: std::io::Error| Trouble::passing(format!("{path} cannot be written: {error}"));
    host.make_directory(Path::new(WORK), 0o700).map_err(|error| made(WORK, error))?;
    for Directory { path, mode, owner } in &rendered.directories {
        host.make_directory_for(Path::new(path), *mode, *owner).map_err(|error| made(path, error))?;
    }
    write(host, &rendered).map_err(|(path, error)| made(&path, error))?;
    let digest = digest(&rendered);
    if !is_noted(host, CHECKED, &digest) {
        docker::check(host)?;
        note(host, CHECKED, &digest)?;
    }
    Ok(digest)
}

fn digest(rendered: &Rendered) -> String {
    let mut text = String::new();
    for (name, file) in &rendered.files {
        text += &format!("{name:?} {:o} {:?} {}\n", file.mode, file.owner, sha256(file.text.as_bytes()));
    }
    sha256(text.as_bytes())
}

/// Writes what differs and removes what is no longer rendered.
fn write(host: &Host, rendered: &Rendered) -> Result<(), (String, std::io::Error)> {
    for (name, RenderedFile { text, mode, owner }) in &rendered.files {
        let path = format!("{WORK}/{name}");
        let at = Path::new(&path);
        let directory = at.parent().unwrap_or(at);
        host.make_directory(directory, 0o755).map_err(|error| (path.clone(), error))?;
        host.write_for(at, text.as_bytes(), *mode, Some(*owner)).map_err(|error| (path.clone(), error))?;
    }
    let wanted: BTreeSet<&Path> = rendered.files.keys().map(Path::new).collect();
    let there = host.files_below(Path::new(WORK)).map_err(|error| (WORK.to_owned(), error))?;
    for path in there.iter().filter(|path| !wanted.contains(path.as_path())) {
        let path = Path::new(WORK).join(path);
        host.remove(&path).map_err(|error| (path.display().to_string(), error))?;
    }
    Ok(())
}
