//! Preflight: the database and Redis are reached and logged in to as Harbor will, before Harbor is started.
//!
//! Invariant: no message holds a password; server's words are cut and cleaned before they are repeated.

mod auth;
mod database;
mod initialise;
mod mysql;
mod postgres;
mod redis;
mod resp;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

#[cfg(test)]
use self::redis::RedisState;
pub(crate) use self::{
    database::{Connection, allowed, connect, fits, inspect},
    initialise::initialise,
    redis::check,
    state::{DatabaseState, Schema},
};
use crate::host::Host;
use crate::host::dial::{Failure, Patience, Wire};
use crate::host::{dial, trust};
use crate::secrets::{Resolved, Secret};
use contract::schema::TlsMode;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// What lies between node and server.
    Network,
    /// The server as it is now.
    Server,
    /// The node config, or what the server was set up to allow.
    Config,
}

/// What is wrong with a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Such as `database db.internal:3306`.
    pub(crate) subject: String,
    pub(crate) what: String,
    pub(crate) advice: Option<String>,
    pub(crate) side: Side,
    /// Whether it may pass without a change of the node config or of the server's set-up.
    pub(crate) recoverable: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, ": {advice}"))
    }
}

impl std::error::Error for Fault {}

/// A server of the node config.
#[derive(Debug, Clone)]
struct Service {
    /// Its part of the node config: `database` or `redis`.
    key: &'static str,
    /// What it is to speak, in words.
    kind: &'static str,
    host: String,
    port: u16,
    /// With what servers are verified; none: no TLS.
    tls: Option<Arc<ClientConfig>>,
    patience: Patience,
}

impl Service {
    /// With the authority of `ca`, else those of the system.
    fn guarded(mut self, host: &Host, tls: TlsMode, ca: Option<&Secret>) -> Result<Self, Fault> {
        if tls == TlsMode::Off {
            return Ok(self);
        }
        let authorities = match ca {
            Some(pem) => trust::certificates(pem.expose().as_bytes()),
            None => trust::system(host),
        };
        let client = authorities.and_then(trust::client).map_err(|what| match ca {
            Some(_) => self.config(format!("{}.ca {what}", self.key)),
            None => self.config(what).advice(format!("give {}.ca", self.key)),
        })?;
        self.tls = Some(client);
        Ok(self)
    }

    fn connect(&self) -> Result<Wire, Fault> {
        dial::connect(&self.host, self.port, self.patience).map_err(|failure| match failure {
            Failure::TimedOut => self
                .fault(Side::Network, true, "no answer in time")
                .advice("check the way there: routes, security groups, firewalls"),
            other => self.failed(other),
        })
    }

    fn fault(&self, side: Side, recoverable: bool, what: impl Into<String>) -> Fault {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let subject = format!("{} {host}:{}", self.key, self.port);
        Fault { subject, what: what.into(), advice: None, side, recoverable }
    }

    /// The node config's fault, or the set-up's.
    fn config(&self, what: impl Into<String>) -> Fault {
        self.fault(Side::Config, false, what)
    }

    /// The server's fault, which may pass.
    fn server(&self, what: impl Into<String>) -> Fault {
        self.fault(Side::Server, true, what)
    }

    fn failed(&self, failure: impl Into<Failure>) -> Fault {
        let network = |what: &str| self.fault(Side::Network, true, what);
        match failure.into() {
            // It passes where the name server is not up yet.
            Failure::Name => network("the name is not known").advice(format!("check {}.host", self.key)),
            Failure::Refused => network("nobody listens there")
                .advice(format!("start the server, or check {0}.host and {0}.port", self.key)),
            Failure::TimedOut => self.server("it takes connections, but does not answer in time").advice(
                "is it overloaded, or held up by a lock? If others reach it, check firewalls between it and this node",
            ),
            Failure::Closed if self.tls.is_none() => self
                .server("it closed the connection")
                .advice(format!("look at its log; does it take TLS only? {}.tls says how this node speaks", self.key)),
            Failure::Closed => self.server("it closed the connection"),
            Failure::Other(words) => network(&format!("cannot be reached: {words}")),
            Failure::Tls(fault) => {
                let advice = fault.advice(&format!("{}.ca", self.key));
                Fault { advice, ..self.fault(Side::Config, fault.recoverable, fault.what) }
            }
        }
    }

    /// What answers is not what should be there.
    fn not_it(&self) -> Fault {
        self.config(format!("what answers there is not {}", self.kind)).advice(format!("check {}.port", self.key))
    }
}

impl Fault {
    fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

/// A server's words as a message may repeat them.
fn words(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    clean.trim().to_owned()
}

/// The secret of a key, which the step before resolved.
fn secret<'s>(service: &Service, secrets: &'s Resolved, key: &str) -> Result<&'s Secret, Fault> {
    secrets.get(key).ok_or_else(|| service.config(format!("{key} was not resolved")))
}
