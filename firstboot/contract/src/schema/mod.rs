//! The node config: the YAML that tells a node what to be.
//!
//! `parse` gives the whole config or every problem at once, each with its place. The module is pure: it opens no
//! file, starts no process and asks no server, so that the builder judges a node config as the node will.
//!
//! Invariant: a `NodeConfig` is only made by `parse`, and obeys every rule that can be told from the text alone.

mod check;
mod database;
mod decode;
mod harbor;
mod literal;
mod pointer;
mod refused;
mod secret;
mod settings;
mod shared;
mod storage;
mod stores;
mod user_data;

pub use check::{not_in_this_version, warnings};
pub use database::{Database, DatabaseKind, Redis, Service, TlsMode};
pub use harbor::{Harbor, Metrics, Readiness, Requirement, Upgrade};
pub use pointer::look_up;
pub(crate) use refused::{is_free, refused};
pub use secret::{Literal, Scheme, SecretRef, SecretValue};
pub use settings::{Setting, Settings};
pub(crate) use settings::{holds_secret, is_setting, may_be_secret, owner_of, rest_of};
pub use shared::{ServerTls, SharedSecrets, SharedValues};
pub use storage::{Cephfs, Local, Monitor, Storage};
pub use stores::{SecretStores, Vault, VaultLogin};
pub use user_data::{NODE_CONFIG, UserData, check_cloud_config, check_user_data, no_node_config, too_long, user_data};

use serde::Serialize;

use decode::{Decoder, Field, NodePort};

pub use crate::strict::url::BaseUrl;
pub use crate::strict::{Place, Places, Problem};

use crate::strict::{Mistake, yaml};

/// The version of the schema.
pub const VERSION: u32 = 1;

/// Beyond this many problems nobody reads on.
const PROBLEM_LIMIT: usize = 100;

/// Judges a secret that a reference stood for, by the rule for literals of its key; says message and advice.
///
/// # Errors
/// What is wrong with it.
pub fn check_secret(key: &str, text: &str) -> Result<(), (String, Option<String>)> {
    literal::check(key, text).map_err(|wrong| (wrong.message, wrong.hint))
}

/// Whether the secret of a key may have several lines.
#[must_use]
pub fn may_have_lines(key: &str) -> bool {
    literal::may_have_lines(key)
}

/// What a node is to be. Serialised, it has its defaults filled in and its secrets hidden: for reading, not for nodes.
#[derive(Debug, Clone, Serialize)]
pub struct NodeConfig {
    /// The version of the schema.
    pub version: u32,
    /// The cluster's name, checked against the stamp on the share.
    pub cluster: String,
    /// Harbor itself.
    pub harbor: Harbor,
    /// Where the images lie.
    pub storage: Storage,
    /// Harbor's database.
    pub database: Service<Database>,
    /// Where the nodes share sessions and jobs.
    pub redis: Service<Redis>,
    /// What this node serves https with; none: it serves http only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// Where the secrets come from that every node must have alike.
    pub shared_secrets: SharedSecrets,
    /// How the node proves itself to secret stores.
    pub secret_stores: SecretStores,
    /// How the load balancer is told that the node can serve.
    pub readiness: Readiness,
    /// A deliberate upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
    #[serde(skip)]
    places: Places,
}

const KEYS: [&str; 11] = [
    "version",
    "cluster",
    "harbor",
    "storage",
    "database",
    "redis",
    "tls",
    "shared_secrets",
    "secret_stores",
    "readiness",
    "upgrade",
];

/// Reads a node config, or says everything that is wrong with it, in the order of the text.
///
/// # Errors
/// At least one problem.
pub fn parse(text: &str) -> Result<NodeConfig, Vec<Problem>> {
    if text.starts_with("#cloud-config") {
        let refusal = Mistake::new("is cloud-init user-data, not a node config")
            .hint("the node config is the content of its write_files entry for /etc/habuild/node.yaml");
        return Err(vec![Problem::new(Place { line: 1, column: 1 }, "", refusal)]);
    }
    let tree = yaml::read(text).map_err(|problem| vec![problem])?;
    let root = Field::root(&tree);
    let mut d = Decoder::default();
    let config = NodeConfig::decode(&mut d, &root);
    match config {
        Some(config) if d.problems.is_empty() => Ok(NodeConfig { places: d.places, ..config }),
        _ => Err(in_order(d.problems)),
    }
}

/// `parse` for bytes as they were read.
///
/// # Errors
/// At least one problem; text that is not UTF-8 is one.
pub fn parse_bytes(bytes: &[u8]) -> Result<NodeConfig, Vec<Problem>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count();
            let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            let column = String::from_utf8_lossy(last).chars().count() + 1;
            let refusal = if bytes.starts_with(&[0x1f, 0x8b]) {
                Mistake::new("is compressed").hint("give cloud-init the encoding gz+b64, or plain text")
            } else {
                Mistake::new("is not UTF-8").hint("save it as UTF-8")
            };
            Err(vec![Problem::new(Place { line, column }, "", refusal)])
        }
    }
}

fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    if problems.len() > PROBLEM_LIMIT {
        let more = problems.len() - PROBLEM_LIMIT;
        problems.truncate(PROBLEM_LIMIT);
        problems.push(Problem::new(Place::default(), "", format!("and {more} more problems")));
    }
    problems
}

impl NodeConfig {
    /// Where a key was given; for a key that was left out, where the nearest one above it was.
    #[must_use]
    pub fn place(&self, key: &str) -> Place {
        let mut key = key;
        loop {
            if let Some(place) = self.places.get(key) {
                return *place;
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = key.get(..end).unwrap_or_default(),
                None => return Place::default(),
            }
        }
    }

