//! Secrets kept on the node's disk, so that a reboot brings Harbor back while a store is away.
//!
//! Kept is what references stood for, by key and reference: a changed reference does not get what another one meant.
//!
//! Invariant: the file has mode 0600 in a directory of mode 0700, and is whole or not there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Attempt, Resolved, Secret, SecretError};
use crate::host::Host;
use contract::schema::{NodeConfig, SecretValue};

/// One directory for each instance that this disk was.
pub(crate) const DIRECTORY: &str = "/var/lib/habuild/instance";
const SCHEMA: u32 = 1;

/// How long stores are waited for while there are kept secrets.
const PATIENCE: Duration = Duration::from_secs(30);

/// Secrets of earlier boots of this instance.
#[derive(Debug, Default)]
pub(crate) struct Kept(BTreeMap<String, (String, Secret)>);

/// What to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Everything was resolved.
    Fresh,
    /// Kept secrets fill the gaps: the node is degraded, for these reasons.
    Kept {
        /// One for each gap.
        reasons: Vec<String>,
    },
    /// Try again.
    Wait,
    /// Something must be corrected first.
    Fail,
}

/// Decides what to go on with, when the attempts have taken `waited` so far.
pub(crate) fn decide(errors: &[SecretError], kept: &Kept, waited: Duration) -> Decision {
    if errors.is_empty() {
        return Decision::Fresh;
    }
    if errors.iter().any(|error| !error.recoverable && kept.get(error).is_none()) {
        return Decision::Fail;
    }
    let passing = errors.iter().any(|error| error.recoverable);
    if passing && waited < PATIENCE || errors.iter().any(|error| kept.get(error).is_none()) {
        return Decision::Wait;
    }
    let reason = |error: &SecretError| format!("{error}; in use is what it was at an earlier boot");
    Decision::Kept { reasons: errors.iter().map(reason).collect() }
}

impl Kept {
    /// Reads what is kept for an instance. The words say why what is there cannot be used.
    pub(crate) fn read(host: &Host, instance: &str) -> (Self, Option<String>) {
        let path = file(instance);
        let unusable = |why: &str| (Self::default(), Some(format!("{}: {why}: kept secrets are lost", path.display())));
        match host.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Self::default(), None),
            Err(error) => unusable(&error.to_string()),
            // The parser's words are not repeated: they may hold a value.
            Ok(content) => parse(&content.bytes).map_or_else(|| unusable("is damaged"), |kept| (kept, None)),
        }
    }

    /// What is kept for the key and the reference of an error.
    fn get(&self, error: &SecretError) -> Option<&Secret> {
        let (reference, secret) = self.0.get(&error.key)?;
        (*reference == error.reference).then_some(secret)
    }

    /// What was resolved, and what is kept for the rest.
    pub(crate) fn fill(&self, attempt: &Attempt) -> Resolved {
        let mut resolved = attempt.resolved.clone();
        for error in &attempt.errors {
            if let Some(secret) = self.get(error) {
                resolved.insert(&error.key, secret.clone());
            }
        }
        resolved
    }

    /// Keeps what the references of a node config stand for now; `false` when all of it was kept already.
    pub(crate) fn write(host: &Host, instance: &str, config: &NodeConfig, resolved: &Resolved) -> io::Result<bool> {
        let mut secrets = BTreeMap::new();
        for (key, value) in config.secrets() {
            if let (SecretValue::Reference(reference), Some(secret)) = (value, resolved.get(&key)) {
                secrets.insert(key, json!({ "reference": reference.to_string(), "value": secret.expose() }));
            }
        }
        let text = serde_json::to_string(&json!({ "schema": SCHEMA, "secrets": secrets }))?;
        let path = file(instance);
        host.make_private_directory(path.parent().unwrap_or(Path::new(DIRECTORY)))?;
        host.write(&path, text.as_bytes(), 0o600)
    }
}

fn parse(bytes: &[u8]) -> Option<Kept> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    if value.get("schema")?.as_u64()? != u64::from(SCHEMA) {
        return None;
    }
    let entry = |(key, entry): (&String, &Value)| {
        let reference = entry.get("reference")?.as_str()?.to_owned();
        Some((key.clone(), (reference, Secret::new(entry.get("value")?.as_str()?))))
    };
    value.get("secrets")?.as_object()?.iter().map(entry).collect::<Option<_>>().map(Kept)
}

