//! The small modes: registryctl, PostgreSQL and Redis for a node that has nobody else's, health checks, signals.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use crate::{env, http};

const DATA: &str = "/var/lib/postgresql/data";

/// At SIGTERM the process ends at once, as Harbor's core and registryctl: what is under way is cut.
pub fn end_with(code: i32) -> Result<()> {
    let mut signals = Signals::new([SIGTERM])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(code);
        }
    });
    Ok(())
}

/// Says that it is healthy, whatever the storage does.
pub fn registryctl() -> Result<()> {
    println!("configuration of {} bytes", fs::read("/etc/registryctl/config.yml")?.len());
    http::serve_each(8080, |asked, request| {
        let healthy = asked.path == "/api/health";
        let _ = request.respond(if healthy { http::text(200, "\"healthy\"") } else { http::text(401, "Unauthorized") });
    })
}

/// `healthy URL`, for an image's health check.
pub fn healthy(words: &[String]) -> Result<()> {
    let url = words.first().context("healthy URL")?;
    let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build().new_agent();
    agent.get(url).call().map(|_| ()).context(url.clone())
}

pub fn redis() -> Result<()> {
    let words = ["--bind", "*", "--protected-mode", "no", "--dir", "/var/lib/redis", "--appendonly", "yes"];
    Err(Command::new("/usr/bin/redis-server").args(words).exec()).context("redis-server")
}

pub fn postgresql() -> Result<()> {
    let password = env("POSTGRES_PASSWORD")?;
    let bin = postgresql_programs()?;
    let data = Path::new(DATA).join("pg");
    if !data.join("made").exists() {
        make(&bin, &data, &password)?;
    }
    let words = ["-c", "listen_addresses=*", "-c", "max_connections=1024", "-c", "unix_socket_directories=/tmp"];
    Err(Command::new(bin.join("postgres")).arg("-D").arg(&data).args(words).exec()).context("postgres")
}

/// Debian and Ubuntu have different versions: the one that is there.
fn postgresql_programs() -> Result<PathBuf> {
    let top = "/usr/lib/postgresql";
    let mut found: Vec<PathBuf> =
        fs::read_dir(top).context(top)?.map(|entry| Ok(entry?.path().join("bin"))).collect::<Result<_>>()?;
    found.sort();
    found.pop().with_context(|| format!("{top} is empty"))
}

/// A new cluster with an empty database `registry`. What a container that was killed left half-made is made anew.
fn make(bin: &Path, data: &Path, password: &str) -> Result<()> {
    if data.exists() {
        fs::remove_dir_all(data)?;
    }
    ensure!(!password.is_empty(), "POSTGRES_PASSWORD is empty");
    fs::write("/tmp/password", password)?;
    let made = Command::new(bin.join("initdb"))
        .args([
            "--username=postgres",
            "--pwfile=/tmp/password",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        ])
        .arg("-D")
        .arg(data)
        .status();
    fs::remove_file("/tmp/password")?;
    ensure!(made.context("initdb")?.success(), "initdb failed");
    let hba = data.join("pg_hba.conf");
    fs::OpenOptions::new().append(true).open(hba)?.write_all(b"host all all all scram-sha-256\n")?;
    let mut child = Command::new(bin.join("postgres"))
        .args(["--single", "-D"])
        .arg(data)
        .arg("postgres")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .context("postgres --single")?;
    child.stdin.take().context("no pipe")?.write_all(b"create database registry encoding 'UTF8';\n")?;
    if !child.wait()?.success() {
        bail!("postgres --single failed");
    }
    Ok(fs::write(data.join("made"), "")?)
}
