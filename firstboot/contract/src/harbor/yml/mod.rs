//! Generation `yml` (Harbor 1.8 and later): `harbor.yml` for the bundle's own `prepare`, and what is made of its output.
//!
//! `prepare` is a container image that renders everything, with new secrets at each run. So it runs once for a
//! configuration, in a directory of its own, and what all nodes must have alike is set in its output. Facts are from
//! goharbor/harbor at the tags v1.8.6 to v2.15.2, `make/photon/prepare`, and from two nodes of 2.15.2 that were run.
//!
//! Invariant: pure; secrets appear in the rendered bytes only.

mod authorities;
mod known;
mod settings;
mod values;

pub(super) use settings::unfit;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::options::{METRICS_PATH, METRICS_PORT, TRIVY_DATABASE};
use super::{
    EVERY_NODE, Inputs, OWN_REDIS, Rendered, RenderedFile, Version, broken, check_database_password,
    check_redis_password,
};
use crate::schema::{Database, NodeConfig, Redis, TlsMode};
use crate::strict::Mistake;

/// Whom Harbor's processes run as from 1.3 on.
pub(super) const HARBOR: (u32, u32) = (10000, 10000);

/// Where `harbor.yml` says that the certificate for clients lies. `prepare` reads it below `/hostfs` (1.9 and later) and copies
/// it; 1.8 binds it from there.
const CERTIFICATE: &str = "/data/secret/cert/server.crt";
/// And its key.
const KEY: &str = "/data/secret/cert/server.key";

/// What the bundle's `prepare` wrote for a `harbor.yml`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// Files by their path below the directory that it ran in: `docker-compose.yml`, `common/config/core/env`, …
    pub files: BTreeMap<String, RenderedFile>,
    /// Directories, by the same paths; some of them are empty, and bound all the same.
    pub directories: Vec<String>,
}

/// A file that `prepare` is to find.
pub struct PrepareFile {
    /// Its place in the container: an absolute path.
    pub path: &'static str,
    /// Its content.
    pub text: String,
}

impl fmt::Debug for PrepareFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrepareFile({})", self.path)
    }
}

/// What this generation cannot do, whatever the secrets are.
pub(super) fn limits(config: &NodeConfig, version: &Version) -> Vec<Mistake> {
    let numbers = version.numbers();
    let mut found = authorities::limits(config, version);
    let mut refuse = |message: String, hint: &str| found.push(Mistake::new(message).hint(hint));
    if !config.harbor.jobservice {
        refuse(format!("harbor.jobservice: Harbor {version} needs one on every node"), EVERY_NODE);
    }
    if let Some(redis) = config.redis.external() {
        if redis.db != 0 {
            refuse(format!("redis.db: Harbor {version} keeps its sessions in database 0, whatever is set"), OWN_REDIS);
        }
        // The core could from 2.8 on, the registry from 2.15 on (v2.14.4 and v2.15.0 `templates/registry/config.yml.jinja`).
        if !redis.username.is_empty() && numbers < (2, 15, 0) {
            refuse(format!("redis.username: the registry of Harbor {version} has a password only"), "leave it out");
        }
    }
    found
}

/// What `prepare` is to find: `harbor.yml`, the shared keys, which it keeps, and the certificate for clients.
///
/// # Errors
/// A key of the node config that this version cannot use, or a file of the bundle that is not as this version has it.
pub fn prepare_files(inputs: &Inputs<'_>) -> Result<Vec<PrepareFile>, Mistake> {
    let file = |path, text: String| PrepareFile { path, text };
    let cluster = &inputs.cluster;
    let mut files = vec![
        file("/input/harbor.yml", in_ascii(&harbor_yml(inputs)?)?),
        file("/data/secret/keys/secretkey", cluster.secretkey.to_owned()),
        file("/data/secret/core/private_key.pem", cluster.private_key.to_owned()),
        file("/data/secret/registry/root.crt", cluster.root_crt.to_owned()),
    ];
    if inputs.config.tls.is_some() {
        files.push(file("/hostfs/data/secret/cert/server.crt", inputs.need("tls.certificate")?));
        files.push(file("/hostfs/data/secret/cert/server.key", inputs.need("tls.key")?));
    }
    Ok(files)
}

/// JSON is YAML, and leaves nothing to be guessed: no text is taken for a number. Signs that are no ASCII are escaped as YAML does it:
/// `prepare` opens the file with whatever encoding its container's locale has, and that locale (`LANG` in its `Dockerfile`, v1.8.6 to
/// v2.15.2) is not sure to be installed there.
fn in_ascii(values: &Value) -> Result<String, Mistake> {
    let json = serde_json::to_string_pretty(values).map_err(|error| broken("harbor.yml", &error.to_string()))?;
    let mut text = String::with_capacity(json.len());
    for sign in json.chars() {
        match u32::from(sign) {
            0..0x80 => text.push(sign),
            code @ 0x80..0x1_0000 => text += &format!("\\u{code:04x}"),
            code => text += &format!("\\U{code:08x}"),
        }
    }
    Ok(text)
}

