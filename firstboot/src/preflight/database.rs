//! The database of either kind: logged in to, looked at, and whether this Harbor can use it; and a look at MySQL.

use super::initialise::alone;
use super::mysql::Row;
use super::state::{DatabaseState, Fit, Schema};
use super::{Fault, Service, auth, mysql, postgres, secret};
use crate::host::Host;
use crate::host::dial::Patience;
use crate::secrets::Resolved;
use contract::harbor::Version;
use contract::schema::{Database, DatabaseKind};

/// A login to the database, of whichever kind it is.
#[derive(Debug)]
pub(crate) enum Connection {
    Mysql(mysql::Connection),
    Postgres(postgres::Connection),
}

/// Logs in as Harbor will.
pub(crate) fn connect(
    host: &Host,
    config: &Database,
    secrets: &Resolved,
    patience: Patience,
) -> Result<Connection, Fault> {
    let service = Service {
        key: "database",
        kind: match config.kind {
            DatabaseKind::Mysql => "MySQL or MariaDB",
            DatabaseKind::Postgresql => "PostgreSQL",
        },
        host: config.host.clone(),
        port: config.port,
        tls: None,
        patience,
    };
    let service = service.guarded(host, config.tls, secrets.get("database.ca"))?;
    let password = secret(&service, secrets, "database.password")?;
    let (user, name) = (&config.user, &config.name);
    Ok(match config.kind {
        DatabaseKind::Mysql => Connection::Mysql(mysql::Connection::open(service, user, password, name)?),
        DatabaseKind::Postgresql => Connection::Postgres(postgres::Connection::open(service, user, password, name)?),
    })
}

/// Looks at a database; one that cannot be written now is a fault.
pub(crate) fn inspect(connection: &mut Connection) -> Result<DatabaseState, Fault> {
    match connection {
        Connection::Mysql(connection) => inspect_mysql(connection),
        Connection::Postgres(connection) => postgres::inspect(connection),
    }
}

/// How many connections the server has for all who are no superusers; nothing where it does not tell.
pub(crate) fn allowed(connection: &mut Connection) -> Result<Option<u32>, Fault> {
    let rows = match connection {
        Connection::Mysql(connection) => connection.rows("SELECT @@max_connections")?,
        Connection::Postgres(connection) => connection.rows(
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int",
        )?,
    };
    Ok(rows.first().and_then(|row| cell(row, 0)?.parse().ok()))
}

/// Whether Harbor of a version can use a database of the kind that it needs; says why not.
pub(crate) fn fits(harbor: &str, config: &Database, state: &DatabaseState) -> Result<Fit, String> {
    match state.kind {
        DatabaseKind::Mysql => mysql_fits(harbor, state).map(|()| Fit::default()),
        DatabaseKind::Postgresql => postgres::fits(numbers(harbor)?, harbor, config, state),
    }
}

fn numbers(harbor: &str) -> Result<(u32, u32, u32), String> {
    let version =
        Version::parse(harbor).ok_or_else(|| format!("Harbor {harbor}: which database it needs is not known"));
    Ok(version?.numbers())
}

pub(super) fn inspect_mysql(connection: &mut mysql::Connection) -> Result<DatabaseState, Fault> {
    can_be_written(connection)?;
    let (mut schema, mut tables) = look(connection)?;
    if schema == Schema::Foreign {
        // Another node may be loading the schema: what is there once none does is what counts.
        (schema, tables) = alone(connection, look)?;
    }
    let mut in_use = false;
    for table in ["repository", "replication_target"] {
        if !tables.iter().any(|name| name == table) {
            continue;
        }
        in_use |= !connection.rows(&format!("SELECT 1 FROM {table} LIMIT 1"))?.is_empty();
    }
    if matches!(schema, Schema::Harbor { .. }) {
        // They change no row, and need the rights that changing one needs.
        for statement in [
            "INSERT INTO repository SELECT * FROM repository WHERE 1 = 0",
            "UPDATE repository SET name = name WHERE 1 = 0",
        ] {
            connection.rows(statement)?;
        }
    }
    let clock = connection.rows("SELECT UNIX_TIMESTAMP()")?;
    let clock = clock.first().and_then(|row| cell(row, 0)?.parse().ok());
    let clock = clock.ok_or_else(|| connection.service().server("it does not tell the time"))?;
    let (server, method) = (connection.version.clone(), connection.method.clone());
    Ok(DatabaseState {
        kind: DatabaseKind::Mysql,
        server,
        release: 0,
        schema,
        unchangeable: None,
        in_use,
        method,
        clock,
    })
}

/// The schema, and the names of the tables.
fn look(connection: &mut mysql::Connection) -> Result<(Schema, Vec<String>), Fault> {
    let tables = connection.rows(
        "SELECT LOWER(table_name) FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1 LIMIT 500",
    )?;
    let tables: Vec<String> = tables.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
    let has = |name: &&str| tables.iter().any(|table| table == name);
    let schema = if tables.is_empty() {
        Schema::Empty
    } else if ["project", "repository", "user", "alembic_version"].iter().all(has) {
        let rows = connection.rows("SELECT version_num FROM alembic_version LIMIT 1")?;
        // The script's last statement writes it: without it the script was cut off.
        let version = rows.first().and_then(|row| cell(row, 0));
        version.map_or(Schema::Foreign, |version| Schema::Harbor { version: super::words(version) })
    } else {
        Schema::Foreign
    };
    Ok((schema, tables))
}

