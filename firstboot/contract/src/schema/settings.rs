//! `harbor.settings`: keys of Harbor's own configuration file, whatever its version calls them.
//!
//! They are checked against the version by the step that renders the file. Here it is only checked that they do not
//! contradict the rest of the node config.

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::decode::{Decoder, Field};
use super::refused::{refused, refused_value};
use super::secret::SecretValue;
use crate::strict::{Kind, Mistake, Value, unless_secret};

/// A map of Harbor's settings. Printing it hides what may be a secret, by the key's name.
#[derive(Debug, Clone, Default)]
pub struct Settings(pub BTreeMap<String, Setting>);

/// One value.
#[derive(Clone)]
pub enum Setting {
    /// A scalar without quotes, as written: Harbor's file gets it without quotes too.
    Plain(String),
    /// A scalar in quotes or a block.
    Quoted(String),
    /// A reference to a secret.
    Secret(SecretValue),
    /// A list.
    List(Vec<Setting>),
    /// A map.
    Map(Settings),
}

/// Keys that the node config sets elsewhere: `(setting, key of the node config)`.
const OWNED: [(&str, &str); 29] = [
    ("hostname", "harbor.external_url"),
    ("external_url", "harbor.external_url"),
    ("ui_url_protocol", "harbor.external_url"),
    ("http", "harbor.http_port"),
    ("https", "harbor.https_port and tls"),
    ("ssl_cert", "tls.certificate"),
    ("ssl_cert_key", "tls.key"),
    ("harbor_admin_password", "harbor.admin_password"),
    ("data_volume", "storage"),
    ("database", "database"),
    ("external_database", "database"),
    ("db_host", "database.host"),
    ("db_port", "database.port"),
    ("db_user", "database.user"),
    ("db_password", "database.password"),
    ("external_redis", "redis"),
    ("redis", "redis"),
    ("redis_host", "redis.host"),
    ("redis_port", "redis.port"),
    ("redis_url", "redis"),
    ("redis_password", "redis.password"),
    ("redis_db_index", "redis.db"),
    ("secretkey_path", "shared_secrets"),
    ("customize_crt", "shared_secrets"),
    ("registry_storage_provider_name", "storage"),
    ("registry_storage_provider_config", "storage"),
    ("reload_config", "habuild, once per change of the database"),
    ("metric", "harbor.metrics"),
    ("_version", "habuild, from the bundle"),
];

impl Settings {
    pub(super) fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let mut settings = BTreeMap::new();
        let mut whole = true;
        for (name, entry) in d.entries(field)? {
            if let Some(owner) = owner_of(name) {
                let hint = format!("it is set by {owner}{}", rest_of(&entry.node.value));
                d.note(entry.at, &entry.key, Mistake::new("cannot be set here").hint(hint));
                whole = false;
                continue;
            }
            match value(d, name, &entry, "") {
                Some(setting) => settings.insert(name.to_owned(), setting).map_or((), |_| ()),
                None => whole = false,
            }
        }
        whole.then_some(Self(settings))
    }

    /// The key paths, below `parent`, of texts that hold a secret though their keys say nothing of one.
    pub(super) fn texts_with_secrets(&self, parent: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (name, setting) in &self.0 {
            setting.texts_with_secrets(format!("{parent}.{name}"), &mut found);
        }
        found
    }

    /// Every secret, with its key path below `parent`; literals are told by their key's name.
    pub(super) fn secrets<'s>(&'s self, parent: &str, found: &mut Vec<(String, &'s SecretValue)>) {
        for (name, setting) in &self.0 {
            setting.secrets(&format!("{parent}.{name}"), found);
        }
    }
}

/// What sets a key of Harbor's in place of `harbor.settings`, for those that have such an owner.
pub(crate) fn owner_of(name: &str) -> Option<&'static str> {
    OWNED.iter().find(|(owned, _)| *owned == name).map(|(_, owner)| *owner)
}

/// What is to be said of a map with such an owner: Harbor has keys there (`https.strong_ssl_ciphers`,
/// `external_redis.sentinel_master_set`) that the owner has not.
pub(crate) fn rest_of(value: &Value) -> &'static str {
    if matches!(value, Value::Map(_)) { "; what that has no key for is not in this version of habuild" } else { "" }
}

/// Whether Harbor may have a key of this name.
pub(crate) fn is_setting(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain)
}

/// Whether a text holds a secret whatever its key is called: an address with a password in it (a proxy's), or a key.
pub(crate) fn holds_secret(text: &str) -> bool {
    text.contains("://") && text.contains('@') || text.contains("PRIVATE KEY")
}

/// Depth is bounded by the tree's.
fn value(d: &mut Decoder, name: &str, field: &Field<'_>, above: &str) -> Option<Setting> {
    if !is_setting(name) {
        d.note(field.at, &field.key, format!("{} is no key of Harbor's", unless_secret(name)));
        return None;
    }
    if let Some(why) = refused(name, above) {
        d.note(field.at, &field.key, Mistake::new("cannot be set").hint(why));
        return None;
    }
    if let Value::Scalar { text, .. } = &field.node.value
        && let Some(why) = refused_value(name, text)
    {
        return d.refuse(field, Mistake::new("cannot be set so").hint(why));
    }
    match &field.node.value {
        // The reader gives ~ for a key without a value: neither a word for a `harbor.cfg` nor a password.
        Value::Scalar { .. } if field.node.is_null() => Some(Setting::Plain(String::new())),
        Value::Scalar { text, .. } if text.starts_with("ref+") || may_be_secret(name) && !text.is_empty() => {
            d.secret(field).map(Setting::Secret)
        }
        Value::Scalar { text, kind: Kind::Plain } => Some(Setting::Plain(text.clone())),
        Value::Scalar { text, .. } => Some(Setting::Quoted(text.clone())),
        Value::List(_) => {
            let items = d.list(field)?;
            let settings: Vec<Setting> = items.iter().filter_map(|item| value(d, name, item, above)).collect();
            (settings.len() == items.len()).then_some(Setting::List(settings))
        }
        Value::Map(_) => {
            let entries = d.entries(field)?;
            let count = entries.len();
            let settings: BTreeMap<String, Setting> = entries
                .into_iter()
                .filter_map(|(below, entry)| Some((below.to_owned(), value(d, below, &entry, name)?)))
                .collect();
            (settings.len() == count).then_some(Setting::Map(Settings(settings)))
        }
    }
}

