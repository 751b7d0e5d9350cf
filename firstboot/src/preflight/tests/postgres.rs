//! PostgreSQL: logins, and what is seen of its tables.

use super::servers::Server;
use super::*;
use crate::preflight::database::connect;
use crate::preflight::postgres;
use crate::test_authority::Authority;

const HBA: &str = "host all admin,trusted 127.0.0.1/32 trust
hostssl all harbor,plain 127.0.0.1/32 password
host all plain 127.0.0.1/32 password
host all old 127.0.0.1/32 md5
host all rejected 127.0.0.1/32 reject
hostssl all guarded 127.0.0.1/32 scram-sha-256
host all harbor,reader,writer,locked,limited,absent 127.0.0.1/32 scram-sha-256
";

const SETUP: &str = "CREATE ROLE harbor LOGIN PASSWORD 's3cret-harbor'
CREATE ROLE reader LOGIN PASSWORD 's3cret-x'
CREATE ROLE writer LOGIN PASSWORD 's3cret-x'
CREATE ROLE plain LOGIN PASSWORD 's3cret-x'
CREATE ROLE rejected LOGIN PASSWORD 's3cret-x'
CREATE ROLE stranger LOGIN PASSWORD 's3cret-x'
CREATE ROLE guarded LOGIN PASSWORD 's3cret-x'
CREATE ROLE trusted LOGIN
CREATE ROLE locked NOLOGIN PASSWORD 's3cret-x'
CREATE ROLE limited LOGIN PASSWORD 's3cret-x' CONNECTION LIMIT 0
SET password_encryption = 'md5'
CREATE ROLE old LOGIN PASSWORD 's3cret-x'
CREATE DATABASE registry OWNER harbor
CREATE DATABASE other OWNER harbor
CREATE DATABASE bare OWNER admin
CREATE DATABASE closed
REVOKE CONNECT ON DATABASE closed FROM PUBLIC
CREATE DATABASE frozen ALLOW_CONNECTIONS false";

/// In the form of Harbor's tables, with few columns.
const TABLES: &str = "CREATE TABLE project (project_id int PRIMARY KEY, name varchar(255))
CREATE TABLE repository (repository_id int PRIMARY KEY, name varchar(255))
CREATE TABLE harbor_user (user_id int PRIMARY KEY, username varchar(255))
CREATE TABLE registry (id int PRIMARY KEY, access_secret varchar(4096))
CREATE TABLE properties (k varchar(64), v varchar(1024))
INSERT INTO harbor_user VALUES (1, 'admin')
INSERT INTO properties VALUES ('self_registration', 'false')";

struct Login<'s> {
    server: &'s Server,
    user: &'s str,
    password: &'s str,
    name: &'s str,
    more: String,
}

impl<'s> Login<'s> {
    fn harbor(server: &'s Server) -> Self {
        Self { server, user: "harbor", password: "s3cret-harbor", name: "registry", more: String::new() }
    }

    fn admin(server: &'s Server, name: &'s str) -> Self {
        Self { user: "admin", password: "s3cret-admin", name, ..Self::harbor(server) }
    }

    fn database(&self) -> (schema::Database, Resolved) {
        let Self { server, user, password, name, more } = self;
        let port = server.port;
        let database =
            format!("host: 127.0.0.1, port: {port}, user: {user}, password: \"{password}\", name: {name}{more}");
        let (config, secrets) = config_of("postgresql", &database, "host: x");
        (config.database.external().unwrap().clone(), secrets)
    }

    fn open(&self) -> Result<postgres::Connection, Fault> {
        let (database, secrets) = self.database();
        match connect(&nowhere(), &database, &secrets, patience())? {
            Connection::Postgres(connection) => Ok(connection),
            Connection::Mysql(_) => panic!("kind: postgresql"),
        }
    }

    fn look(&self) -> Result<DatabaseState, Fault> {
        postgres::inspect(&mut self.open()?)
    }

    fn run(&self, statements: &str) {
        let mut connection = self.open().unwrap();
        for statement in statements.lines() {
            connection.rows(statement).unwrap();
        }
    }
}

#[test]
fn a_database_is_logged_in_to_and_looked_at() {
    let server = Server::postgres(tempfile::tempdir().unwrap(), HBA, &[]);
    Login::admin(&server, "postgres").run(SETUP);
    logins(&server);
    refusals(&server);
    rights(&server);
    migrations(&server);
    tables_of_others(&server);

    let registry = Login::admin(&server, "registry");
    registry.run("ALTER DATABASE registry SET default_transaction_read_only = on");
    said(Login::harbor(&server).look(), Side::Server, true, "it is read-only: use the primary, or look at default_");
}