/// What can be found out without `prepare`: whether `harbor.yml` can be written, and the bundle's file has all that a node sets.
pub(super) fn render_dry(inputs: &Inputs<'_>) -> Result<(), Mistake> {
    prepare_files(inputs)?;
    settings::check_own(inputs, &harbor_yml(inputs)?)
}

/// The values of `harbor.yml`.
fn harbor_yml(inputs: &Inputs<'_>) -> Result<Value, Mistake> {
    let config = inputs.config;
    let mut values = settings::merged(inputs)?;
    let url = &config.harbor.external_url;
    let own = [
        ("hostname", json!(url.host)),
        ("external_url", json!(url.to_string())),
        ("http", json!({"port": config.harbor.http_port})),
        ("harbor_admin_password", json!(inputs.need("harbor.admin_password")?)),
        ("data_volume", json!("/data")),
    ];
    values.extend(own.map(|(key, value)| (key.to_owned(), value)));
    match &config.tls {
        Some(_) => {
            let https = values.entry("https").or_insert_with(|| json!({}));
            if !https.is_object() {
                *https = json!({});
            }
            for (key, value) in [
                ("port", json!(config.harbor.https_port)),
                ("certificate", json!(CERTIFICATE)),
                ("private_key", json!(KEY)),
            ] {
                https[key] = value;
            }
        }
        None => {
            values.remove("https");
        }
    }
    let password = inputs.need("database.password")?;
    match config.database.external() {
        Some(database) => {
            check_database_password(inputs.version, &password)?;
            values.insert("external_database".into(), external_database(database, &password, inputs.version));
        }
        None => {
            let own = values.entry("database").or_insert_with(|| json!({}));
            if !own.is_object() {
                *own = json!({});
            }
            own["password"] = json!(password);
        }
    }
    if let Some(redis) = config.redis.external() {
        let redis = external_redis(redis, inputs)?;
        values.insert("external_redis".into(), redis);
    }
    if config.harbor.metrics.is_some() {
        values.insert("metric".into(), json!({"enabled": true, "port": METRICS_PORT, "path": METRICS_PATH}));
    }
    Ok(Value::Object(values))
}

fn external_database(database: &Database, password: &str, version: &Version) -> Value {
    let mut one = json!({
        "host": database.host,
        "port": database.port,
        "db_name": database.name,
        "username": database.user,
        "password": password,
        "ssl_mode": if database.tls == TlsMode::Off { "disable" } else { "verify-full" },
    });
    if let Some(connections) = database.connections {
        one["max_open_conns"] = json!(connections);
    }
    // 1.8 reads all four, though nothing uses the others.
    let all = if version.numbers() < (1, 9, 0) {
        &["harbor", "clair", "notary_signer", "notary_server"][..]
    } else {
        &["harbor"]
    };
    all.iter().map(|name| ((*name).to_owned(), one.clone())).collect::<Map<_, _>>().into()
}

fn external_redis(redis: &Redis, inputs: &Inputs<'_>) -> Result<Value, Mistake> {
    let numbers = inputs.version.numbers();
    let password = match &redis.password {
        Some(_) => inputs.need("redis.password")?,
        None => String::new(),
    };
    check_redis_password(inputs.version, &password)?;
    let host = if redis.host.contains(':') { format!("[{}]", redis.host) } else { redis.host.clone() };
    let mut value = if numbers < (2, 1, 0) {
        json!({"host": host, "port": redis.port})
    } else {
        json!({"host": format!("{host}:{}", redis.port)})
    };
    value["password"] = json!(password);
    if !redis.username.is_empty() {
        value["username"] = json!(redis.username);
    }
    let scanner = inputs.config.harbor.trivy.then_some(("trivy_db_index", TRIVY_DATABASE));
    if redis.tls != TlsMode::Off {
        // The authority is put where it would copy it to (`authorities`).
        value["tlsOptions"] = json!({"enable": true, "rootCA": ""});
    }
    for (key, number) in [("registry_db_index", 1), ("jobservice_db_index", 2)].into_iter().chain(scanner) {
        value[key] = json!(number);
    }
    Ok(value)
}

