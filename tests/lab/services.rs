//! A real MariaDB and a real Redis.

use std::fs;
use std::path::{Path, PathBuf};

use habuild::sys::cmd::{Cmd, Running};

use super::place::{ADDRESS, listens};

pub(crate) const DATABASE_PASSWORD: &str = "lab's \"database\" $word #1";
/// Without a blank, which Harbor could not use.
pub(crate) const POSTGRES_PASSWORD: &str = "lab's\"database\"$word#1";
pub(crate) const REDIS_PASSWORD: &str = "lab-redis-word";

/// Harbor's tables, as whoever makes the database loads them.
const TABLES: &str = include_str!("../stand-in/registry.sql");

/// A MariaDB with the database `registry`, Harbor's tables in it, and the user `harbor`.
pub(crate) struct Database {
    socket: PathBuf,
    _process: Running,
}

impl Database {
    pub(crate) fn start(dir: &Path) -> Self {
        let dir = dir.join("database");
        fs::create_dir_all(&dir).unwrap();
        let data = format!("--datadir={}", dir.join("data").display());
        let common = ["--no-defaults", "--user=root", &data];
        Cmd::program("mariadb-install-db")
            .args(common)
            .args(["--skip-test-db", "--auth-root-authentication-method=normal"])
            .run()
            .unwrap();
        let socket = dir.join("socket");
        let log = fs::File::create(dir.join("log")).unwrap();
        let process = Cmd::program("mariadbd")
            .args(common)
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--bind-address={ADDRESS}"))
            .args(["--port=3306", "--skip-name-resolve", "--innodb-buffer-pool-size=32M"])
            .stderr(log)
            .ends_with_us()
            .spawn()
            .unwrap();
        listens("MariaDB", 3306);
        let database = Self { socket, _process: process };
        let word = DATABASE_PASSWORD.replace('\'', "''");
        database
            .sql(&format!("{TABLES}; create user harbor identified by '{word}'; grant all on registry.* to harbor;"));
        database
    }

    /// Runs statements as the administrator; gives what they answer, a line a row.
    pub(crate) fn sql(&self, statements: &str) -> String {
        Cmd::program("mariadb")
            .args(["--no-defaults", "--user=root", "--batch", "--skip-column-names"])
            .arg(format!("--socket={}", self.socket.display()))
            .input(statements)
            .output_text()
            .unwrap()
    }
}

/// A PostgreSQL with an empty database `registry`, which belongs to the user `harbor`.
pub(crate) struct Postgres {
    _process: Running,
}

impl Postgres {
    pub(crate) fn start(dir: &Path) -> Self {
        let dir = dir.join("postgres");
        fs::create_dir_all(&dir).unwrap();
        let data = dir.join("data");
        let version = fs::read_dir("/usr/lib/postgresql").unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
        let program = |name: &str| version.join("bin").join(name);
        // It refuses to be root, which is the only user here: so it runs as somebody else's name for root.
        let other = || Cmd::program("unshare").args(["--user", "--map-user=1000", "--map-group=1000"]);
        other()
            .arg(program("initdb"))
            .args(["--auth=scram-sha-256", "--auth-local=trust", "-U", "admin", "-D"])
            .arg(&data)
            .run()
            .unwrap();
        let access = "local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), access).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let settings = format!("-clisten_addresses={ADDRESS}");
        let sockets = format!("-cunix_socket_directories={}", dir.display());
        let process = other()
            .arg(program("postgres"))
            .arg("-D")
            .arg(&data)
            .args([&settings, &sockets])
            .stderr(log)
            .ends_with_us()
            .spawn()
            .unwrap();
        listens("PostgreSQL", 5432);
        let word = POSTGRES_PASSWORD.replace('\'', "''");
        for statement in
            [format!("create user harbor password '{word}'"), "create database registry owner harbor".to_owned()]
        {
            let to = ["-h", &dir.display().to_string(), "-U", "admin", "-d", "postgres", "-q", "-c", &statement];
            Cmd::program("psql").args(to).run().unwrap();
        }
        Self { _process: process }
    }
}

/// A Redis with a password.
pub(crate) struct Redis {
    _process: Running,
}

impl Redis {
    pub(crate) fn start(dir: &Path) -> Self {
        let dir = dir.join("redis");
        fs::create_dir_all(&dir).unwrap();
        // One program under several names; the package with the server's name would also start it as a service.
        let server = dir.join("redis-server");
        std::os::unix::fs::symlink("/usr/bin/redis-check-rdb", &server).unwrap();
        let conf = dir.join("redis.conf");
        let text =
            format!("bind {ADDRESS}\nport 6379\nrequirepass {REDIS_PASSWORD}\nsave \"\"\ndir {}\n", dir.display());
        fs::write(&conf, text).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let process = Cmd::program(server).arg(conf).stdout(log).ends_with_us().spawn().unwrap();
        listens("Redis", 6379);
        Self { _process: process }
    }
}
