//! Harbor's own services, as far as they matter between nodes: one program, a mode for each container.
//!
//! Not in the stand-in for Harbor 2.15 (`yml/`): scans, though the scanner says how it is; most metrics; internal TLS, TLS to
//! database and Redis, Redis sentinels, storage other than files, tracing, proxies; replication, garbage collection and schedules
//! (its one kind of job pulls a manifest); robots; what `secretkey` encrypts; the pause that a wrong password brings; users other than `admin`. Its token key has 2048 bits.

mod adminserver;
mod db;
mod http;
mod log;
mod store;
mod token;
mod ui;
mod yml;

use anyhow::{Context as _, Result, bail};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mode = words.first().map(String::as_str).unwrap_or_default();
    if let Err(error) = run(mode, words.get(1..).unwrap_or_default()) {
        eprintln!("{mode}: {error:#}");
        std::process::exit(1);
    }
}

fn run(mode: &str, words: &[String]) -> Result<()> {
    match mode {
        "log" => log::run(words.first().map_or(Ok(514), |port| port.parse()).context("log PORT")?),
        "adminserver" => adminserver::run(),
        "ui" => ui::run(),
        "jobservice" => jobservice(),
        "db" => db::run(),
        _ => match yml::run(mode, words) {
            Some(done) => done,
            None => bail!("is no mode: log, adminserver, ui, jobservice, db, {}", yml::MODES.join(", ")),
        },
    }
}

/// Has nothing to do, but says that it could.
fn jobservice() -> Result<()> {
    println!(
        "configuration {} of {} bytes",
        "/etc/jobservice/app.conf",
        std::fs::read("/etc/jobservice/app.conf")?.len()
    );
    http::serve(|_, _| Ok(http::text(200, "ready")))
}

/// An environment variable that must be there.
fn env(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| anyhow::anyhow!("{name} is not set"))
}
