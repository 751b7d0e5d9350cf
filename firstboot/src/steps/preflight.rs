//! Step `preflight`: database and Redis take the node's logins, and the database is one that this Harbor can use.

use std::path::Path;

use crate::bundle::{Bundle, DIRECTORY};
use crate::host::Host;
use crate::host::dial::Patience;
use crate::host::journal;
use crate::preflight::{self, Fault, Schema};
use crate::secrets::Resolved;
use crate::trouble::Trouble;
use contract::schema::NodeConfig;

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
    let patience = Patience::default();
    let mut connection = preflight::connect(host, &config.database, secrets, patience).map_err(told)?;
    let mut state = preflight::inspect(&mut connection).map_err(told)?;
    if state.schema == Schema::Empty && config.database.initialise {
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
        let message = format!("database {}:{}: {what}", config.database.host, config.database.port);
        // An empty database may be about to get its tables.
        if state.schema == Schema::Empty { Trouble::passing(message) } else { Trouble::lasting(message) }
    };
    preflight::fits(bundle.version.as_str(), &state).map_err(misfit)?;
    let redis = preflight::check(host, &config.redis, secrets, instance, patience).map_err(told)?;
    journal::say(&format!(
        "database: server {}, {}; redis: server {}",
        state.server,
        if state.in_use { "in use" } else { "not used yet" },
        redis.version.as_deref().unwrap_or("of a version that it does not tell")
    ));
    Ok(Database { used: state.in_use })
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
