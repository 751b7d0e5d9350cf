//! Step `preflight`: database and Redis take the node's logins, and the database is one that this Harbor can use.

use std::path::Path;

use crate::bundle::{Bundle, DIRECTORY};
use crate::configure::LOCAL;
use crate::host::Host;
use crate::host::dial::Patience;
use crate::host::journal;
use crate::preflight::{self, Connection, DatabaseState, Fault, Schema};
use crate::secrets::Resolved;
use crate::share::{Used, nodes};
use crate::steps::proof::Expected;
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
    share: &Expected,
) -> Result<Database, Trouble> {
    // Now that the secrets are known: what a version cannot take must be said before the share's stamp says that the cluster is of it.
    bundle.fits(host, config, &|key| secrets.get(key).map(|secret| secret.expose().to_owned()))?;
    let mut doubts = Vec::new();
    let used = match &config.database {
        Service::External(database) => {
            let (state, mut connection) = check_database(host, database, secrets, bundle, &mut doubts)?;
            if let Some(pool) = database.connections {
                let pools = harbor::pools(config, &bundle.version);
                let allowed = preflight::allowed(&mut connection).map_err(told)?;
                doubts.extend(allowed.and_then(|allowed| too_many(pool, &pools, nodes(host, share), allowed)));
            }
            doubts.extend(clocks(host.now().as_secs(), state.clock)?);
            Used::from(state.in_use)
        }
        // Its container has made its own tables if it ever ran, and starts with Harbor.
        Service::Bundled if host.is_empty(&Path::new(LOCAL).join("database")).unwrap_or(false) => Used::No,
        Service::Bundled => Used::Perhaps,
    };
    if let Service::External(redis) = &config.redis {
        check_redis(host, redis, secrets, &share.instance)?;
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
) -> Result<(DatabaseState, Connection), Trouble> {
    let named = bundle.version.as_str();
    let said = |what: String| format!("database {}:{}: {what}", database.host, database.port);
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
    Ok((state, connection))
}

/// How many nodes the share has seen, with this one: one that comes for the first time has not left its file yet.
fn nodes(host: &Host, share: &Expected) -> usize {
    let (nodes, _) = nodes::all(host, Path::new(&share.mountpoint)).unwrap_or_default();
    let others = nodes.iter().filter(|node| node.instance != share.instance).count();
    others + 1
}

/// What to say where the database has less connections than the cluster's pools may open. It is no reason not to start: pools are
/// seldom full.
fn too_many(pool: u32, pools: &[&str], nodes: usize, allowed: u32) -> Option<String> {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let most = u64::from(pool).saturating_mul(number(pools.len())).saturating_mul(number(nodes));
    if most <= u64::from(allowed) {
        return None;
    }
    let nodes = match nodes {
        1 => "on this node".to_owned(),
        nodes => format!("on each of the {nodes} nodes that the share has seen"),
    };
    Some(format!(
        "the database allows {allowed} connections, and Harbor may open {most} (database.connections, {pool}, for each of {} \
         {nodes}): raise max_connections there, or lower database.connections; habuild-firstboot cluster lists the nodes",
        pools.join(", ")
    ))
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
    use crate::test_machine::TestMachine;

    #[test]
    fn pools_that_the_database_has_no_room_for() {
        let pools = ["core", "jobservice"];
        assert_eq!(too_many(50, &pools, 1, 100), None);
        assert_eq!(
            too_many(50, &pools, 1, 99).unwrap(),
            "the database allows 99 connections, and Harbor may open 100 (database.connections, 50, for each of core, jobservice \
             on this node): raise max_connections there, or lower database.connections; habuild-firstboot cluster lists the nodes"
        );
        let three = too_many(50, &pools, 3, 299).unwrap();
        assert!(
            three.contains("may open 300") && three.contains("on each of the 3 nodes that the share has"),
            "{three}"
        );
        assert_eq!(too_many(50, &pools, 3, 300), None);
        assert!(too_many(u32::MAX, &pools, usize::MAX, 1).is_some());
    }

    #[test]
    fn this_node_is_counted_once() {
        let machine = TestMachine::new();
        let share = Expected {
            mountpoint: "/srv/share".into(),
            cephfs: false,
            instance: "i-1".into(),
            cluster: "hub".into(),
            settled: None,
        };
        assert_eq!(nodes(&machine.host, &share), 1, "before anybody was seen");
        for (instance, count) in [("i-2", 2), ("i-1", 2), ("i-3", 3)] {
            nodes::Seen::now(&machine.host, instance, "v2.15.2").leave(&machine.host, Path::new("/srv/share")).unwrap();
            assert_eq!(nodes(&machine.host, &share), count, "{instance}");
        }
    }

    #[test]
    fn clocks_that_are_apart() {
        assert_eq!(clocks(1000, 1060), Ok(None));
        let doubt = clocks(1061, 1000).unwrap().unwrap();
        assert!(doubt.starts_with("this node's clock is 61 s ahead of the database server's: other nodes"), "{doubt}");
        let trouble = clocks(0, 1_767_225_600).unwrap_err();
        assert!(trouble.passing && trouble.message.contains("20454 days behind"), "{trouble}");
    }
}
