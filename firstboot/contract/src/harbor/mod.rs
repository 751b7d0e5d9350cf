//! Harbor by version: which generation it is, and the configuration and compose file that a node of it needs.
//!
//! Facts are from goharbor/harbor at the tags that the files name. Bytes in, bytes out: the builder renders a bundle
//! dry when it bakes it, and the node renders it for real, both by this code.

mod addresses;
mod cfg;
mod compose;
mod defaults;
mod dry;
mod fit;
mod health;
mod images;
mod members;
mod options;
mod passwords;
mod ping;
mod pools;
mod record;
mod settings;
mod template;
mod uses;
mod yaml;
mod yml;

use std::collections::BTreeMap;
use std::fmt;

pub use crate::version::{Generation, Version};
pub use cfg::must_reset;
pub use compose::{Compose, container, start_order};
pub use defaults::Defaults;
pub use dry::render_dry;
pub use fit::{Baked, misfits};
pub use health::{Sign, judge, signs};
pub use images::{familiar, services};
pub use members::{Member, When, composed, members, settings_file, when};
pub use options::{HarborOption, prepare_arguments};
use passwords::{check_database_password, check_redis_password};
pub use ping::{Ping, ping};
pub use pools::pools;
pub use record::{ImageList, ImageRecord, Record, SCHEMA};
pub use uses::{Uses, is_image};
use yaml::yaml_words;
pub use yml::{PrepareFile, Prepared, prepare_files};

use crate::schema::{DatabaseKind, NodeConfig};
use crate::strict::{Mistake, nearest};

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
    /// Guards forms against forgery, from 1.8 on: 32 characters.
    pub csrf_key: &'c str,
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
    /// What the image says of Harbor's settings where the node config says nothing.
    pub defaults: &'i Defaults,
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
    /// What the bundle's `prepare` wrote for [`prepare_files`], from 1.8 on.
    pub prepared: Option<&'i Prepared>,
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

/// A key of `harbor.settings` that a version has not got; `file` of the bundle lists those that it has.
fn no_such<'k>(version: &Version, key: &str, known: impl Iterator<Item = &'k str>, file: &str) -> Mistake {
    let name = key.rsplit('.').next().unwrap_or(key);
    let mistake = Mistake::new(format!("{key}: Harbor {version} has no such setting"));
    match nearest(name, known) {
        Some(near) => mistake.hint(format!("did you mean {near:?}?")),
        None => mistake.hint(format!("{file} in the bundle lists those that there are")),
    }
}

/// A file to be written, or one that the bundle's `prepare` wrote.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Its content.
    pub text: String,
    /// Its permissions.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
}

impl fmt::Debug for RenderedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RenderedFile(hidden, {:o}, {:?})", self.mode, self.owner)
    }
}

/// A directory to be made. Where it is there, it alone gets its owner and mode, and nothing of what it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Directory {
    /// An absolute path.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
}

impl Directory {
    /// Root's, and everybody may look into it.
    fn plain(path: String) -> Self {
        Self { path, mode: 0o755, owner: (0, 0) }
    }

    /// One that Harbor's processes write to. They are root's up to 1.2, and of users of their own since (v1.3.0
    /// `make/photon/*/Dockerfile`, v2.15.2 `make/photon/prepare/g.py`).
    fn of_harbor(path: String, version: &Version) -> Self {
        let name = path.rsplit('/').next().unwrap_or_default();
        let (mode, owner) = match (version.numbers() < (1, 3, 0), name) {
            (true, _) => (0o755, (0, 0)),
            (_, "database") if version.numbers() >= (1, 6, 0) => (0o700, (999, 999)),
            (_, "redis") => (0o755, (999, 999)),
            _ => (0o755, yml::HARBOR),
        };
        Self { path, mode, owner }
    }
}

