//! Rules that concern more than one key, and what is allowed but worth knowing.

use super::decode::{Decoder, NodePort};
use super::secret::{Scheme, SecretValue};
use super::storage::option_doubt;
use super::{Database, DatabaseKind, NodeConfig, Redis, Requirement, Service, SharedSecrets, Storage};
use crate::strict::url::is_loopback;
use crate::strict::{Mistake, Problem};

/// Two services of a node cannot listen on one port.
pub(super) fn ports(d: &mut Decoder) {
    let mut ports = std::mem::take(&mut d.more.node_ports);
    // Defaults first: what was given is what can be corrected.
    ports.sort_by_key(|port| port.given);
    for (i, NodePort { port, key, place, .. }) in ports.iter().enumerate() {
        if *port == 22 {
            d.note(*place, key, "22 is the port of ssh");
        }
        if let Some(other) = ports.get(..i).unwrap_or_default().iter().find(|other| other.port == *port) {
            let default = if other.given { "" } else { ", its default" };
            d.note(*place, key, format!("{port} is the port of {} too{default}", other.key));
        }
    }
}

/// References to Vault need to know which.
pub(super) fn vault_users(d: &mut Decoder) {
    if d.places.contains_key("secret_stores.vault") {
        return;
    }
    for (place, key) in std::mem::take(&mut d.more.vault_users) {
        d.note(place, &key, Mistake::new("is kept in Vault, but no Vault is given").hint("add secret_stores.vault"));
    }
}

/// Nodes that share their images share database and Redis too.
pub(super) fn shared_services(d: &mut Decoder, database: Option<&Service<Database>>, redis: Option<&Service<Redis>>) {
    for key in bundled(database, redis) {
        let place = d.places.get(key).copied().unwrap_or_default();
        let mistake = Mistake::new("is bundled, which only a node with storage.local can have");
        d.note(place, key, mistake.hint("give the server that all nodes of the cluster share"));
    }
}

/// The core of every Harbor with PostgreSQL writes the password into a text of `key=value` pairs, unquoted (v2.15.2
/// `src/common/dao/pgsql.go`, seen to end the core).
pub(super) fn passwords(d: &mut Decoder, database: Option<&Service<Database>>) {
    let Some(Database { kind: DatabaseKind::Postgresql, password: SecretValue::Literal(password), .. }) =
        database.and_then(Service::external)
    else {
        return;
    };
    if password.expose().contains(char::is_whitespace) {
        let place = d.places.get("database.password").copied().unwrap_or_default();
        let mistake = Mistake::new("holds a blank, at which Harbor would cut it");
        d.note(place, "database.password", mistake.hint("give the database's user a password without blanks"));
    }
}

/// The keys of the services that are the bundle's own.
fn bundled(database: Option<&Service<Database>>, redis: Option<&Service<Redis>>) -> impl Iterator<Item = &'static str> {
    let database = database.is_some_and(Service::is_bundled).then_some("database");
    let redis = redis.is_some_and(Service::is_bundled).then_some("redis");
    database.into_iter().chain(redis)
}

/// What this version of the agent cannot act on yet.
pub fn not_in_this_version(config: &NodeConfig) -> Vec<Problem> {
    let mut found = Found { config, problems: Vec::new() };
    for (key, value) in config.secrets() {
        let SecretValue::Reference(reference) = value else { continue };
        if !matches!(reference.scheme(), Scheme::File | Scheme::Https) {
            let message = format!("ref+{}:// is not in this version", reference.scheme().name());
            found.add(&key, Mistake::new(message).hint("this version reads ref+file:// and ref+https://"));
        }
    }
    super::in_order(found.problems)
}

/// What is allowed, but what an operator would want to know.
pub fn warnings(config: &NodeConfig) -> Vec<Problem> {
    let mut found = Found { config, problems: Vec::new() };
    found.literals();
    found.addresses();
    found.storage();
    found.services();
    found.cluster();
    super::in_order(found.problems)
}

const LITERAL: &str = "is a secret written literally: whoever can read the user-data knows it";
const REFERENCE: &str = "use a reference: ref+file:// or ref+https://";

