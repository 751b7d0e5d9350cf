//! Step `preflight`: database and Redis take the node's logins, and the database is one that this Harbor can use.

use std::path::Path;

use crate::bundle::{Bundle, DIRECTORY};
use crate::configure::LOCAL;
use crate::host::Host;
use crate::host::dial::Patience;
use crate::host::journal;
use crate::preflight::{self, Fault, Schema};
use crate::secrets::Resolved;
use crate::trouble::Trouble;
use contract::schema::{self, NodeConfig, Redis, Service};

/// What was found out about the database.
pub(super) struct Database {
    /// Whether it knows repositories.
    pub(super) used: bool,
}

/// Bundles that bring the schema have it there (1.4 and 1.5).
const SCRIPT: &str = "ha/registry.sql";

/// Logs in to both.
pub(super) fn check(
    host: &Host,
    config: &NodeConfig,
    secrets: &Resolved,
    bundle: &Bundle,
    instance: &str,
) -> Result<Database, Trouble> {
    let used = match &config.database {
        Service::External(database) => check_database(host, database, secrets, bundle)?,
        // Its container has made its own tables if it ever ran, and starts with Harbor.
        Service::Bundled => host.exists(&Path::new(LOCAL).join("database/mysql")),
    };
    if let Service::External(redis) = &config.redis {
        check_redis(host, redis, secrets, instance)?;
    }
    Ok(Database { used })
}

/// Whether the database knows repositories.
fn check_database(
    host: &Host,
    database: &schema::Database,
    secrets: &Resolved,
    bundle: &Bundle,
) -> Result<bool, Trouble> {
    let mut connection = preflight::connect(host, database, secrets, Patience::default()).map_err(told)?;
    let mut state = preflight::inspect(&mut connection).map_err(told)?;
    if state.schema == Schema::Empty && database.initialise {
        let script = host.read(&Path::new(DIRECTORY).join(SCRIPT)).map_err(|_| {
            Trouble::lasting(format!("database.initialise: Harbor {} brings no schema script", bundle.version))
                .hint("load the schema by hand: it is registry.sql in the image harbor-db")
        })?;
        let text = String::from_utf8_lossy(&script.bytes).into_owned();
        if preflight::initialise(&mut connection, &text).map_err(told)? {
            journal::say("loaded Harbor's schema into the database");
        }
        state = preflight::inspect(&mut connection).map_err(told)?;
    }
    let misfit = |what: String| {
        let message = format!("database {}:{}: {what}", database.host, database.port);
        // An empty database may be about to get its tables.
        if state.schema == Schema::Empty { Trouble::passing(message) } else { Trouble::lasting(message) }
    };
    preflight::fits(bundle.version.as_str(), &state).map_err(misfit)?;
    let use_of = if state.in_use { "in use" } else { "not used yet" };
    journal::say(&format!("database: server {}, {use_of}", state.server));
    Ok(state.in_use)
}

fn check_redis(host: &Host, redis: &Redis, secrets: &Resolved, instance: &str) -> Result<(), Trouble> {
    let state = preflight::check(host, redis, secrets, instance, Patience::default()).map_err(told)?;
    journal::say(&format!(
        "redis: server {}",
        state.version.as_deref().unwrap_or("of a version that it does not tell")
    ));
    Ok(())
}

fn told(fault: Fault) -> Trouble {
    let Fault { subject, what, advice, recoverable, .. } = fault;
    let message = format!("{subject}: {what}");
    let trouble = if recoverable { Trouble::passing(message) } else { Trouble::lasting(message) };
    match advice {
        Some(advice) => trouble.hint(advice),
        None => trouble,
    }
}
