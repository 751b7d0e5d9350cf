//! What a PostgreSQL database is, and what Harbor has in it.

use super::refusal::{name, owner};
use super::{Connection, Error, Fault, cell};
use crate::preflight::state::{DatabaseState, Schema};
use crate::preflight::words;
use contract::schema::DatabaseKind;

/// One row: the columns stand in `Server`'s order.
const SERVER: &str = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), \
                      current_setting('server_version_num'), floor(extract(epoch FROM clock_timestamp()))::bigint, \
                      current_schema(), has_schema_privilege(current_schema(), 'CREATE')";

/// Tables of Harbor's whose rows a new cluster does not have, and what of a row says so. Each holds what is encrypted or
/// signed with the cluster's secrets, or images (`make/migrations/postgresql` up to v2.15.2; `<enc-v1>` is from
/// `src/common/utils/encrypt.go`).
const USED: [(&str, &str); 7] = [
    ("repository", "true"),
    ("registry", "true"),
    ("replication_target", "true"),
    ("robot", "true"),
    ("oidc_user", "true"),
    ("p2p_preheat_instance", "true"),
    ("properties", "v LIKE '<enc-v1>%'"),
];

/// Looks at a database; one that cannot be written now, or whose schema another node is changing, is a fault.
pub(in crate::preflight) fn inspect(connection: &mut Connection) -> Result<DatabaseState, Fault> {
    let rows = connection.rows(SERVER)?;
    let row = rows.first().ok_or_else(|| connection.fault(Error::Odd))?;
    let is = |index, value| cell(row, index) == Some(value);
    if is(0, "t") {
        return Err(connection.service.server("it is a replica, which cannot be written to").advice("use the primary"));
    }
    if is(1, "on") {
        let fault = connection.service.server("it is read-only");
        return Err(fault.advice("use the primary, or look at default_transaction_read_only there"));
    }
    let number = |index| cell(row, index).and_then(|text| text.parse::<u64>().ok());
    let release = number(2).and_then(|release| u32::try_from(release).ok());
    let (Some(release), Some(clock)) = (release, number(3)) else { return Err(connection.fault(Error::Odd)) };
    let Some(schema) = cell(row, 4).map(words) else { return Err(no_schema(connection)) };
    let may_create = is(5, "t");

    let (tables, others) = tables(connection)?;
    let kept = look(connection, &tables)?;
    if matches!(kept, Schema::Harbor { .. }) {
        // They change no row, and need the rights that changing one needs.
        for statement in [
            "INSERT INTO repository SELECT * FROM repository WHERE false",
            "UPDATE repository SET name = name WHERE false",
        ] {
            connection.rows(statement)?;
        }
    }
    let harbor = matches!(kept, Schema::Harbor { .. } | Schema::Dirty { .. });
    let unchangeable = unchangeable(connection, &schema, may_create, others.filter(|_| harbor));
    Ok(DatabaseState {
        kind: DatabaseKind::Postgresql,
        server: connection.version.clone(),
        release,
        schema: kept,
        unchangeable,
        in_use: in_use(connection, &tables)?,
        method: connection.method.to_owned(),
        clock,
    })
}

fn no_schema(connection: &Connection) -> Fault {
    let Connection { service, user, database, .. } = connection;
    let fault = service.config(format!("user {user} has no schema in the database {database} to make tables in"));
    fault.advice(format!("there, in that database: GRANT USAGE, CREATE ON SCHEMA public TO {}", name(user)))
}

/// Why this user cannot make or change Harbor's tables, and what to do.
fn unchangeable(connection: &Connection, schema: &str, may_create: bool, other: Option<String>) -> Option<String> {
    let Connection { user, database, .. } = connection;
    if !may_create {
        // Before 15, PUBLIC could.
        return Some(format!(
            "user {user} may not make tables in the schema {schema} (since PostgreSQL 15 only the database's owner may): \
             there, {}, or, in that database, GRANT USAGE, CREATE ON SCHEMA {} TO {}",
            owner(user, database),
            name(schema),
            name(user)
        ));
    }
    let other = other?;
    Some(format!(
        "user {user} may not change Harbor's tables, which belong to {other}: there, in that database, REASSIGN OWNED BY \
         {} TO {}",
        name(&other),
        name(user)
    ))
}

/// The names of the tables where Harbor's are or will be, and one who owns some of them and is not this user.
fn tables(connection: &mut Connection) -> Result<(Vec<String>, Option<String>), Fault> {
    let rows = connection.rows(
        "SELECT tablename, tableowner, pg_has_role(tableowner, 'USAGE') FROM pg_tables WHERE schemaname = \
         current_schema() ORDER BY 1 LIMIT 500",
    )?;
    let other = rows.iter().find(|row| cell(row, 2) == Some("f")).and_then(|row| cell(row, 1)).map(words);
    Ok((rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect(), other))
}

/// Which schema the tables are. Harbor keeps its version in `schema_migrations`, as golang-migrate makes it; the tables
/// that every version from 1.6 on has tell it from another program that does (`make/migrations/postgresql`).
fn look(connection: &mut Connection, tables: &[String]) -> Result<Schema, Fault> {
    let has = |name: &&str| tables.iter().any(|table| table == name);
    if tables.is_empty() {
        return Ok(Schema::Empty);
    }
    if !has(&"schema_migrations") {
        return Ok(Schema::Foreign);
    }
    let harbor = ["project", "repository", "harbor_user"].iter().all(has);
    let alone = tables.len() == 1;
    Ok(match migration(connection)? {
        // The table is made before the first migration.
        None if alone => Schema::Empty,
        Some((version, true)) if harbor || alone => settled(connection, version)?,
        Some((version, false)) if harbor => Schema::Harbor { version },
        _ => Schema::Foreign,
    })
}

/// The version, and whether the migration to it was begun and not ended.
fn migration(connection: &mut Connection) -> Result<Option<(String, bool)>, Fault> {
    let rows = connection.rows("SELECT version, dirty FROM schema_migrations LIMIT 1")?;
    Ok(rows.first().and_then(|row| Some((words(cell(row, 0)?), cell(row, 1)? == "t"))))
}

/// What a begun migration is: one that another node is at, or one that was cut off.
///
/// Who migrates holds an advisory lock of its session (golang-migrate's `database/postgres`), and Harbor takes no
/// other. Who ended in between has said so by the second look.
fn settled(connection: &mut Connection, version: String) -> Result<Schema, Fault> {
    let locks = connection.rows(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database \
         WHERE datname = current_database()) LIMIT 1",
    )?;
    if !locks.is_empty() {
        let fault = connection.service.server(format!("another node is migrating the schema (to {version})"));
        return Err(fault.advice("if none is, look for who holds the advisory lock: pg_stat_activity, pg_locks there"));
    }
    Ok(match migration(connection)? {
        Some((version, false)) => Schema::Harbor { version },
        Some((version, true)) => Schema::Dirty { version },
        None => Schema::Dirty { version },
    })
}

fn in_use(connection: &mut Connection, tables: &[String]) -> Result<bool, Fault> {
    for (table, rows) in USED {
        let there = tables.iter().any(|name| name == table);
        if there && !connection.rows(&format!("SELECT 1 FROM {table} WHERE {rows} LIMIT 1"))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
