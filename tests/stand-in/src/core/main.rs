//! Harbor's own services, as far as they matter between nodes: one program, a mode for each container.

mod adminserver;
mod db;
mod http;
mod log;
mod store;
mod token;
mod ui;

use anyhow::{Result, bail};

fn main() {
    let mode = std::env::args().nth(1).unwrap_or_default();
    if let Err(error) = run(&mode) {
        eprintln!("{mode}: {error:#}");
        std::process::exit(1);
    }
}

fn run(mode: &str) -> Result<()> {
    match mode {
        "log" => log::run(),
        "adminserver" => adminserver::run(),
        "ui" => ui::run(),
        "jobservice" => jobservice(),
        "db" => db::run(),
        _ => bail!("is no mode: log, adminserver, ui, jobservice, db"),
    }
}

/// Has nothing to do, but says that it could.
fn jobservice() -> Result<()> {
    println!("configuration {} of {} bytes", "/etc/jobservice/app.conf", std::fs::read("/etc/jobservice/app.conf")?.len());
    http::serve(|_, _| Ok(http::text(200, "ready")))
}

/// An environment variable that must be there.
fn env(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| anyhow::anyhow!("{name} is not set"))
}
