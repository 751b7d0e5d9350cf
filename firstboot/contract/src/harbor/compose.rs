//! The compose file: Harbor's own, with what a node of a cluster needs otherwise. Nothing else is changed.
//!
//! Shared directories come from the share, the rest from the node. The database and Redis of the bundle go, with every
//! dependency on them, where the node has others. What containers write goes to the node's journal in place of the
//! bundle's log service, whose port every other container would wait for. No container is started by Docker itself
//! (`restart: "no"`): after a power cut it would do so before the share is mounted. Environment files become part of the
//! compose file, because Compose's versions read quotes, `#` and `$` in such files each in their own way.
//!
//! Invariant: pure. The result is JSON, which every YAML reader understands alike.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::options::METRICS_PORT;

/// The bundle's own databases.
const DATABASES: [&str; 2] = ["mysql", "postgresql"];
/// The service that clients talk to.
const PROXY: &str = "proxy";
/// How long a service gets to end what it does, where that is more than Docker's ten seconds: open uploads, running jobs. From
/// 1.8 on; those before do not hear the signal, and would only be waited for.
const GRACE: [(&str, &str); 2] = [(PROXY, "5m"), ("jobservice", "5m")];
/// The service that collects what the others write.
const LOG: &str = "log";
/// The bundle's own Redis.
const REDIS: &str = "redis";

/// What a node reads and writes below `/data` that every node must have alike.
const SHARED: [&str; 5] = ["registry", "job_logs", "ca_download", "chart_storage", "config"];

/// Which Compose a node has: their rules for a bind whose source is not there differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compose {
    /// The program `docker-compose` (1.29 in Debian 12). It never makes a source of a bind in the long form, and refuses
    /// `create_host_path` (seen with 1.29.2).
    V1,
    /// Docker's plug-in. It makes the source unless it is told not to.
    V2,
}

/// What the node's compose file depends on.
#[derive(Debug)]
pub(super) struct Places<'p> {
    /// Harbor's directory on the share.
    pub(super) shared: &'p str,
    /// Harbor's directory on the node.
    pub(super) local: &'p str,
    /// The rendered configuration.
    pub(super) work: &'p str,
    /// The port for http that is published.
    pub(super) http_port: u16,
    /// The port for https that is published, if the node serves it.
    pub(super) https_port: Option<u16>,
    /// The port for metrics that is published, if Harbor gives any.
    pub(super) metrics_port: Option<u16>,
    /// Whether this node runs jobs.
    pub(super) jobservice: bool,
    /// Whether the database is the bundle's own.
    pub(super) database: bool,
    /// Whether Redis is the bundle's own.
    pub(super) redis: bool,
    /// Whether proxy and job service come to an end by themselves when they are told to.
    pub(super) graceful: bool,
    /// Which Compose reads the file.
    pub(super) compose: Compose,
    /// Environment files by their path below `work`.
    pub(super) env: &'p BTreeMap<String, String>,
}

/// The node's compose file, and the directories of the node that it binds.
#[derive(Debug)]
pub(super) struct Composed {
    /// The compose file.
    pub(super) file: Value,
    /// Directories to be made on the node before the start.
    pub(super) local: Vec<String>,
    /// Directories to be made on the share.
    pub(super) shared: Vec<String>,
}

/// Rewrites Harbor's compose file.
///
/// # Errors
/// What the file has that no compose file of Harbor has.
pub(super) fn rewrite(text: &str, places: &Places<'_>) -> Result<Composed, String> {
    let mut file: Value =
        serde_saphyr::from_str(text).map_err(|error| format!("is no compose file: {}", super::yaml_words(&error)))?;
    let root = file.as_object_mut().ok_or("is no compose file: it is not a map")?;
    // Both Composes read a file without a version by the newest rules that they know.
    root.remove("version");
    let services = root.get_mut("services").and_then(Value::as_object_mut).ok_or("has no services")?;
    services.retain(|name, _| match name.as_str() {
        LOG => false,
        "jobservice" => places.jobservice,
        REDIS => places.redis,
        name => places.database || !DATABASES.contains(&name),
    });
    let left: Vec<String> = services.keys().cloned().collect();
    let mut composed = Composed { file: Value::Null, local: Vec::new(), shared: Vec::new() };
    for (name, service) in services.iter_mut() {
        let service = service.as_object_mut().ok_or_else(|| format!("service {name} is not a map"))?;
        rewrite_service(name, service, &left, places, &mut composed)
            .map_err(|what| format!("service {name}: {what}"))?;
    }
    composed.file = file;
    composed.local.sort();
    composed.local.dedup();
    composed.shared.sort();
    composed.shared.dedup();
    Ok(composed)
}

