//! The services of Harbor 2.15, and what prepares them.

mod compose;
mod config;
mod core;
mod csrf;
mod database;
mod health;
mod jobs;
mod jobservice;
mod options;
mod prepare;
mod proxy;
mod queue;
mod render;
mod secrets;
mod servers;
mod sessions;
mod users;

use anyhow::Result;

pub const MODES: [&str; 10] = [
    "prepare2",
    "core2",
    "jobservice2",
    "registryctl",
    "log2",
    "postgresql",
    "redis",
    "trivy-adapter",
    "exporter",
    "healthy",
];

/// Runs a mode, if it is one.
pub fn run(mode: &str, words: &[String]) -> Option<Result<()>> {
    Some(match mode {
        "prepare2" => prepare::run(words),
        "core2" => servers::end_with(0).and_then(|()| core::run()),
        "jobservice2" => jobservice::run(),
        "registryctl" => servers::end_with(1).and_then(|()| servers::registryctl()),
        "log2" => servers::end_with(0).and_then(|()| super::log::run(10514)),
        "postgresql" => servers::postgresql(),
        "redis" => servers::redis(),
        "trivy-adapter" => servers::end_with(0).and_then(|()| options::trivy_adapter()),
        "exporter" => servers::end_with(0).and_then(|()| options::exporter()),
        "healthy" => servers::healthy(words),
        _ => return None,
    })
}
