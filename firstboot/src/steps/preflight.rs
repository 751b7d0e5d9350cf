//! Step `preflight`: database and Redis take the node's logins, and the database is one that this Harbor can use.

use std::path::Path;

use crate::bundle::{Bundle, DIRECTORY};
use crate::configure::LOCAL;
use crate::host::Host;
use crate::host::dial::Patience;
use crate::host::journal;
use crate::preflight::{self, Connection, DatabaseState, Fault, Schema};
use crate::secrets::Resolved;
use crate::share::Used;
use crate::trouble::Trouble;
use contract::harbor;
use contract::schema::{self, DatabaseKind, NodeConfig, Redis, Service};

/// What was found out about the database.
pub(super) struct Database {
    pub(super) used: Used,
    /// What is no reason not to start, but to be told, in words.
    pub(super) doubts: Vec<String>,
}

/// The registry forgives so much between the clock of who signs a token and its own (Docker's distribution 2.6,
/// `registry/auth/token/token.go`).
const FORGIVEN: u64 = 60;
/// A clock that is so far off has not been set.
const UNSET: u64 = 24 * 3600;

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
    let mut doubts = Vec::new();
    let used = match &config.database {
        Service::External(database) => {
            let state = check_database(host, database, secrets, bundle, &mut doubts)?;
            doubts.extend(clocks(host.now().as_secs(), state.clock)?);
            Used::from(state.in_use)
        }
        // Its container has made its own tables if it ever ran, and starts with Harbor.
        Service::Bundled if host.is_empty(&Path::new(LOCAL).join("database")).unwrap_or(false) => Used::No,
        Service::Bundled => Used::Perhaps,
    };
    if let Service::External(redis) = &config.redis {
        check_redis(host, redis, secrets, instance)?;
    }
    Ok(Database { used, doubts })
}

/// Compares this node's clock with the database's, which is every node's: a token's times are those of the node that signs it.
fn clocks(here: u64, there: u64) -> Result<Option<String>, Trouble> {
    let apart = here.abs_diff(there);
    if apart <= FORGIVEN {
        return Ok(None);
    }
    let side = if here > there { "ahead of" } else { "behind" };
    let length = if apart >= UNSET { format!("{} days", apart / UNSET) } else { format!("{apart} s") };
    let message = format!("this node's clock is {length} {side} the database server's");
    if apart < UNSET {
        return Ok(Some(format!("{message}: other nodes may refuse the tokens of this one (timedatectl)")));
    }
    Err(Trouble::passing(message).hint("set the one that is wrong; here: timedatectl"))
}

/// The database, which this Harbor can use.
fn check_database(
    host: &Host,
    database: &schema::Database,
    secrets: &Resolved,
    bundle: &Bundle,
    doubts: &mut Vec<String>,
) -> Result<DatabaseState, Trouble> {
    let named = bundle.version.as_str();
    let said = |what: String| format!("database {}:{}: {what}", database.host, database.port);
    // Before a login that would say nothing of it.
    harbor::check_database_password(&bundle.version, secrets.need("database.password")?)?;
    let mut connection = preflight::connect(host, database, secrets, Patience::default()).map_err(told)?;
    let mut state = preflight::inspect(&mut connection).map_err(told)?;
    // From 1.6 on core makes its tables itself.
    if let Connection::Mysql(mysql) = &mut connection
        && state.schema == Schema::Empty
        && database.initialise
    {
        let script = host.read(&Path::new(DIRECTORY).join(SCRIPT)).map_err(|_| {
            Trouble::lasting(format!("database.initialise: Harbor {named} brings no schema script"))
                .hint("load the schema by hand: it is registry.sql in the image harbor-db")
        })?;
        let text = String::from_utf8_lossy(&script.bytes).into_owned();
        if preflight::initialise(mysql, &text).map_err(told)? {
            journal::say("loaded Harbor's schema into the database");
        }
        state = preflight::inspect(&mut connection).map_err(told)?;
    }
    // A database of MySQL's without tables may be about to get them.
    let passing = state.kind == DatabaseKind::Mysql && state.schema == Schema::Empty;
    let fit = preflight::fits(named, database, &state).map_err(|what| match passing {
        true => Trouble::passing(said(what)),
        false => Trouble::lasting(said(what)),
    })?;
    if let Some(note) = fit.note {
        journal::say(&said(note));
    }
    doubts.extend(fit.doubt);
    let use_of = if state.in_use { "in use" } else { "not used yet" };
    journal::say(&format!("database: server {}, {use_of}", state.server));
    Ok(state)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_apart() {
        assert_eq!(clocks(1000, 1060), Ok(None));
        let doubt = clocks(1061, 1000).unwrap().unwrap();
        assert!(doubt.starts_with("this node's clock is 61 s ahead of the database server's: other nodes"), "{doubt}");
        let trouble = clocks(0, 1_767_225_600).unwrap_err();
        assert!(trouble.passing && trouble.message.contains("20454 days behind"), "{trouble}");
    }
}