struct Found<'c> {
    config: &'c NodeConfig,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn add(&mut self, key: &str, doubt: impl Into<Mistake>) {
        self.problems.push(Problem::new(self.config.place(key), key, doubt));
    }

    fn given(&self, key: &str) -> bool {
        self.config.places.contains_key(key)
    }

    fn literals(&mut self) {
        for key in self.config.harbor.settings.texts_with_secrets("harbor.settings") {
            self.add(&key, Mistake::new(LITERAL).hint(REFERENCE));
        }
        for (key, value) in self.config.secrets() {
            let SecretValue::Literal(literal) = value else { continue };
            // Certificates and role ids are no secrets.
            if ["certificate", ".ca", "root_crt", "role_id"].iter().any(|end| key.ends_with(end)) {
                continue;
            }
            let text = literal.expose();
            if text == "Harbor12345" {
                self.add(&key, Mistake::new("is Harbor's own default password").hint("everybody knows it"));
            } else if text.starts_with("ref") || text.split_once("://").is_some_and(|(scheme, _)| scheme_like(scheme)) {
                self.add(
                    &key,
                    Mistake::new("looks like a reference, but is taken literally").hint("references begin with ref+"),
                );
            } else {
                self.add(&key, Mistake::new(LITERAL).hint(REFERENCE));
            }
        }
    }

    fn addresses(&mut self) {
        let harbor = &self.config.harbor;
        match (harbor.external_url.https, self.config.tls.is_some()) {
            (true, false) => {
                let doubt = Mistake::new("is https, but this node serves http: the load balancer must end TLS");
                self.add("harbor.external_url", doubt.hint("it must send X-Forwarded-Proto: https, or add tls"));
            }
            (false, true) => {
                let doubt = Mistake::new("is http, but tls is given: clients will be sent to https or refused");
                self.add("harbor.external_url", doubt.hint("write https://"));
            }
            _ => {}
        }
        if self.config.tls.is_none() && self.given("harbor.https_port") {
            self.add("harbor.https_port", Mistake::new("is not used").hint("without tls this node serves http only"));
        }
        if !harbor.trivy && harbor.settings.0.contains_key("trivy") {
            self.add(
                "harbor.settings.trivy",
                Mistake::new("is not used").hint("the scanner runs with harbor.trivy: true"),
            );
        }
        let database = self.config.database.external().map(|database| ("database.host", &database.host));
        let redis = self.config.redis.external().map(|redis| ("redis.host", &redis.host));
        for (key, host) in database.into_iter().chain(redis) {
            if is_loopback(host) {
                self.add(key, "is loopback, which in Harbor's containers is the container itself");
            }
        }
    }

    fn storage(&mut self) {
        match &self.config.storage {
            Storage::Local(_) => {
                let doubt = Mistake::new("this node cannot share its images with others: for trying things out only");
                self.add("storage.local", doubt.hint("use storage.cephfs for more than one node"));
            }
            Storage::Cephfs(cephfs) => {
                if cephfs.client == "admin" {
                    let doubt =
                        Mistake::new("admin may do everything in the Ceph cluster, and its key is kept on each node");
                    self.add("storage.cephfs.client", doubt.hint("make a client: ceph fs authorize"));
                }
                for (i, option) in cephfs.options.iter().enumerate() {
                    if let Some(doubt) = option_doubt(option) {
                        self.add(&format!("storage.cephfs.options[{i}]"), doubt);
                    }
                }
                let v2 =
                    cephfs.options.iter().any(|option| option.starts_with("ms_mode=") && option != "ms_mode=legacy");
                for (i, monitor) in cephfs.monitors.iter().enumerate() {
                    let key = format!("storage.cephfs.monitors[{i}]");
                    match monitor.port {
                        Some(3300) if !v2 => {
                            let doubt =
                                Mistake::new("port 3300 speaks protocol v2, which the mount does not use by default");
                            self.add(&key, doubt.hint("use port 6789, or the option ms_mode=prefer-crc"));
                        }
                        Some(6789) if v2 => {
                            let doubt = Mistake::new("port 6789 speaks protocol v1, but ms_mode asks for v2");
                            self.add(&key, doubt.hint("use port 3300, or leave ms_mode out"));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn services(&mut self) {
        for key in bundled(Some(&self.config.database), Some(&self.config.redis)) {
            self.add(key, "is the bundle's own, and its data stay on this node: for trying things out only");
        }
        if let Some(redis) = self.config.redis.external() {
            if redis.password.is_none() {
                self.add("redis", "has no password: whoever reaches it can take over sessions");
            }
            if redis.db > 15 {
                let doubt = Mistake::new("is above 15");
                self.add("redis.db", doubt.hint("Redis has 16 databases unless its own configuration says more"));
            }
        }
        let readiness = &self.config.readiness;
        for (i, requirement) in readiness.require.iter().enumerate() {
            let doubt = match requirement {
                Requirement::Certificate if self.config.tls.is_none() => {
                    "has no effect: this node serves no certificate"
                }
                Requirement::Jobservice if !self.config.harbor.jobservice => {
                    "has no effect: this node runs no job service"
                }
                Requirement::Database | Requirement::Redis => {
                    "takes every node out of the load balancer at the same moment when the service fails"
                }
                _ => continue,
            };
            self.add(&format!("readiness.require[{i}]"), doubt);
        }
        let mut users = self.config.secrets().into_iter().map(|(_, value)| value);
        let vault_used = users.any(|value| matches!(value, SecretValue::Reference(r) if r.scheme() == Scheme::Vault));
        if self.config.secret_stores.vault.is_some() && !vault_used {
            self.add("secret_stores.vault", "is not used: no value begins with ref+vault://");
        }
    }

    fn cluster(&mut self) {
        if matches!(self.config.shared_secrets, SharedSecrets::Share { adopt: true }) {
            let doubt = Mistake::new("takes over the secrets of a cluster made by hand");
            self.add("shared_secrets.adopt", doubt.hint("take it out once the first node is ready"));
        }
        if self.config.upgrade.is_some() {
            let doubt = Mistake::new("lets this node upgrade the cluster for good");
            self.add("upgrade", doubt.hint("take it out once every node runs the new version"));
        }
    }
}

fn scheme_like(scheme: &str) -> bool {
    ["file", "https", "http", "vault", "awssecrets", "awsssm", "gcpsecrets", "azurekeyvault"].contains(&scheme)
}
