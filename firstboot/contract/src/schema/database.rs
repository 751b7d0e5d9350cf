//! `database` and `redis`: the services outside that all nodes share, or the bundle's own.

use serde::{Serialize, Serializer};

use super::decode::{Decoder, Field, Fields};
use super::secret::SecretValue;
use crate::strict::url::host;
use crate::strict::{Mistake, Value};

/// A service that Harbor needs beside its own.
#[derive(Debug, Clone)]
pub enum Service<T> {
    /// The bundle's own container, or what Harbor does without one; its data stay on the node.
    Bundled,
    /// One that all nodes share.
    External(T),
}

impl<T> Service<T> {
    /// The service outside, if it is one.
    #[must_use]
    pub fn external(&self) -> Option<&T> {
        match self {
            Self::Bundled => None,
            Self::External(service) => Some(service),
        }
    }

    /// Whether it is the bundle's own.
    #[must_use]
    pub fn is_bundled(&self) -> bool {
        matches!(self, Self::Bundled)
    }

    /// The word `bundled`, or what `decode` reads.
    pub(super) fn decode(
        d: &mut Decoder,
        field: &Field<'_>,
        decode: impl FnOnce(&mut Decoder, &Field<'_>) -> Option<T>,
    ) -> Option<Self> {
        match &field.node.value {
            Value::Scalar { text, .. } if text == "bundled" => Some(Self::Bundled),
            Value::Scalar { .. } => d.refuse(field, "must be a map, or the word bundled"),
            _ => decode(d, field).map(Self::External),
        }
    }
}

impl<T: Serialize> Serialize for Service<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bundled => serializer.serialize_str("bundled"),
            Self::External(service) => service.serialize(serializer),
        }
    }
}

/// What kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseKind {
    /// MySQL or MariaDB: Harbor 1.1 to 1.5.
    Mysql,
    /// PostgreSQL: Harbor 1.6 and later.
    Postgresql,
}

/// How a connection is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Not at all.
    Off,
    /// TLS, and the server's certificate and name are verified.
    Verify,
}

/// Harbor's database.
#[derive(Debug, Clone, Serialize)]
pub struct Database {
    /// Its kind.
    pub kind: DatabaseKind,
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// With what.
    pub password: SecretValue,
    /// The database's name.
    pub name: String,
    /// How the connection is guarded.
    pub tls: TlsMode,
    /// The authority that `tls: verify` trusts; none: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretValue>,
    /// The most connections that each of Harbor's services with a pool opens; none: Harbor's own, which is no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Whether an unused database may be given Harbor's schema.
    pub initialise: bool,
}

/// Where the nodes share sessions and jobs.
#[derive(Debug, Clone, Serialize)]
pub struct Redis {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The ACL user; empty: the default user.
    pub username: String,
    /// The password, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretValue>,
    /// The number of the database that holds the sessions.
    pub db: u32,
    /// How the connection is guarded.
    pub tls: TlsMode,
    /// The authority that `tls: verify` trusts; none: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretValue>,
}

impl Database {
    pub(super) fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let known = ["kind", "host", "port", "user", "password", "name", "tls", "ca", "connections", "initialise"];
        let fields = d.fields(field, &known)?;
        let kind = d.need(&fields, "kind", kind);
        let address = d.need(&fields, "host", |d, f| d.parsed(f, host));
        let default = if kind == Some(DatabaseKind::Postgresql) { 5432 } else { 3306 };
        let port = d.or(&fields, "port", default, Decoder::port);
        let longest = if kind == Some(DatabaseKind::Mysql) { 32 } else { 63 };
        let user = d.need(&fields, "user", |d, f| d.parsed(f, |text| user(text, longest)));
        let password = d.need(&fields, "password", Decoder::secret);
        let name = d.or(&fields, "name", "registry".to_owned(), |d, f| d.parsed(f, name));
        let guard = tls(d, &fields);
        // Harbor keeps one while it asks for another, so that with a few it would wait for itself.
        let connections = d.maybe(&fields, "connections", |d, f| d.number(f, 10, 10_000));
        let initialise = d.or(&fields, "initialise", false, Decoder::boolean);
        let (tls, ca) = guard?;
        Some(Self {
            kind: kind?,
            host: address?,
            port: port?,
            user: user?,
            password: password?,
            name: name?,
            tls,
            ca,
            connections: connections?,
            initialise: initialise?,
        })
    }
}

impl Redis {
    pub(super) fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let fields = d.fields(field, &["host", "port", "username", "password", "db", "tls", "ca"])?;
        let address = d.need(&fields, "host", |d, f| d.parsed(f, host));
        let port = d.or(&fields, "port", 6379, Decoder::port);
        let username = d.or(&fields, "username", String::new(), |d, f| {
            let text = d.text(f)?;
            if text.is_empty() { Some(String::new()) } else { d.parsed(f, |text| user(text, 128)) }
        });
        let password = d.maybe(&fields, "password", Decoder::secret);
        if username.as_ref().is_some_and(|name| !name.is_empty()) && !fields.has("password") {
            d.note(field.at, &fields.path("password"), "is missing: a username needs one");
        }
        let db = d.or(&fields, "db", 0, |d, f| d.number(f, 0, u32::MAX));
        let guard = tls(d, &fields);
        let (tls, ca) = guard?;
        Some(Self { host: address?, port: port?, username: username?, password: password?, db: db?, tls, ca })
    }
}

fn kind(d: &mut Decoder, field: &Field<'_>) -> Option<DatabaseKind> {
    let known = [("mysql", DatabaseKind::Mysql), ("postgresql", DatabaseKind::Postgresql)];
    match d.text(field)? {
        "mariadb" => d.refuse(
            field,
            Mistake::new("\"mariadb\" is not one of mysql, postgresql")
                .hint("write mysql for Harbor 1.1 to 1.5; later ones need PostgreSQL"),
        ),
        "postgres" | "pgsql" => d.refuse(field, Mistake::new("must be mysql or postgresql").hint("write postgresql")),
        _ => d.choice(field, &known),
    }
}

/// `tls` and `ca`, which only `verify` uses.
fn tls(d: &mut Decoder, fields: &Fields<'_>) -> Option<(TlsMode, Option<SecretValue>)> {
    let tls = d.or(fields, "tls", TlsMode::Off, |d, f| match d.text(f)? {
        "false" | "no" => d.refuse(f, Mistake::new("must be off or verify").hint("write off")),
        "true" | "on" | "yes" | "require" => d.refuse(
            f,
            Mistake::new("must be off or verify").hint("write verify: TLS without verifying guards against nobody"),
        ),
        _ => d.choice(f, &[("off", TlsMode::Off), ("verify", TlsMode::Verify)]),
    });
    if tls == Some(TlsMode::Off) {
        let refusal = || Mistake::new("is only used with tls: verify").hint("set tls: verify or leave ca out");
        if d.unwanted(fields, "ca", refusal()) {
            return None;
        }
    }
    let ca = d.maybe(fields, "ca", Decoder::secret);
    Some((tls?, ca?))
}

fn user(text: &str, longest: usize) -> Result<String, Mistake> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.@$".contains(c);
    if text.is_empty() || text.len() > longest || !text.chars().all(plain) {
        return Err(Mistake::new(format!("must be a user name of 1 to {longest} letters, digits and _ - . @ $")));
    }
    Ok(text.to_owned())
}

fn name(text: &str) -> Result<String, Mistake> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !first || text.len() > 63 || !text.chars().all(plain) {
        return Err(Mistake::new("must be a database name: a letter, then letters, digits and _ -, 63 at most"));
    }
    Ok(text.to_owned())
}