/// What a node writes and makes before Harbor starts.
#[derive(Default)]
pub struct Rendered {
    /// Files by their path below [`Directories::work`].
    pub files: BTreeMap<String, RenderedFile>,
    /// Directories to be made.
    pub directories: Vec<Directory>,
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
    /// Adds a file of root's.
    fn add(&mut self, path: &str, text: String, mode: u32) {
        self.files.insert(path.to_owned(), RenderedFile { text, mode, owner: (0, 0) });
    }
}

/// What helps a node that was to have no job service.
const EVERY_NODE: &str = "leave it out: each core gives its jobs to its own node's job service";
/// What helps where another database of Redis' was to keep clusters apart.
const OWN_REDIS: &str = "leave it out; give each cluster a Redis of its own";

/// What a version of Harbor cannot do for this node config, whatever its bundle holds.
fn limits(config: &NodeConfig, version: &Version) -> Vec<Mistake> {
    let mut found = Vec::new();
    let (kind, name, word) = if version.numbers() < (1, 6, 0) {
        (DatabaseKind::Mysql, "MySQL", "mysql")
    } else {
        (DatabaseKind::Postgresql, "PostgreSQL", "postgresql")
    };
    if config.database.external().is_some_and(|database| database.kind != kind) {
        let message = format!("database.kind: Harbor {version} keeps its data in {name} only");
        found.push(Mistake::new(message).hint(format!("write {word}")));
    }
    found.extend(options::limits(config, version));
    found.extend(pools::limits(config, version));
    found.extend(addresses::limits(config, version));
    found.extend(match version.generation() {
        Some(Generation::Cfg) => cfg::limits(config, version),
        Some(Generation::Yml) => yml::limits(config, version),
        None => {
            let message = format!("Harbor {version}: is older than any that habuild knows");
            vec![Mistake::new(message).hint("the oldest is 1.1")]
        }
    });
    found
}

/// Renders Harbor's configuration and compose file for a node.
///
/// # Errors
/// A key of the node config that this version cannot use, or a file of the bundle that is not as this version has it.
pub fn render(inputs: &Inputs<'_>) -> Result<Rendered, Mistake> {
    let (mut rendered, text) = match inputs.version.generation() {
        Some(Generation::Yml) => yml::render(inputs)?,
        _ => (cfg::render(inputs)?, (inputs.file)(COMPOSE_FILE)?),
    };
    let config = inputs.config;
    let places = compose::Places {
        shared: inputs.directories.shared,
        local: inputs.directories.local,
        work: inputs.directories.work,
        http_port: config.harbor.http_port,
        https_port: config.tls.as_ref().map(|_| config.harbor.https_port),
        metrics_port: config.harbor.metrics.as_ref().map(|metrics| metrics.port),
        jobservice: config.harbor.jobservice,
        database: config.database.is_bundled(),
        redis: config.redis.is_bundled(),
        graceful: inputs.version.generation() == Some(Generation::Yml),
        compose: inputs.compose,
        env: &rendered.env,
    };
    let composed = compose::rewrite(&text, &places).map_err(|what| broken(COMPOSE_FILE, &what))?;
    let file =
        serde_json::to_string_pretty(&composed.file).map_err(|error| broken(COMPOSE_FILE, &error.to_string()))?;
    let bound = composed.local.into_iter().chain(composed.shared);
    rendered.directories.extend(bound.map(|path| Directory::of_harbor(path, inputs.version)));
    // It holds passwords: what Harbor's containers get as their environment.
    rendered.add(COMPOSE_FILE, file + "\n", 0o600);
    Ok(rendered)
}

const OF_THE_BUNDLE: &str = " of the bundle: ";

/// A file of the bundle that is not as this version of Harbor has it.
#[must_use]
pub fn broken(path: &str, what: &str) -> Mistake {
    Mistake::new(format!("{path}{OF_THE_BUNDLE}{what}"))
        .hint("the bundle is damaged or of an unknown kind: bake the image anew")
}

/// The file of the bundle and what is wrong with it, if a mistake is one of [`broken`]'s.
#[must_use]
pub fn broken_file(mistake: &Mistake) -> Option<(&str, &str)> {
    mistake.message.split_once(OF_THE_BUNDLE)
}