/// Ways to show a password.
fn logins(server: &Server) {
    let login = |user, password| Login { user, password, name: "other", ..Login::harbor(server) };
    for (login, method) in [
        (Login::harbor(server), "scram-sha-256"),
        (login("old", "s3cret-x"), "md5"),
        (login("trusted", "s3cret-x"), "trust"),
    ] {
        let state = login.look().unwrap();
        assert_eq!((state.schema, state.in_use, state.method.as_str()), (Schema::Empty, false, method));
        assert!(state.server.starts_with(&(state.release / 10_000).to_string()), "{} {}", state.server, state.release);
        assert!(state.clock > 1_700_000_000, "{}", state.clock);
    }
    let mut connection = Login::harbor(server).open().unwrap();
    let rows = connection.rows("SELECT 'a', NULL, 'é' UNION ALL SELECT '', '', ''").unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(rows, [vec![text("a"), None, text("é")], vec![text(""); 3]]);
    let mut either = Connection::Postgres(Login::harbor(server).open().unwrap());
    assert_eq!(allowed(&mut either), Ok(Some(97)), "a hundred, of which three are the superusers'");
    // A refusal does not end the connection.
    said(connection.rows("SELECT 1 FROM absent"), Side::Server, true, "error 42P01");
    assert_eq!(connection.rows("").unwrap(), [] as [postgres::Row; 0]);
    let end = connection.rows("SELECT pg_terminate_backend(pg_backend_pid())");
    said(end, Side::Server, true, "it is shutting down, or was told to end this connection");
    let many = Login::harbor(server).open().unwrap().rows("SELECT * FROM generate_series(1, 2000)");
    said(many, Side::Server, true, "what no PostgreSQL server");
}

/// Logins that are refused, each with what to do.
fn refusals(server: &Server) {
    let harbor = || Login::harbor(server);
    let user = |user| Login { user, password: "s3cret-x", ..harbor() };
    for (login, words) in [
        (Login { password: "s3cret-wrong", ..harbor() }, "access denied for user harbor: check database.user"),
        (user("absent"), "access denied for user absent"),
        (user("rejected"), "pg_hba.conf there lets user rejected not log in to registry from this node"),
        (user("stranger"), "where it takes TLS only, set database.tls: verify"),
        (user("guarded"), "where it takes TLS only, set database.tls: verify"),
        (user("locked"), "user locked may not log in"),
        (user("plain"), "it wants the password in the clear, and the connection has no TLS: set database.tls"),
        (
            Login { name: "absent", ..harbor() },
            "there is no database absent: check database.name, or there: CREATE DATABASE \"absent\" OWNER \"harbor\"",
        ),
        (Login { name: "closed", ..harbor() }, "ALTER DATABASE \"closed\" OWNER TO \"harbor\""),
        (Login { name: "frozen", ..harbor() }, "the database frozen cannot be used"),
        (Login { more: ca(&Authority::new()), ..harbor() }, "it offers no TLS: turn it on there, or set tls: off"),
    ] {
        said(login.open(), Side::Config, false, words);
    }
    said(user("limited").open(), Side::Server, true, "it has too many connections");
}

fn ca(authority: &Authority) -> String {
    format!(", tls: verify, ca: {}", quoted(&authority.pem()))
}

/// What keeps a user from making tables.
fn rights(server: &Server) {
    let (harbor, reader) =
        (Login::harbor(server), Login { user: "reader", password: "s3cret-x", ..Login::harbor(server) });
    let fit = |login: &Login<'_>| fits("v2.15.2", &login.database().0, &login.look().unwrap());
    assert_eq!(fit(&harbor), Ok(state::Fit::default()));
    let said_of_reader = fit(&reader).unwrap_err();
    assert!(
        said_of_reader.contains(
            "user reader may not make tables in the schema public (since PostgreSQL 15 only the database's owner may): \
             there, ALTER DATABASE \"registry\" OWNER TO \"reader\", or"
        ),
        "{said_of_reader}"
    );
    Login::admin(server, "bare").run("DROP SCHEMA public");
    let words =
        "user harbor has no schema in the database bare to make tables in: there, in that database: GRANT USAGE";
    said(Login { name: "bare", ..Login::harbor(server) }.look(), Side::Config, false, words);
}

