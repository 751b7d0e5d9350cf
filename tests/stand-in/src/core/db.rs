//! Mode `db`: a MariaDB, for a node that has nobody else's.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::env;

const DATA: &str = "/var/lib/mysql";
/// Written when the data directory is complete.
const MADE: &str = "/var/lib/mysql/stand-in-made";
const TABLES: [&str; 3] = ["mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"];
const SCHEMA: &str = include_str!("../../registry.sql");

pub fn run() -> Result<()> {
    let password = env("MYSQL_ROOT_PASSWORD")?;
    if !Path::new(MADE).exists() {
        make()?;
    }
    fs::create_dir_all("/run/db")?;
    fs::write("/run/db/init.sql", init(&password))?;
    let common = ["--no-defaults", "--user=root", "--datadir=/var/lib/mysql", "--lc-messages-dir=/usr/share/mysql"];
    let error = Command::new("/usr/sbin/mariadbd")
        .args(common)
        .args([
            "--socket=/run/db/socket",
            "--init-file=/run/db/init.sql",
            "--skip-name-resolve",
            "--bind-address=0.0.0.0",
        ])
        .args(["--innodb-buffer-pool-size=32M", "--pid-file=/run/db/pid"])
        .exec();
    Err(error).context("mariadbd")
}

/// The system's tables. What a container that was killed left half-made is made anew.
fn make() -> Result<()> {
    for entry in fs::read_dir(DATA)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    let mut child = Command::new("/usr/sbin/mariadbd")
        .args(["--no-defaults", "--user=root", "--bootstrap", "--datadir=/var/lib/mysql"])
        .args(["--lc-messages-dir=/usr/share/mysql", "--innodb-buffer-pool-size=32M"])
        .stdin(Stdio::piped())
        .spawn()
        .context("mariadbd --bootstrap")?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    stdin.write_all(b"create database mysql;\nuse mysql;\nset @auth_root_socket=NULL;\n")?;
    for name in TABLES {
        stdin.write_all(&fs::read(format!("/usr/share/mysql/{name}")).context(name)?)?;
    }
    drop(stdin);
    if !child.wait()?.success() {
        bail!("mariadbd --bootstrap failed");
    }
    fs::write(MADE, "")?;
    Ok(())
}

/// Statements for each start, one a line, as `--init-file` wants them.
fn init(password: &str) -> String {
    let word = password.replace('\\', "\\\\").replace('\'', "''");
    let mut text = format!(
        "create user if not exists root@'%' identified by '{word}';\nalter user root@'%' identified by '{word}';\n\
         grant all on *.* to root@'%' with grant option;\ncreate database if not exists registry;\nuse registry;\n"
    );
    for statement in SCHEMA.split(';') {
        let lines = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
        let line = lines.map(str::trim).collect::<Vec<_>>().join(" ");
        let line = line.trim();
        if !line.is_empty() && !["drop database", "create database", "use "].iter().any(|word| line.starts_with(word)) {
            text += &format!("{line};\n");
        }
    }
    text
}