/// Whether a setting of this name holds a secret in some version of Harbor (`email_password`, `ldap_search_pwd`,
/// `s3.secretkey`, `github_token`, …).
pub(crate) fn may_be_secret(name: &str) -> bool {
    let last = name.rsplit(['_', '.', '-']).next().unwrap_or(name);
    ["password", "passwd", "pwd", "secret", "token", "credential", "credentials"].contains(&last)
        || ["secret", "secretkey", "accesskey", "accountkey", "apikey", "password"]
            .iter()
            .any(|end| last.ends_with(end))
        || name.ends_with("api_key")
}

impl Setting {
    /// Whether it leaves its key without a value.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Plain(text) if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// Every text with a secret in it, whatever its key is called, by key path.
    fn texts_with_secrets(&self, key: String, found: &mut Vec<String>) {
        match self {
            Self::Plain(text) | Self::Quoted(text) if holds_secret(text) => found.push(key),
            Self::Plain(_) | Self::Quoted(_) | Self::Secret(_) => {}
            Self::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    item.texts_with_secrets(format!("{key}[{i}]"), found);
                }
            }
            Self::Map(settings) => found.extend(settings.texts_with_secrets(&key)),
        }
    }

    fn secrets<'s>(&'s self, key: &str, found: &mut Vec<(String, &'s SecretValue)>) {
        match self {
            Self::Plain(_) | Self::Quoted(_) => {}
            Self::Secret(value) => found.push((key.to_owned(), value)),
            Self::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    item.secrets(&format!("{key}[{i}]"), found);
                }
            }
            Self::Map(settings) => settings.secrets(key, found),
        }
    }

    /// The text to print.
    fn shown(text: &str) -> &str {
        if holds_secret(text) { "(secret)" } else { text }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) | Self::Quoted(text) => f.write_str(Self::shown(text)),
            Self::Secret(value) => write!(f, "{value}"),
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(settings) => settings.fmt(f),
        }
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, setting) in &self.0 {
            map.serialize_entry(name, setting)?;
        }
        map.end()
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) => match text.as_str() {
                "true" => serializer.serialize_bool(true),
                "false" => serializer.serialize_bool(false),
                "" | "~" | "null" => serializer.serialize_unit(),
                // A leading zero or sign is no number in every reader: kept as text.
                text => match text.parse::<i64>() {
                    Ok(number) if number.to_string() == text => serializer.serialize_i64(number),
                    _ => serializer.serialize_str(Self::shown(text)),
                },
            },
            Self::Quoted(text) => serializer.serialize_str(Self::shown(text)),
            Self::Secret(value) => value.serialize(serializer),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Map(settings) => settings.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Setting, may_be_secret};
    use crate::schema;

    #[test]
    fn a_key_without_a_value_is_empty() {
        for empty in ["", "~", "null"] {
            let config = schema::parse(&format!(
                "version: 1\ncluster: hub\nharbor: {{external_url: 'http://hub.example.com', admin_password: x, settings: \
                 {{email_identity: {empty}, email_password: {empty}}}}}\nstorage: {{local: {{path: /srv/share}}}}\n\
                 database: {{kind: mysql, host: db, user: harbor, password: x}}\nredis: {{host: redis}}\n"
            ))
            .unwrap();
            for (name, setting) in &config.harbor.settings.0 {
                assert!(matches!(setting, Setting::Plain(text) if text.is_empty()), "{name}: {setting:?}");
            }
        }
    }

    #[test]
    fn a_text_with_a_secret_is_doubtful_whatever_its_key_is_called() {
        let config = schema::parse(
            "version: 1\ncluster: hub\nharbor: {external_url: 'http://hub.example.com', admin_password: 'ref+file:///a', settings: \
             {proxy: {http_proxy: 'http://me:s3cret@proxy', no_proxy: 'ref+file:///n'}}}\nstorage: {local: {path: /srv/share}}\n\
             database: bundled\nredis: bundled\n",
        )
        .unwrap();
        let doubts: Vec<String> = schema::warnings(&config).iter().map(ToString::to_string).collect();
        let literal = |doubt: &&String| doubt.contains("is a secret written literally");
        let told: Vec<&String> = doubts.iter().filter(literal).collect();
        assert!(told.len() == 1 && told[0].contains(" harbor.settings.proxy.http_proxy: "), "{doubts:?}");
        assert!(!doubts.concat().contains("s3cret"), "{doubts:?}");
    }

    #[test]
    fn secrets_are_told_by_name() {
        for name in [
            "email_password",
            "ldap_search_pwd",
            "secretkey",
            "github_token",
            "accesskey",
            "client_secret",
            "uaa_clientsecret",
            "api_key",
        ] {
            assert!(may_be_secret(name), "{name}");
        }
        for name in ["token_expiration", "email_host", "max_job_workers", "self_registration", "region"] {
            assert!(!may_be_secret(name), "{name}");
        }
    }
}