/// What Harbor's migrations leave, in the order of a first start.
fn migrations(server: &Server) {
    let harbor = Login::harbor(server);
    let seen = |run: &str| {
        harbor.run(run);
        let state = harbor.look().unwrap();
        (state.schema, state.in_use)
    };
    let at = |version: &str| Schema::Harbor { version: version.into() };
    let made = "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)";
    assert_eq!(seen(made), (Schema::Empty, false));
    let begun = "INSERT INTO schema_migrations VALUES (1, true)";
    assert_eq!(seen(begun), (Schema::Dirty { version: "1".into() }, false));
    assert_eq!(seen(TABLES), (Schema::Dirty { version: "1".into() }, false));

    // Another node's core is at it.
    let mut core = harbor.open().unwrap();
    core.rows("SELECT pg_advisory_lock(1)").unwrap();
    said(harbor.look(), Side::Server, true, "another node is migrating the schema (to 1)");
    drop(core);
    assert_eq!(seen("UPDATE schema_migrations SET version = 180, dirty = false"), (at("180"), false));

    for (used, undone) in [
        ("INSERT INTO repository VALUES (1, 'library/x')", "DELETE FROM repository"),
        ("INSERT INTO registry VALUES (1, 'x')", "DELETE FROM registry"),
        ("INSERT INTO properties VALUES ('ldap_search_password', '<enc-v1>x')", "DELETE FROM properties"),
    ] {
        assert_eq!(seen(used), (at("180"), true), "{used}");
        assert_eq!(seen(undone), (at("180"), false), "{used}");
    }
    let reader = Login { user: "reader", password: "s3cret-x", ..Login::harbor(server) };
    for right in ["SELECT", "INSERT"] {
        harbor.run(&format!("GRANT {right} ON ALL TABLES IN SCHEMA public TO reader"));
        said(reader.look(), Side::Config, false, "user reader may not use the database registry");
    }
    harbor.run("GRANT UPDATE ON ALL TABLES IN SCHEMA public TO reader");
    assert_eq!(reader.look().unwrap().schema, at("180"));
}

/// Tables that are another program's, or another user's.
fn tables_of_others(server: &Server) {
    let other = Login { name: "other", ..Login::harbor(server) };
    other.run("CREATE TABLE invoice (id int)");
    assert_eq!(other.look().unwrap().schema, Schema::Foreign);
    other.run("CREATE TABLE schema_migrations (version bigint, dirty boolean)\nINSERT INTO schema_migrations VALUES (7, false)");
    assert_eq!(other.look().unwrap().schema, Schema::Foreign, "another program that uses golang-migrate");

    let (harbor, writer) =
        (Login::harbor(server), Login { user: "writer", password: "s3cret-x", ..Login::harbor(server) });
    harbor.run("GRANT CREATE ON SCHEMA public TO writer\nGRANT ALL ON ALL TABLES IN SCHEMA public TO writer");
    let fit = |harbor: &str| fits(harbor, &writer.database().0, &writer.look().unwrap());
    assert_eq!(fit("v2.15.2"), Ok(state::Fit::default()), "nothing is to be changed");
    harbor.run("UPDATE schema_migrations SET version = 171");
    let why = fit("v2.15.2").unwrap_err();
    assert!(why.contains("which belong to harbor: there, in that database, REASSIGN OWNED BY \"harbor\" TO"), "{why}");
}

#[test]
fn a_replica_is_told() {
    let server = Server::postgres(tempfile::tempdir().unwrap(), HBA, &["hot_standby=on"]);
    let outcome = Login::admin(&server, "postgres").look();
    said(outcome, Side::Server, true, "it is a replica, which cannot be written to: use the primary");
}

#[test]
fn tls_is_verified() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (certificate, key) = authority.issue("127.0.0.1").write(directory.path());
    let files = [format!("ssl_cert_file={}", certificate.display()), format!("ssl_key_file={}", key.display())];
    let server = Server::postgres(directory, HBA, &["ssl=on", &files[0], &files[1]]);
    Login::admin(&server, "postgres").run(SETUP);
    let user = |user, password| Login { user, password, more: ca(&authority), ..Login::harbor(&server) };
    for (login, method) in [
        (user("guarded", "s3cret-x"), "scram-sha-256"),
        (user("plain", "s3cret-x"), "password"),
        (user("harbor", "s3cret-harbor"), "password"),
    ] {
        let mut connection = login.open().unwrap();
        assert_eq!(postgres::inspect(&mut connection).unwrap().method, method);
        let secure = connection.rows("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").unwrap();
        assert_eq!(secure, [[Some("t".to_owned()), Some("TLSv1.3".to_owned())]]);
    }
    let other = |authority: &Authority| Login { more: ca(authority), ..Login::harbor(&server) };
    said(other(&Authority::new()).open(), Side::Config, false, "give the authority that signed it: database.ca");
    said(user("harbor", "s3cret-wrong").open(), Side::Config, false, "access denied for user harbor");
    said(user("stranger", "s3cret-x").open(), Side::Config, false, "add an entry for it there");
    let wrong_way = Login { user: "guarded", password: "s3cret-x", ..Login::harbor(&server) };
    said(wrong_way.open(), Side::Config, false, "where it takes TLS only, set database.tls: verify");
}
