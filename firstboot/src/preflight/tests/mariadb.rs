//! The database: logins, what is seen of its tables, and its first load.

use std::time::Instant;

use super::servers::Server;
use super::*;
use crate::preflight::database::{Connection as Either, connect, inspect_mysql as inspect, mysql_fits as fits};
use crate::preflight::initialise::{alone, load, script};
use crate::preflight::mysql::Connection;
use crate::test_authority::Authority;

/// In the form of Harbor's script: a database of its own, comments, and a column too long for four bytes a character.
const SCRIPT: &str = "drop database if exists registry;
create database registry charset = utf8;
use registry;
create table user (user_id int NOT NULL AUTO_INCREMENT, username varchar(255), primary key (user_id), UNIQUE (username));
# The administrator; his 'password' comes later.
insert into user (username) values ('admin');
create table project (project_id int NOT NULL, name varchar (41) NOT NULL, /* the owner; */ primary key (project_id));
create table repository (repository_id int NOT NULL AUTO_INCREMENT, name varchar(255), primary key (repository_id));
create table replication_target (id int NOT NULL, password varchar(128));
create table replication_job (id int NOT NULL, tags varchar(16384));
CREATE TABLE IF NOT EXISTS `alembic_version` (`version_num` varchar(32) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8;
insert into alembic_version values ('0.4.0');
";

const USERS: &str = "CREATE DATABASE registry;
CREATE DATABASE other;
CREATE USER harbor@'%' IDENTIFIED BY 's3cret-harbor';
GRANT ALL ON registry.* TO harbor@'%';
GRANT ALL ON `registry2`.* TO harbor@'%';
CREATE USER admin@'%' IDENTIFIED BY 's3cret-admin';
GRANT ALL ON *.* TO admin@'%';
CREATE USER reader@'%' IDENTIFIED BY 's3cret-x';
GRANT SELECT ON registry.* TO reader@'%';
CREATE USER socket@'%' IDENTIFIED VIA unix_socket;
CREATE USER elsewhere@'10.255.255.1' IDENTIFIED BY 's3cret-x';
CREATE USER locked@'%' IDENTIFIED BY 's3cret-x' ACCOUNT LOCK;
";

struct Login<'s> {
    server: &'s Server,
    host: &'s str,
    user: &'s str,
    password: &'s str,
    name: &'s str,
    more: String,
}

impl<'s> Login<'s> {
    fn harbor(server: &'s Server) -> Self {
        let (host, user, password) = ("127.0.0.1", "harbor", "s3cret-harbor");
        Self { server, host, user, password, name: "registry", more: String::new() }
    }

    fn admin(server: &'s Server) -> Self {
        Self { user: "admin", password: "s3cret-admin", ..Self::harbor(server) }
    }

    fn open(&self) -> Result<Connection, Fault> {
        let Self { server, host, user, password, name, more } = self;
        let port = server.port;
        let database =
            format!("host: {host}, port: {port}, user: {user}, password: \"{password}\", name: {name}{more}");
        let (config, secrets) = config(&database, "host: x");
        match connect(&nowhere(), config.database.external().unwrap(), &secrets, patience())? {
            Either::Mysql(connection) => Ok(connection),
            Either::Postgres(_) => panic!("kind: mysql"),
        }
    }
}

fn look(login: &Login<'_>) -> Result<DatabaseState, Fault> {
    inspect(&mut login.open()?)
}

#[test]
fn a_database_is_logged_in_to_looked_at_and_loaded_once() {
    let server = Server::mariadb(tempfile::tempdir().unwrap(), USERS, &["--skip-ssl", "--max-connections=30"]);
    let harbor = Login::harbor(&server);
    refusals(&server);

    let state = look(&harbor).unwrap();
    assert_eq!((&state.schema, state.in_use), (&Schema::Empty, false));
    assert_eq!(state.method, "mysql_native_password");
    assert!(state.server.contains("MariaDB"), "{state:?}");
    assert!(fits("v1.1.2", &state).unwrap_err().contains("has no tables"));

    // Several nodes at once: one loads, and none fails or finds half of it.
    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let nodes: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = harbor.open().unwrap();
                    let empty = inspect(&mut connection).unwrap().schema == Schema::Empty;
                    let loaded = empty && initialise(&mut connection, SCRIPT).unwrap();
                    assert_eq!(fits("v1.1.2", &inspect(&mut connection).unwrap()), Ok(()));
                    loaded
                })
            })
            .collect();
        nodes.into_iter().map(|node| node.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|loaded| **loaded).count(), 1, "{outcomes:?}");
    let mut connection = harbor.open().unwrap();
    let state = inspect(&mut connection).unwrap();
    assert_eq!((state.schema, state.in_use), (Schema::Harbor { version: "0.4.0".into() }, false));
    let users = connection.rows("SELECT username, NULL, user_id FROM user").unwrap();
    assert_eq!(users, [[Some("admin".to_owned()), None, Some("1".to_owned())]]);

    connection.rows("INSERT INTO repository (name) VALUES ('library/x')").unwrap();
    assert!(inspect(&mut connection).unwrap().in_use);
    let reader = Login { user: "reader", password: "s3cret-x", ..Login::harbor(&server) };
    let words = "user reader may not use the database registry: GRANT ALL ON registry.*";
    said(look(&reader), Side::Config, false, words);
    assert!(!initialise(&mut connection, SCRIPT).unwrap(), "a database in use");
    assert_eq!(connection.rows("SELECT name FROM repository").unwrap().len(), 1);

    cut_off(&server);
    under_way(&server);
    moments(&server);
}

