//! Harbor by version: which generation it is, and the configuration and compose file that a node of it needs.
//!
//! Facts are from goharbor/harbor at the tags that the files name. Bytes in, bytes out: the builder renders a bundle
//! dry when it bakes it, and the node renders it for real, both by this code.

mod cfg;
mod compose;
mod images;
mod members;
mod ping;
mod record;
mod settings;
mod template;
mod version;

use std::collections::BTreeMap;
use std::fmt;

pub use cfg::must_reset;
pub use compose::{Compose, container, start_order};
pub use images::{familiar, images, services};
pub use members::{Member, When, members, settings_file, when};
pub use ping::{Ping, ping};
pub use record::{ImageList, ImageRecord, Record, SCHEMA};
pub use version::{Generation, Version};

use crate::schema::NodeConfig;
use crate::strict::Mistake;

/// Harbor's compose file in a bundle, and in what is rendered.
pub const COMPOSE_FILE: &str = "docker-compose.yml";

/// Where the rendered configuration and Harbor's directories are on the node: absolute paths.
#[derive(Debug, Clone, Copy)]
pub struct Directories<'d> {
    /// The rendered configuration.
    pub work: &'d str,
    /// Harbor's data that no other node needs.
    pub local: &'d str,
    /// Harbor's data on the share.
    pub shared: &'d str,
}

/// What every node of a cluster has alike.
#[derive(Clone, Copy)]
pub struct ClusterSecrets<'c> {
    /// Encrypts settings in the database: 16 characters.
    pub secretkey: &'c str,
    /// Signs tokens: a key in PKCS#1, PEM.
    pub private_key: &'c str,
    /// Checks tokens: the certificate of `private_key`, PEM.
    pub root_crt: &'c str,
    /// What the job service shows the core.
    pub core_secret: &'c str,
    /// What the core shows the job service.
    pub jobservice_secret: &'c str,
}

impl fmt::Debug for ClusterSecrets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecrets(hidden)")
    }
}

/// Everything that a node's rendered files depend on.
#[derive(Clone, Copy)]
pub struct Inputs<'i> {
    /// What the node is to be.
    pub config: &'i NodeConfig,
    /// The bundle's version.
    pub version: &'i Version,
    /// A text file of the bundle, by its path there.
    pub file: &'i dyn Fn(&str) -> Result<String, Mistake>,
    /// The secret of a key of the node config such as `database.password`.
    pub secret: &'i dyn Fn(&str) -> Option<String>,
    /// What the cluster's nodes have alike.
    pub cluster: ClusterSecrets<'i>,
    /// Whether Harbor must take its settings from the environment at its next start.
    pub reset: bool,
    /// Where things are on the node.
    pub directories: Directories<'i>,
    /// Which Compose is on the node.
    pub compose: Compose,
}

impl fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs").field("config", &self.config).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Inputs<'_> {
    /// The secret of a key that the node config cannot do without.
    fn need(&self, key: &str) -> Result<String, Mistake> {
        (self.secret)(key).ok_or_else(|| Mistake::new(format!("{key}: is not among the secrets of this boot")))
    }
}

/// What a node writes and makes before Harbor starts.
#[derive(Default)]
pub struct Rendered {
    /// Files by their path below [`Directories::work`]: text and mode.
    pub files: BTreeMap<String, (String, u32)>,
    /// Directories to be made: absolute paths.
    pub directories: Vec<String>,
    /// Environment files; they become part of the compose file.
    env: BTreeMap<String, String>,
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<&String> = self.files.keys().collect();
        f.debug_struct("Rendered").field("files", &files).field("directories", &self.directories).finish()
    }
}

impl Rendered {
    fn add(&mut self, path: &str, text: String, mode: u32) {
        self.files.insert(path.to_owned(), (text, mode));
    }
}

/// What a version of Harbor cannot do for this node config, told before anything is fetched or mounted.
///
/// # Errors
/// The key of the node config, and what this version has instead.
pub fn limits(config: &NodeConfig, version: &Version) -> Result<(), Mistake> {
    match version.generation() {
        Some(Generation::Cfg) => cfg::limits(config, version),
        _ => Err(Mistake::new(format!("Harbor {version}: not in this version of habuild"))
            .hint("this version configures Harbor 1.1 and 1.2")),
    }
}

/// Renders Harbor's configuration and compose file for a node.
///
/// # Errors
/// A key of the node config that this version cannot use, or a file of the bundle that is not as this version has it.
pub fn render(inputs: &Inputs<'_>) -> Result<Rendered, Mistake> {
    let mut rendered = cfg::render(inputs)?;
    let config = inputs.config;
    let places = compose::Places {
        shared: inputs.directories.shared,
        local: inputs.directories.local,
        work: inputs.directories.work,
        http_port: config.harbor.http_port,
        https_port: config.tls.as_ref().map(|_| config.harbor.https_port),
        jobservice: config.harbor.jobservice,
        database: config.database.is_bundled(),
        redis: config.redis.is_bundled(),
        compose: inputs.compose,
        env: &rendered.env,
    };
    let text = (inputs.file)(COMPOSE_FILE)?;
    let composed = compose::rewrite(&text, &places).map_err(|what| broken(COMPOSE_FILE, &what))?;
    let file =
        serde_json::to_string_pretty(&composed.file).map_err(|error| broken(COMPOSE_FILE, &error.to_string()))?;
    rendered.directories.extend(composed.local.into_iter().chain(composed.shared));
    // It holds passwords: what Harbor's containers get as their environment.
    rendered.add(COMPOSE_FILE, file + "\n", 0o600);
    Ok(rendered)
}

/// A file of the bundle that is not as this version of Harbor has it.
#[must_use]
pub fn broken(path: &str, what: &str) -> Mistake {
    Mistake::new(format!("{path} of the bundle: {what}"))
        .hint("the bundle is damaged or of an unknown kind: bake the image anew")
}