fn rewrite_service(
    name: &str,
    service: &mut Map<String, Value>,
    left: &[String],
    places: &Places<'_>,
    composed: &mut Composed,
) -> Result<(), String> {
    service.insert("restart".into(), json!("no"));
    service.insert("logging".into(), json!({"driver": "journald", "options": {"tag": name}}));
    if let Some(value) = service.get_mut("depends_on") {
        match value {
            Value::Array(list) => list.retain(|item| item.as_str().is_some_and(|item| left.iter().any(|s| s == item))),
            Value::Object(map) => map.retain(|item, _| left.contains(item)),
            _ => return Err("depends_on is neither a list nor a map".into()),
        }
    }
    if let Some(files) = service.remove("env_file") {
        let environment = environment(&files, service.get("environment"), places)?;
        service.insert("environment".into(), environment);
    }
    if let Some(volumes) = service.get_mut("volumes") {
        for volume in volumes.as_array_mut().ok_or("volumes is no list")? {
            let bind = bind(volume, places, composed)?;
            *volume = bind;
        }
    }
    if let Some((_, grace)) = GRACE.iter().find(|(service, _)| places.graceful && *service == name) {
        service.insert("stop_grace_period".into(), json!(grace));
    }
    if name == PROXY {
        let mut ports = vec![format!("{}:{}", places.http_port, target(service, &["80", "8080"])?)];
        if let Some(port) = places.https_port {
            ports.push(format!("{port}:{}", target(service, &["443", "8443"])?));
        }
        if let Some(port) = places.metrics_port {
            ports.push(format!("{port}:{}", target(service, &[&METRICS_PORT.to_string()])?));
        }
        service.insert("ports".into(), json!(ports));
    }
    Ok(())
}

/// The container's port for one of `known`, as the file publishes it.
fn target(service: &Map<String, Value>, known: &[&str]) -> Result<String, String> {
    let ports = service.get("ports").and_then(Value::as_array).ok_or("publishes no ports")?;
    let targets = ports.iter().filter_map(|port| port.as_str()?.rsplit(':').next().map(str::to_owned));
    let found = targets.into_iter().find(|port| known.contains(&port.as_str()));
    found.ok_or_else(|| format!("publishes none of the ports {}", known.join(", ")))
}

/// The environment that the files give, below what the service itself says.
fn environment(files: &Value, own: Option<&Value>, places: &Places<'_>) -> Result<Value, String> {
    let one = [files.clone()];
    let files = files.as_array().map_or(one.as_slice(), Vec::as_slice);
    let mut merged = BTreeMap::new();
    for file in files {
        let path = file.as_str().ok_or("env_file is no path")?.trim_start_matches("./");
        let text = places.env.get(path).ok_or_else(|| format!("env_file {path} is not rendered"))?;
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            if let Some((key, value)) = line.split_once('=') {
                // A dollar sign would begin a variable of Compose's own.
                merged.insert(key.trim().to_owned(), value.replace('$', "$$"));
            }
        }
    }
    match own {
        None => {}
        Some(Value::Array(list)) => {
            let pairs = list.iter().filter_map(|item| item.as_str()?.split_once('='));
            merged.extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
        Some(Value::Object(map)) => {
            merged.extend(map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))));
        }
        Some(_) => return Err("environment is neither a list nor a map".into()),
    }
    Ok(json!(merged))
}