/// Logins that are refused, each with what to do.
fn refusals(server: &Server) {
    let harbor = || Login::harbor(server);
    let user = |user| Login { user, password: "s3cret-x", ..harbor() };
    for (login, words) in [
        (
            Login { password: "s3cret-wrong", ..harbor() },
            "access denied for user harbor@127.0.0.1: check database.user",
        ),
        (user("nobody"), "access denied for user nobody@127.0.0.1"),
        (user("elsewhere"), "access denied for user elsewhere@127.0.0.1"),
        (user("locked"), "user locked is locked: unlock it there"),
        (user("socket"), "user socket"),
        (Login { name: "other", ..harbor() }, "user harbor may not use the database other: GRANT ALL ON other.*"),
        (Login { name: "registry2", ..harbor() }, "there is no database registry2: create it there"),
        (Login { more: ca(&Authority::new()), ..harbor() }, "it offers no TLS: turn it on there, or set tls: off"),
    ] {
        said(login.open(), Side::Config, false, words);
    }
}

fn ca(authority: &Authority) -> String {
    format!(", tls: verify, ca: {}", quoted(&authority.pem()))
}

/// A load that stops in the middle is told, and not taken for Harbor's schema.
fn cut_off(server: &Server) {
    let mut admin = Login::admin(server).open().unwrap();
    admin.rows("CREATE DATABASE registry2").unwrap();
    let harbor = Login { name: "registry2", ..Login::harbor(server) };
    let broken = SCRIPT.replace("create table replication_job", "create table repository");
    let outcome = initialise(&mut harbor.open().unwrap(), &broken);
    said(outcome, Side::Server, false, "stopped at statement 7: error 1050");
    assert_eq!(look(&harbor).unwrap().schema, Schema::Foreign);
    let denied = initialise(&mut harbor.open().unwrap(), "drop database registry; delete from mysql.user;");
    said(denied, Side::Config, false, "begins with \"delete from\"");
    assert_eq!(look(&Login::harbor(server)).unwrap().schema, Schema::Harbor { version: "0.4.0".into() });
}

/// While another node loads the schema, what is there so far is not taken for the whole.
fn under_way(server: &Server) {
    let mut admin = Login::admin(server).open().unwrap();
    admin.rows("DROP DATABASE registry2").unwrap();
    admin.rows("CREATE DATABASE registry2").unwrap();
    let harbor = Login { name: "registry2", ..Login::harbor(server) };
    let (first, last) = SCRIPT.split_once("create table project").unwrap();
    let last = format!("create table project{last}");
    let mut loader = harbor.open().unwrap();
    std::thread::scope(|scope| {
        let node = alone(&mut loader, |loader| {
            load(loader, &script(&format!("{first};")).unwrap())?;
            let node = scope.spawn(|| look(&harbor));
            let begun = Instant::now();
            while admin.rows("SELECT 1 FROM information_schema.processlist WHERE state = 'User lock'")?.is_empty() {
                assert!(begun.elapsed() < Duration::from_secs(30) && !node.is_finished(), "the second node waits");
            }
            for statement in script(&last).unwrap() {
                loader.rows(&statement)?;
            }
            Ok(node)
        });
        let state = node.unwrap().join().unwrap().unwrap();
        assert_eq!(state.schema, Schema::Harbor { version: "0.4.0".into() });
    });
}

/// States of a server that pass.
fn moments(server: &Server) {
    let mut admin = Login::admin(server).open().unwrap();
    admin.rows("SET GLOBAL read_only = 1").unwrap();
    said(look(&Login::harbor(server)), Side::Server, true, "it is read-only, as a replica is: use the primary");
    admin.rows("SET GLOBAL read_only = 0").unwrap();

    let mut open = Vec::new();
    let refused = loop {
        match Login::harbor(server).open() {
            Ok(connection) => open.push(connection),
            Err(fault) => break fault,
        }
        assert!(open.len() < 40);
    };
    said::<()>(Err(refused), Side::Server, true, "it has too many connections");
}

#[test]
fn tls_is_verified() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (certificate, key) = authority.issue("127.0.0.1").write(directory.path());
    let options = [format!("--ssl-cert={}", certificate.display()), format!("--ssl-key={}", key.display())];
    let server = Server::mariadb(directory, USERS, &[&options[0], &options[1]]);
    let harbor = || Login { more: ca(&authority), ..Login::harbor(&server) };
    let mut connection = harbor().open().unwrap();
    let cipher = connection.rows("SHOW STATUS LIKE 'Ssl_version'").unwrap();
    assert_eq!(cipher, [[Some("Ssl_version".to_owned()), Some("TLSv1.3".to_owned())]]);
    assert_eq!(inspect(&mut connection).unwrap().schema, Schema::Empty);
    for (login, words) in [
        (
            Login { more: ca(&Authority::new()), ..harbor() },
            "not trusted here: give the authority that signed it: database.ca",
        ),
        (Login { host: "localhost", ..harbor() }, "its certificate is for another name"),
        (Login { password: "s3cret-wrong", ..harbor() }, "access denied for user harbor@127.0.0.1"),
        (Login { more: ", tls: verify".into(), ..harbor() }, "ca-certificates.crt cannot be read"),
        (
            Login {
                more: ", tls: verify, ca: \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n\"".into(),
                ..harbor()
            },
            "database.ca holds a certificate that is damaged",
        ),
    ] {
        said(login.open(), Side::Config, false, words);
    }
    assert!(Login::harbor(&server).open().is_ok(), "tls: off");
}
