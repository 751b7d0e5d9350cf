//! A real MariaDB and a real Redis.

use std::fs;
use std::path::{Path, PathBuf};

use habuild::sys::cmd::{Cmd, Running};

use super::place::{ADDRESS, listens};

pub(crate) const DATABASE_PASSWORD: &str = "lab's \"database\" $word #1";
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