/// Makes of what `prepare` wrote what every node of the cluster has alike.
pub(super) fn render(inputs: &Inputs<'_>) -> Result<(Rendered, String), Mistake> {
    let prepared = inputs.prepared.ok_or_else(|| {
        Mistake::new(format!("Harbor {}: its configuration was not prepared", inputs.version))
            .hint("this is a bug of habuild")
    })?;
    let mut rendered = Rendered::default();
    let mut compose = None;
    for (path, file) in &prepared.files {
        let text = shared_values(path, &file.text, inputs)?;
        match path.as_str() {
            super::COMPOSE_FILE => compose = Some(text),
            _ if path.ends_with("/env") => {
                rendered.env.insert(path.clone(), text);
            }
            // Whoever runs no log service needs no rules for it.
            _ if path.starts_with("common/config/log/") => {}
            _ => {
                rendered.files.insert(path.clone(), RenderedFile { text, ..file.clone() });
            }
        }
    }
    for path in ["common/config/core/env", "common/config/jobservice/env", "common/config/registryctl/env"] {
        if !rendered.env.contains_key(path) {
            return Err(broken(path, "prepare did not write it"));
        }
    }
    let cluster = &inputs.cluster;
    let mut secret = |path: &str, text: String, owner: (u32, u32)| {
        rendered.files.insert(path.to_owned(), RenderedFile { text, mode: 0o600, owner });
    };
    secret("secret/keys/secretkey", cluster.secretkey.to_owned(), HARBOR);
    secret("secret/core/private_key.pem", cluster.private_key.to_owned(), HARBOR);
    secret("secret/registry/root.crt", cluster.root_crt.to_owned(), HARBOR);
    // It is bound into the directory of the registry's configuration, where Docker would otherwise make a file to bind it on.
    secret("common/config/registry/root.crt", cluster.root_crt.to_owned(), HARBOR);
    if inputs.config.tls.is_some() {
        // 1.8's proxy begins as root, without the right to read what is not root's (v1.8.6 `make/photon/nginx/Dockerfile`).
        let proxy = if inputs.version.numbers() < (1, 9, 0) { (0, 0) } else { HARBOR };
        secret("secret/cert/server.crt", inputs.need("tls.certificate")?, proxy);
        secret("secret/cert/server.key", inputs.need("tls.key")?, proxy);
    }
    rendered.files.extend(authorities::files(inputs)?);
    let work = inputs.directories.work;
    let directories = prepared.directories.iter().filter(|path| *path != "common/config/log");
    rendered.directories.extend(directories.map(|path| super::Directory::plain(format!("{work}/{path}"))));
    let compose = compose.ok_or_else(|| broken(super::COMPOSE_FILE, "prepare did not write it"))?;
    Ok((rendered, compose))
}

/// A file of `prepare`'s with the cluster's values in place of its own new ones.
fn shared_values(path: &str, text: &str, inputs: &Inputs<'_>) -> Result<String, Mistake> {
    let (cluster, second) = (&inputs.cluster, inputs.version.numbers() >= (2, 0, 0));
    let (core, jobs) =
        (("CORE_SECRET", cluster.core_secret.to_owned()), ("JOBSERVICE_SECRET", cluster.jobservice_secret.to_owned()));
    let values: Vec<(&str, String)> = match path {
        "common/config/core/env" if second => {
            let mut values = vec![core, jobs, ("CSRF_KEY", cluster.csrf_key.to_owned())];
            // A part of names in the database, by which each core recognises its scanners.
            if inputs.version.numbers() >= (2, 8, 0) {
                values.push(("ROBOT_SCANNER_NAME_PREFIX", scanner_prefix(&inputs.config.cluster)));
            }
            values
        }
        "common/config/core/env" | "common/config/jobservice/env" | "common/config/registryctl/env" => vec![core, jobs],
        // Forty characters, of which the framework needs no more than that they are alike.
        "common/config/core/app.conf" if !second => {
            let again = cluster.csrf_key.get(..8).unwrap_or_default();
            vec![("XSRFKey", format!("{}{again}", cluster.csrf_key))]
        }
        _ => return Ok(text.to_owned()),
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut set = |name: &str, value: &str| {
        let has = |line: &&mut String| line.split_once('=').is_some_and(|(key, _)| key.trim() == name);
        let Some(line) = lines.iter_mut().find(has) else { return false };
        let (key, _) = line.split_once('=').unwrap_or_default();
        *line = format!("{key}={}{value}", if key.ends_with(' ') { " " } else { "" });
        true
    };
    for (name, value) in &values {
        if !set(name, value) {
            return Err(broken(path, &format!("prepare wrote no {name}")));
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// Eight letters that every node makes alike of the cluster's name (FNV-1a: no secret, and nothing to be guarded).
fn scanner_prefix(cluster: &str) -> String {
    let mut hash = cluster
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut text = String::new();
    for _ in 0..8 {
        text.push(char::from(b"abcdefghijklmnopqrstuvwxyz"[usize::try_from(hash % 26).unwrap_or_default()]));
        hash /= 26;
    }
    text
}