/// Where an instance's secrets are kept. Whatever its id holds, the path stays below the directory.
fn file(instance: &str) -> PathBuf {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = instance.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    let name = if name.trim_matches('.').is_empty() { "-".to_owned() } else { name };
    Path::new(DIRECTORY).join(name).join("secrets.json")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn error(key: &str, recoverable: bool) -> SecretError {
        let reference = format!("ref+file:///{key}");
        SecretError { key: key.into(), reference, what: "is away".into(), advice: None, recoverable }
    }

    fn kept(keys: &[&str]) -> Kept {
        let one = |key: &&str| (key.to_string(), (format!("ref+file:///{key}"), Secret::new("s3cret")));
        Kept(keys.iter().map(one).collect())
    }

    #[test]
    fn decides_by_what_is_kept_and_what_can_pass() {
        let (soon, late) = (Duration::from_secs(29), Duration::from_secs(30));
        let in_use = |keys: &[&str]| Decision::Kept {
            reasons: keys
                .iter()
                .map(|key| format!("{key}: ref+file:///{key}: is away; in use is what it was at an earlier boot"))
                .collect(),
        };
        let (passing, lasting) = (|key| error(key, true), |key| error(key, false));
        for (i, (errors, keys, waited, expected)) in [
            (vec![], vec![], soon, Decision::Fresh),
            (vec![passing("a")], vec![], soon, Decision::Wait),
            (vec![passing("a")], vec![], late, Decision::Wait),
            (vec![passing("a")], vec!["a"], soon, Decision::Wait),
            (vec![passing("a")], vec!["a"], late, in_use(&["a"])),
            (vec![lasting("a")], vec!["a"], soon, in_use(&["a"])),
            (vec![lasting("a")], vec!["b"], late, Decision::Fail),
            (vec![lasting("a"), passing("b")], vec!["a"], late, Decision::Wait),
            (vec![lasting("a"), passing("b")], vec!["a", "b"], soon, Decision::Wait),
            (vec![lasting("a"), passing("b")], vec!["a", "b"], late, in_use(&["a", "b"])),
            (vec![lasting("a"), passing("b")], vec!["b"], late, Decision::Fail),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(decide(&errors, &kept(&keys), waited), expected, "case {i}");
        }
        let moved = SecretError { reference: "ref+file:///elsewhere".into(), ..lasting("a") };
        assert_eq!(decide(&[moved], &kept(&["a"]), late), Decision::Fail, "another reference");
    }

    fn config(password: &str) -> NodeConfig {
        let text = format!(
            "version: 1\ncluster: hub\nharbor: {{external_url: http://hub, admin_password: literal}}\nstorage: \
             {{local: {{path: /var/lib/harbor/share}}}}\ndatabase: {{kind: mysql, host: db, user: u, password: \
             \"{password}\"}}\nredis: {{host: redis, password: ref+file:///redis}}\n"
        );
        contract::schema::parse(&text).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_by_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let mut resolved = Resolved::default();
        for key in ["harbor.admin_password", "database.password", "redis.password"] {
            resolved.insert(key, Secret::new(format!("s3cret \"of\" {key}")));
        }
        let config = config("ref+https://store/x?token=t0ken#/db");
        assert!(Kept::write(&host, "i-1/../..", &config, &resolved).unwrap());
        assert!(!Kept::write(&host, "i-1/../..", &config, &resolved).unwrap(), "nothing changed");
        let file = root.path().join("var/lib/habuild/instance/i-1-..-../secrets.json");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("t0ken") && !text.contains("admin_password"), "{text}");

        let (kept, trouble) = Kept::read(&host, "i-1/../..");
        assert_eq!(trouble, None);
        let error = SecretError { reference: "ref+file:///redis".into(), ..error("redis.password", true) };
        let attempt = Attempt { errors: vec![error], ..Attempt::default() };
        assert_eq!(kept.fill(&attempt).get("redis.password"), resolved.get("redis.password"));
        assert!(!format!("{kept:?} {attempt:?} {resolved:?}").contains("s3cret"));

        std::fs::set_permissions(file.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Kept::write(&host, "i-1/../..", &config, &Resolved::default()).unwrap();
        assert_eq!(mode(file.parent().unwrap()), 0o700, "a directory that others could read");
        assert!(Kept::read(&host, "i-1/../..").0.0.is_empty(), "what no reference stands for is not kept");
        std::fs::write(&file, "{\"schema\":1,").unwrap();
        let (kept, trouble) = Kept::read(&host, "i-1/../..");
        assert!(kept.0.is_empty() && trouble.unwrap().contains("is damaged"));
        assert!(Kept::read(&host, "another").0.0.is_empty());
    }
}
