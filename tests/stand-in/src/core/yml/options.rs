//! The options: the scanner's adapter and the exporter of metrics, as far as a node sees of them, and what core and job service
//! answer on their port for metrics. Nothing is scanned.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::database::Database;
use super::sessions::Sessions;
use crate::{env, http};

/// Mode `trivy-adapter`: takes its own directories and Redis, and says how it is.
pub fn trivy_adapter() -> Result<()> {
    for variable in ["SCANNER_TRIVY_CACHE_DIR", "SCANNER_TRIVY_REPORTS_DIR"] {
        let directory = env(variable)?;
        let tried = Path::new(&directory).join("written");
        fs::write(&tried, "").with_context(|| format!("{variable}: {directory}"))?;
        fs::remove_file(tried)?;
    }
    let redis = Sessions::new(&env("SCANNER_JOB_QUEUE_REDIS_URL")?)?;
    redis.wait()?;
    println!("skip_update {}, timeout {}", env("SCANNER_TRIVY_SKIP_UPDATE")?, env("SCANNER_TRIVY_TIMEOUT")?);
    http::serve_each(8080, move |asked, request| {
        let _ = request.respond(match asked.path.as_str() {
            "/probe/healthy" => http::text(200, ""),
            "/probe/ready" if redis.ping().is_ok() => http::text(200, ""),
            "/probe/ready" => http::text(503, ""),
            _ => http::text(404, ""),
        });
    })
}

/// Mode `exporter`: counts what the database holds.
pub fn exporter() -> Result<()> {
    let database = Database::of_exporter()?;
    let redis = Sessions::new(&env("HARBOR_REDIS_URL")?)?;
    database.wait()?;
    redis.ping()?;
    let path = env("HARBOR_EXPORTER_METRICS_PATH")?;
    http::serve_each(env("HARBOR_EXPORTER_PORT")?.parse()?, move |asked, request| {
        let _ = request.respond(match database.repositories() {
            _ if asked.path != path => http::text(404, ""),
            Ok(names) => http::text(200, &format!("harbor_up 1\nharbor_project_repo_total {}\n", names.len())),
            Err(error) => http::text(500, &format!("{error:#}\n")),
        });
    })
}

/// What a service says of itself where its configuration turns metrics on.
pub fn metrics() -> Result<()> {
    if std::env::var("METRIC_ENABLE").as_deref() != Ok("true") {
        return Ok(());
    }
    let (port, path) = (env("METRIC_PORT")?.parse()?, env("METRIC_PATH")?);
    let name = format!("{}_{}", env("METRIC_NAMESPACE")?, env("METRIC_SUBSYSTEM")?);
    std::thread::spawn(move || {
        let served = http::serve_each(port, move |asked, request| {
            let told = http::text(200, &format!("{name}_up 1\n"));
            let _ = request.respond(if asked.path == path { told } else { http::text(404, "") });
        });
        if let Err(error) = served {
            eprintln!("[ERROR] metrics: {error:#}");
        }
    });
    Ok(())
}