    /// The same as a part of another text, in which `there` places a problem of this one.
    #[must_use]
    pub fn moved(mut self, there: impl Fn(Problem) -> Problem) -> Self {
        for (key, place) in &mut self.places {
            let Problem { line, column, .. } = there(Problem::new(*place, key, ""));
            *place = Place { line, column };
        }
        self
    }

    /// The secret of a key such as `database.password`, where it stands here and not in a store.
    #[must_use]
    pub fn literal(&self, key: &str) -> Option<String> {
        self.secrets().into_iter().find(|(name, _)| name == key).and_then(|(_, value)| match value {
            SecretValue::Literal(literal) => Some(literal.expose().to_owned()),
            SecretValue::Reference(_) => None,
        })
    }

    /// Every secret with its dotted key path.
    #[must_use]
    pub fn secrets(&self) -> Vec<(String, &SecretValue)> {
        let mut found = Vec::new();
        let mut add = |key: &str, value| found.push((key.to_owned(), value));
        add("harbor.admin_password", &self.harbor.admin_password);
        if let Storage::Cephfs(cephfs) = &self.storage {
            add("storage.cephfs.secret", &cephfs.secret);
        }
        if let Service::External(database) = &self.database {
            add("database.password", &database.password);
            database.ca.iter().for_each(|ca| add("database.ca", ca));
        }
        if let Service::External(redis) = &self.redis {
            redis.password.iter().for_each(|password| add("redis.password", password));
            redis.ca.iter().for_each(|ca| add("redis.ca", ca));
        }
        if let Some(tls) = &self.tls {
            add("tls.certificate", &tls.certificate);
            add("tls.key", &tls.key);
        }
        if let SharedSecrets::Refs(values) = &self.shared_secrets {
            values.each().iter().for_each(|(name, value)| add(&format!("shared_secrets.{name}"), value));
        }
        if let Some(vault) = &self.secret_stores.vault {
            match &vault.login {
                VaultLogin::Token { token } => add("secret_stores.vault.token", token),
                VaultLogin::AppRole { role_id, secret_id } => {
                    add("secret_stores.vault.role_id", role_id);
                    add("secret_stores.vault.secret_id", secret_id);
                }
                VaultLogin::Jwt { jwt, .. } => add("secret_stores.vault.jwt", jwt),
            }
            vault.ca.iter().for_each(|ca| add("secret_stores.vault.ca", ca));
        }
        self.harbor.settings.secrets("harbor.settings", &mut found);
        found
    }

    fn decode(d: &mut Decoder, root: &Field<'_>) -> Option<Self> {
        // Another version has other keys: nothing else about it can be judged.
        let version = version(d, root)?;
        let fields = d.fields(root, &KEYS)?;
        let cluster = d.need(&fields, "cluster", |d, f| d.parsed(f, cluster));
        let serves_tls = fields.has("tls");
        let harbor = d.need(&fields, "harbor", |d, f| Harbor::decode(d, f, serves_tls));
        let storage = d.need(&fields, "storage", Storage::decode);
        let database = d.need(&fields, "database", |d, f| Service::decode(d, f, Database::decode));
        let redis = d.need(&fields, "redis", |d, f| Service::decode(d, f, Redis::decode));
        let tls = d.maybe(&fields, "tls", ServerTls::decode);
        let shared_secrets = d.or(&fields, "shared_secrets", SharedSecrets::default(), SharedSecrets::decode);
        let secret_stores = d.maybe(&fields, "secret_stores", SecretStores::decode);
        let readiness = d.maybe(&fields, "readiness", Readiness::decode);
        let upgrade = d.maybe(&fields, "upgrade", Upgrade::decode);
        if !fields.has("readiness") {
            let key = "readiness.port".to_owned();
            d.more.node_ports.push(NodePort { given: false, port: Readiness::default().port, key, place: root.at });
        }
        check::ports(d);
        check::vault_users(d);
        if let Some(Storage::Cephfs(_)) = &storage {
            check::shared_services(d, database.as_ref(), redis.as_ref());
        }
        check::passwords(d, database.as_ref());
        Some(Self {
            version: version?,
            cluster: cluster?,
            harbor: harbor?,
            storage: storage?,
            database: database?,
            redis: redis?,
            tls: tls?,
            shared_secrets: shared_secrets?,
            secret_stores: secret_stores?.unwrap_or_default(),
            readiness: readiness?.unwrap_or_default(),
            upgrade: upgrade?,
            places: Places::new(),
        })
    }
}

/// The version, looked at before everything else: outer `None` when nothing else is worth reading.
fn version(d: &mut Decoder, root: &Field<'_>) -> Option<Option<u32>> {
    let mut first = Decoder::default();
    let fields = match first.any_fields(root) {
        Some(fields) => fields,
        None => {
            d.problems.append(&mut first.problems);
            return None;
        }
    };
    let version = d.need(&fields, "version", |d, f| d.number(f, 1, u32::MAX).map(|number| (number, f.node.place)));
    match version {
        Some((VERSION, _)) => Some(Some(VERSION)),
        Some((other, place)) => {
            let refusal = format!("is {other}, and this version of habuild reads {VERSION} only");
            d.note(place, "version", Mistake::new(refusal).hint("bake the node's image with a newer habuild"));
            None
        }
        None => Some(None),
    }
}

fn cluster(text: &str) -> Result<String, Mistake> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > 63 || !text.chars().all(plain) || text.starts_with('-') || text.ends_with('-') {
        return Err(Mistake::new("must be a name of 1 to 63 small letters, digits and hyphens"));
    }
    Ok(text.to_owned())
}
