//! PostgreSQL: the wait for it, the migration of its schema, and what nodes share in it.

use std::net::TcpStream;
use std::net::ToSocketAddrs as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use postgres::{Client, Config, NoTls};
use sha2::{Digest as _, Sha256};

use super::compose::version;
use super::secrets::word;
use crate::env;
use crate::ui::pause;

/// The schemas of Harbor 2.14.1 and of 2.15.
const BEFORE: i64 = 171;
const NEWEST: i64 = 180;
/// What a migration between the two takes, so that there is something to wait for.
const CHANGES: &str =
    "select pg_sleep(10); alter table repository add column if not exists pulls int not null default 0";
/// Any number will do, as long as every core takes the same.
const LOCK: i64 = 1_792_000_180;
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(2);
const TABLES: &str = "
    create table if not exists harbor_user (
        user_id serial primary key, username varchar(255) not null unique, password varchar(64), salt varchar(40));
    insert into harbor_user (username) values ('admin') on conflict do nothing;
    create table if not exists project (
        project_id serial primary key, name varchar(255) not null unique, public boolean not null);
    insert into project (name, public) values ('library', true) on conflict do nothing;
    create table if not exists repository (
        repository_id serial primary key, name varchar(255) not null unique,
        project_id int not null references project, creation_time timestamp not null default now());
";

/// How to reach the database; each use is a connection of its own.
pub struct Database {
    config: Config,
    address: (String, u16),
}

impl Database {
    /// From the core's variables, `POSTGRESQL_…`.
    pub fn from_environment() -> Result<Self> {
        let (password, mode) = (env("POSTGRESQL_PASSWORD")?, env("POSTGRESQL_SSLMODE")?);
        // Harbor joins a connection string of unquoted words.
        ensure!(!password.contains(char::is_whitespace), "cannot parse the database's address: invalid keyword/value");
        ensure!(mode == "disable", "POSTGRESQL_SSLMODE={mode}: the stand-in speaks no TLS to the database");
        Self::of("POSTGRESQL", "DATABASE")
    }

    /// From the exporter's variables, `HARBOR_DATABASE_…`.
    pub fn of_exporter() -> Result<Self> {
        Self::of("HARBOR_DATABASE", "DBNAME")
    }

    /// From variables that begin with `prefix`; `name` is the one for the database's name.
    fn of(prefix: &str, name: &str) -> Result<Self> {
        let of = |name: &str| env(&format!("{prefix}_{name}"));
        let address = (of("HOST")?, of("PORT")?.parse().with_context(|| format!("{prefix}_PORT"))?);
        let mut config = Config::new();
        config.host(&address.0).port(address.1).user(&of("USERNAME")?).password(of("PASSWORD")?);
        config.dbname(&of(name)?).connect_timeout(Duration::from_secs(5));
        Ok(Self { config, address })
    }

    pub fn connect(&self) -> Result<Client> {
        self.config.connect(NoTls).context("failed to connect to the database")
    }

    /// Waits until somebody listens. Whether the password is right is another question.
    pub fn wait(&self) -> Result<()> {
        let (host, port) = &self.address;
        let begun = Instant::now();
        while let Err(error) = self.listens() {
            if begun.elapsed() >= PATIENCE {
                bail!("failed to connect to tcp:{host}:{port} after 60 seconds");
            }
            eprintln!("failed to connect to tcp://{host}:{port}, retry after 2 seconds: {error:#}");
            pause(AGAIN);
        }
        Ok(())
    }

    fn listens(&self) -> Result<()> {
        let (host, port) = &self.address;
        let address = (host.as_str(), *port).to_socket_addrs()?.next().context("no such host")?;
        TcpStream::connect_timeout(&address, AGAIN)?;
        Ok(())
    }

    /// Brings the schema to what this core knows. One core does, others wait.
    pub fn migrate(&self) -> Result<()> {
        let mut client = self.connect()?;
        client.execute("select pg_advisory_lock($1)", &[&LOCK])?;
        let done = migrate(&mut client);
        client.execute("select pg_advisory_unlock($1)", &[&LOCK])?;
        done
    }

    /// Gives `admin` the password of the environment, unless the database has one.
    pub fn set_admin(&self, password: &str) -> Result<()> {
        let salt = word(32)?;
        let statement = "update harbor_user set salt = $1, password = $2 where username = 'admin' and salt is null";
        match self.connect()?.execute(statement, &[&salt, &hash(&salt, password)])? {
            0 if !self.is_user("admin", password)? => {
                println!("[WARNING] HARBOR_ADMIN_PASSWORD ignored: the database has another password already");
            }
            0 => {}
            _ => println!("User id: 1 updated its encrypted password"),
        }
        Ok(())
    }

    pub fn is_user(&self, name: &str, password: &str) -> Result<bool> {
        let statement = "select salt, password from harbor_user where username = $1 and salt is not null";
        let row = self.connect()?.query_opt(statement, &[&name])?;
        Ok(row.is_some_and(|row| hash(row.get(0), password) == row.get::<_, String>(1)))
    }

    /// Whether a project is public; nothing if there is no such project.
    pub fn is_public(&self, project: &str) -> Result<Option<bool>> {
        let row = self.connect()?.query_opt("select public from project where name = $1", &[&project])?;
        Ok(row.map(|row| row.get(0)))
    }

    pub fn add_project(&self, name: &str, public: bool) -> Result<bool> {
        let statement = "insert into project (name, public) values ($1, $2) on conflict do nothing";
        Ok(self.connect()?.execute(statement, &[&name, &public])? == 1)
    }

    pub fn add_repository(&self, name: &str) -> Result<()> {
        let project = name.split('/').next().unwrap_or_default();
        let statement = "insert into repository (name, project_id) select $1, project_id from project where name = $2 \
                         on conflict do nothing";
        self.connect()?.execute(statement, &[&name, &project])?;
        Ok(())
    }

    pub fn repositories(&self) -> Result<Vec<String>> {
        let rows = self.connect()?.query("select name from repository order by name", &[])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// The newest schema that this core knows.
fn known() -> i64 {
    if version().starts_with("v2.14.") { BEFORE } else { NEWEST }
}

fn migrate(client: &mut Client) -> Result<()> {
    let known = known();
    let table =
        "create table if not exists schema_migrations (version bigint not null primary key, dirty boolean not null)";
    client.batch_execute(table)?;
    let row = client.query_opt("select version, dirty from schema_migrations limit 1", &[])?;
    let (version, dirty) = row.map_or((0, false), |row| (row.get::<_, i64>(0), row.get::<_, bool>(1)));
    ensure!(!dirty, "Dirty database version {version}. Fix and force version.");
    ensure!(
        version <= known,
        "no migration found for version {version}: read down for version {version} .: file does not exist"
    );
    if version == known {
        println!("No change in schema, skip.");
        return Ok(());
    }
    println!("migrating the schema from {version} to {known}");
    // Not one transaction: a core that is killed here leaves it dirty, as Harbor's does.
    client.batch_execute(&format!(
        "begin; delete from schema_migrations; insert into schema_migrations values ({known}, true); commit"
    ))?;
    client.batch_execute(TABLES)?;
    if version == BEFORE {
        client.batch_execute(CHANGES)?;
    }
    client.batch_execute("update schema_migrations set dirty = false")?;
    Ok(())
}

fn hash(salt: &str, password: &str) -> String {
    Sha256::digest(format!("{salt}{password}")).iter().map(|byte| format!("{byte:02x}")).collect()
}