/// A replica, or a member of a cluster that has lost the others, takes logins too.
fn can_be_written(connection: &mut mysql::Connection) -> Result<(), Fault> {
    let variables =
        connection.rows("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'super_read_only', 'wsrep_on')")?;
    let on = |rows: &[Row], name: &str| {
        let value = rows.iter().find(|row| cell(row, 0) == Some(name)).and_then(|row| cell(row, 1));
        // MariaDB names kinds of read-only besides ON.
        value.is_some_and(|value| !value.is_empty() && !matches!(value, "OFF" | "0"))
    };
    if on(&variables, "read_only") || on(&variables, "super_read_only") {
        return Err(connection.service().server("it is read-only, as a replica is").advice("use the primary"));
    }
    if on(&variables, "wsrep_on") {
        let status = connection.rows("SHOW GLOBAL STATUS WHERE Variable_name = 'wsrep_ready'")?;
        if !on(&status, "wsrep_ready") {
            let fault = connection.service().server("this member of the Galera cluster is not ready");
            return Err(fault.advice("look at wsrep_cluster_status there"));
        }
    }
    Ok(())
}

fn cell(row: &Row, index: usize) -> Option<&str> {
    row.get(index)?.as_deref()
}

/// Whether Harbor up to 1.5 can use a database; says why not.
///
/// 1.3 to 1.5 refuse every schema but their own. 1.1, whose schema is called 0.4.0, and 1.2 look at nothing and fail
/// later: here they are held to the same.
pub(super) fn mysql_fits(harbor: &str, state: &DatabaseState) -> Result<(), String> {
    let (major, minor, _) = numbers(harbor)?;
    // Their driver is older than the other methods.
    if state.method != auth::NATIVE {
        return Err(format!(
            "Harbor {harbor} can log in with {} only, and the user's method is {} (ALTER USER … IDENTIFIED WITH {0})",
            auth::NATIVE,
            state.method
        ));
    }
    let found = match &state.schema {
        Schema::Empty => {
            return Err("the database has no tables: load Harbor's schema, or set database.initialise: true".to_owned());
        }
        Schema::Foreign | Schema::Dirty { .. } => {
            return Err("the database has tables, but not all of Harbor's: another program uses it, or loading the \
                        schema was cut off (then drop the database and create it again)"
                .to_owned());
        }
        Schema::Harbor { version } => version,
    };
    let differs = |why: &str| Err(format!("the database's schema is {found}, Harbor {harbor} {why}"));
    let least = if minor < 2 { (0, 4) } else { (major, minor) };
    match version(found) {
        None => differs("does not know it: use the image that the other nodes use"),
        Some(found) if found > (major, minor) => differs("is older: use an image of the schema's version"),
        Some(found) if found < least => {
            differs("is newer: migrate it first (harbor-db-migrator), while no node of the cluster runs")
        }
        Some(_) => Ok(()),
    }
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_fit_as_harbor_checks_them() {
        let harbor = |version: &str| Schema::Harbor { version: version.to_owned() };
        for (version, schema, expected) in [
            ("v1.1.2", harbor("0.4.0"), None),
            ("v1.1.2-stand-in", harbor("1.1.0"), None),
            ("v1.1.2", harbor("0.3.0"), Some("is newer: migrate it first")),
            ("v1.1.2", harbor("1.2.0"), Some("schema is 1.2.0, Harbor v1.1.2 is older")),
            ("v1.2.0", harbor("0.4.0"), Some("is newer: migrate it first")),
            ("v1.2.0", harbor("1.2.0"), None),
            ("v1.3.0", harbor("1.3.0"), None),
            ("v1.5.4", harbor("1.5.0"), None),
            ("v1.5.4", harbor("1.4.0"), Some("is newer: migrate it first")),
            ("v1.4.0", harbor("1.5.0"), Some("is older")),
            ("v1.5.4", harbor("9d1c6a7c"), Some("does not know it")),
            ("latest", harbor("1.1.0"), Some("is not known")),
            ("v1.1.2", Schema::Empty, Some("has no tables")),
            ("v1.1.2", Schema::Foreign, Some("not all of Harbor's")),
        ] {
            let method = auth::NATIVE.to_owned();
            let state = DatabaseState {
                kind: DatabaseKind::Mysql,
                server: "x".into(),
                release: 0,
                schema,
                unchangeable: None,
                in_use: false,
                method,
                clock: 0,
            };
            match (mysql_fits(version, &state), expected) {
                (Ok(()), None) => {}
                (Err(said), Some(expected)) => assert!(said.contains(expected), "{said}"),
                (outcome, _) => panic!("{version} on {:?}: {outcome:?}", state.schema),
            }
            let method = "caching_sha2_password".to_owned();
            assert!(mysql_fits(version, &DatabaseState { method, ..state }).is_err());
        }
    }
}
