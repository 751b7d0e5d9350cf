//! Preflight against real servers, each a process of the test's own on loopback, and against what is no such server.
//!
//! No message may hold a password: every password here holds the word that `said` looks for.

mod mariadb;
mod postgres;
mod postgres_pretenders;
mod pretenders;
mod redis_server;
mod servers;

use std::time::Duration;

use super::*;
use crate::secrets::{Answers, resolve_all};
use contract::schema::{self, NodeConfig};

/// A node config with these services; the values are YAML.
fn config(database: &str, redis: &str) -> (NodeConfig, Resolved) {
    config_of("mysql", database, redis)
}

fn config_of(kind: &str, database: &str, redis: &str) -> (NodeConfig, Resolved) {
    let text = format!(
        "version: 1\ncluster: hub\nharbor: {{external_url: http://hub, admin_password: x}}\nstorage: {{local: {{path: \
         /var/lib/harbor/share}}}}\ndatabase: {{kind: {kind}, {database}}}\nredis: {{{redis}}}\n"
    );
    let config = schema::parse(&text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"));
    let attempt = resolve_all(&nowhere(), &config, &Answers::default());
    assert_eq!(attempt.errors, []);
    (config, attempt.resolved)
}

/// A PEM text as a value of YAML.
fn quoted(pem: &str) -> String {
    format!("{pem:?}")
}

/// A machine without files.
fn nowhere() -> Host {
    Host::new(std::path::Path::new("/nonexistent"))
}

fn patience() -> Patience {
    Patience { connect: Duration::from_secs(5), total: Duration::from_secs(20) }
}

/// Fails unless a fault says this, in this way.
fn said<T: fmt::Debug>(outcome: Result<T, Fault>, side: Side, recoverable: bool, words: &str) {
    let fault = outcome.expect_err(words);
    let text = format!("{fault} {fault:?}");
    assert!(text.contains(words), "wanted {words}: {text}");
    assert_eq!((fault.side, fault.recoverable), (side, recoverable), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}