/// One volume in the form that refuses a source which is not there.
fn bind(volume: &Value, places: &Places<'_>, composed: &mut Composed) -> Result<Value, String> {
    let (source, target, mode) = match volume {
        Value::String(text) => {
            let mut parts = text.splitn(3, ':');
            let (source, target) = (parts.next().unwrap_or_default(), parts.next().ok_or("a volume without a target")?);
            (source.to_owned(), target.to_owned(), parts.next().unwrap_or_default().to_owned())
        }
        Value::Object(map) => {
            let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
            let source = text("source").ok_or("a volume without a source")?;
            let mode = if map.get("read_only") == Some(&Value::Bool(true)) { "ro" } else { "" };
            (source, text("target").ok_or("a volume without a target")?, mode.to_owned())
        }
        _ => return Err("a volume that is neither text nor a map".into()),
    };
    let mut read_only = mode.split(',').any(|word| word == "ro");
    let source = if let Some(path) = source.strip_prefix("./") {
        format!("{}/{}", places.work, path.trim_end_matches('/'))
    } else if source.trim_end_matches('/') == "/data" {
        // Harbor asks it for the disk's size only.
        read_only = true;
        places.shared.to_owned()
    } else if let Some(path) = source.strip_prefix("/data/") {
        let path = path.trim_end_matches('/');
        let first = path.split('/').next().unwrap_or_default();
        if path == "secretkey" || first == "secret" {
            // Keys and certificates are the same on every node, and none of them needs the share for them.
            format!("{}/{path}", places.work)
        } else if SHARED.contains(&first) {
            let path = format!("{}/{path}", places.shared);
            composed.shared.push(path.clone());
            path
        } else {
            local(&format!("{}/{path}", places.local), composed)
        }
    } else {
        return Err(format!("binds {source}, which habuild does not know"));
    };
    let mut long = Map::from_iter([
        ("type".to_owned(), json!("bind")),
        ("source".to_owned(), json!(source)),
        ("target".to_owned(), json!(target)),
    ]);
    if places.compose == Compose::V2 {
        long.insert("bind".into(), json!({"create_host_path": false}));
    }
    if read_only {
        long.insert("read_only".into(), json!(true));
    }
    Ok(Value::Object(long))
}

fn local(path: &str, composed: &mut Composed) -> String {
    composed.local.push(path.to_owned());
    path.to_owned()
}

/// The services in an order in which each comes after those that it depends on, and the proxy last.
#[must_use]
pub fn start_order(file: &Value) -> Vec<String> {
    let empty = Map::new();
    let services = file.get("services").and_then(Value::as_object).unwrap_or(&empty);
    let needs = |name: &str| -> Vec<String> {
        match services.get(name).and_then(|service| service.get("depends_on")) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::Object(map)) => map.keys().cloned().collect(),
            _ => Vec::new(),
        }
    };
    // What the core serves to and from comes first, and what clients talk to last, whatever depends on it by name.
    let rank = |name: &str| match name {
        name if DATABASES.contains(&name) || name == REDIS => 0,
        "registry" | "registryctl" | "portal" | "trivy-adapter" => 1,
        PROXY => 3,
        _ => 2,
    };
    let mut names: Vec<&String> = services.keys().collect();
    names.sort_by_key(|name| rank(name));
    let mut order: Vec<String> = Vec::new();
    while order.len() < services.len() {
        let mut waiting = names.iter().filter(|name| !order.contains(name));
        let free =
            |name: &&&String| needs(name).iter().all(|need| order.contains(need) || !services.contains_key(need));
        // A circle, which Compose would refuse, is broken anywhere.
        let first = waiting.clone().next();
        let Some(next) = waiting.find(free).or(first) else { break };
        order.push((*next).clone());
    }
    order
}

/// The container of a service: the name that the file gives it.
#[must_use]
pub fn container(file: &Value, service: &str) -> String {
    let name = file.pointer(&format!("/services/{service}/container_name")).and_then(Value::as_str);
    name.unwrap_or(service).trim().to_owned()
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "compose_golden_tests.rs"]
mod golden_tests;
