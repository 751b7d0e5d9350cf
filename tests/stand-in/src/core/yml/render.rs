//! The files of `common/config`, as text: the names and keys are Harbor 2.15's, the values a configuration's.

use anyhow::Result;

use super::config::{Config, Database};
use super::secrets::Secrets;

const PROXY: &str = include_str!("templates/proxy.conf");
const METRICS: &str = include_str!("templates/metrics.conf");
pub const PORTAL: &str = include_str!("templates/portal.conf");
pub const APP_CONF: &str = "appname = Harbor\nrunmode = prod\n\n[prod]\nhttpport = 8080\n";
pub const REGISTRYCTL: &str =
    "---\nprotocol: \"http\"\nport: 8080\nlog_level: INFO\nregistry_config: \"/etc/registry/config.yml\"\n";
pub const RSYSLOG: &str =
    "# The stand-in's log service reads nothing here: it always writes /var/log/docker/TAG.log.\n";
pub const REGISTRY_USER: &str = "harbor_registry_user";

pub fn core_env(config: &Config, secrets: &Secrets, with_trivy: bool) -> Result<String> {
    let db = config.database()?;
    let mut text = format!(
        "CONFIG_PATH=/etc/core/app.conf\n_REDIS_URL_CORE={}\n_REDIS_URL_REG={}\nLOG_LEVEL={}\nEXT_ENDPOINT={}\n\
         DATABASE_TYPE=postgresql\n{}POSTGRESQL_MAX_IDLE_CONNS={}\nPOSTGRESQL_MAX_OPEN_CONNS={}\n",
        config.redis_url("0")?,
        config.redis_url(&config.redis_db("registry_db_index", "1"))?,
        config.must("log.level")?,
        config.public_url()?,
        database_env("POSTGRESQL", "DATABASE", &db),
        db.max_idle,
        db.max_open,
    );
    text += &format!(
        "REGISTRY_URL=http://registry:5000\nPORTAL_URL=http://portal:8080\n\
         TOKEN_SERVICE_URL=http://core:8080/service/token\nHARBOR_ADMIN_PASSWORD={}\nMAX_JOB_WORKERS={}\n\
         CORE_SECRET={}\nJOBSERVICE_SECRET={}\nWITH_TRIVY={}\nCORE_URL=http://core:8080\n\
         CORE_LOCAL_URL=http://127.0.0.1:8080\nJOBSERVICE_URL=http://jobservice:8080\n\
         TRIVY_ADAPTER_URL=http://trivy-adapter:8080\nREGISTRY_STORAGE_PROVIDER_NAME=filesystem\nREAD_ONLY=false\n\
         RELOAD_KEY=\nREGISTRY_CONTROLLER_URL=http://registryctl:8080\nREGISTRY_CREDENTIAL_USERNAME={REGISTRY_USER}\n\
         REGISTRY_CREDENTIAL_PASSWORD={}\nCSRF_KEY={}\nROBOT_SCANNER_NAME_PREFIX={}\nHTTP_PROXY=\nHTTPS_PROXY=\n\
         NO_PROXY=\nPORT=8080\n",
        config.must("harbor_admin_password")?,
        config.must("jobservice.max_job_workers")?,
        secrets.core,
        secrets.jobservice,
        if with_trivy { "True" } else { "False" },
        secrets.registry,
        secrets.csrf,
        secrets.scanner_prefix,
    );
    for (key, variable) in
        [("harbor_db_index", "_REDIS_URL_HARBOR"), ("cache_layer_db_index", "_REDIS_URL_CACHE_LAYER")]
    {
        let index = config.redis_db(key, "");
        if !index.is_empty() {
            text += &format!("{variable}={}\n", config.redis_url(&index)?);
        }
    }
    if config.is("cache.enabled") {
        text += &format!("CACHE_ENABLED=true\nCACHE_EXPIRE_HOURS={}\n", config.or("cache.expire_hours", "24"));
    }
    Ok(text + &metric_env(config, "core"))
}

/// What turns a service's metrics on.
fn metric_env(config: &Config, subsystem: &str) -> String {
    if !config.is("metric.enabled") {
        return String::new();
    }
    let (port, path) = (config.or("metric.port", "9090"), config.or("metric.path", "/metrics"));
    format!(
        "METRIC_ENABLE=true\nMETRIC_PATH={path}\nMETRIC_PORT={port}\nMETRIC_NAMESPACE=harbor\n\
         METRIC_SUBSYSTEM={subsystem}\n"
    )
}

pub fn trivy_env(config: &Config) -> Result<String> {
    let redis = config.redis_url(&config.redis_db("trivy_db_index", "5"))?;
    Ok(format!(
        "SCANNER_LOG_LEVEL={}\nSCANNER_REDIS_URL={redis}\nSCANNER_STORE_REDIS_URL={redis}\n\
         SCANNER_JOB_QUEUE_REDIS_URL={redis}\nSCANNER_TRIVY_CACHE_DIR=/home/scanner/.cache/trivy\n\
         SCANNER_TRIVY_REPORTS_DIR=/home/scanner/.cache/reports\nSCANNER_TRIVY_SKIP_UPDATE={}\n\
         SCANNER_TRIVY_OFFLINE_SCAN={}\nSCANNER_TRIVY_GITHUB_TOKEN={}\nSCANNER_TRIVY_TIMEOUT={}\n",
        config.must("log.level")?,
        config.is("trivy.skip_update"),
        config.is("trivy.offline_scan"),
        config.or("trivy.github_token", ""),
        config.or("trivy.timeout", "5m0s"),
    ))
}

pub fn exporter_env(config: &Config) -> Result<String> {
    Ok(format!(
        "LOG_LEVEL={}\nHARBOR_EXPORTER_PORT=8080\nHARBOR_EXPORTER_METRICS_PATH=/metrics\n\
         HARBOR_EXPORTER_METRICS_ENABLED=true\nHARBOR_REDIS_URL={}\nHARBOR_SERVICE_HOST=core\nHARBOR_SERVICE_PORT=8080\n\
         HARBOR_SERVICE_SCHEME=http\n{}",
        config.must("log.level")?,
        config.redis_url(&config.redis_db("jobservice_db_index", "2"))?,
        database_env("HARBOR_DATABASE", "DBNAME", &config.database()?),
    ))
}

/// Where the database is, in variables that begin with `prefix`; `name` is the one for its name.
fn database_env(prefix: &str, name: &str, db: &Database) -> String {
    let pairs = [
        ("HOST", &db.host),
        ("PORT", &db.port),
        ("USERNAME", &db.user),
        ("PASSWORD", &db.password),
        (name, &db.name),
        ("SSLMODE", &db.ssl_mode),
    ];
    pairs.iter().map(|(key, value)| format!("{prefix}_{key}={value}\n")).collect()
}

pub fn jobservice_env(config: &Config, secrets: &Secrets) -> Result<String> {
    let text = format!(
        "CORE_SECRET={}\nREGISTRY_URL=http://registry:5000\nJOBSERVICE_SECRET={}\nCORE_URL=http://core:8080\n\
         REGISTRY_CONTROLLER_URL=http://registryctl:8080\nJOBSERVICE_WEBHOOK_JOB_MAX_RETRY={}\n\
         JOBSERVICE_WEBHOOK_JOB_HTTP_CLIENT_TIMEOUT={}\nLOG_LEVEL={}\nHTTP_PROXY=\nHTTPS_PROXY=\nNO_PROXY=\n\
         REGISTRY_CREDENTIAL_USERNAME={REGISTRY_USER}\nREGISTRY_CREDENTIAL_PASSWORD={}\n",
        secrets.core,
        secrets.jobservice,
        config.must("notification.webhook_job_max_retry")?,
        config.must("notification.webhook_job_http_client_timeout")?,
        config.must("log.level")?,
        secrets.registry,
    );
    Ok(text + &metric_env(config, "jobservice"))
}

pub fn jobservice_config(config: &Config) -> Result<String> {
    let level = config.must("log.level")?.to_uppercase();
    let mut text = format!(
        "---\nprotocol: \"http\"\nport: 8080\nworker_pool:\n  workers: {}\n  backend: \"redis\"\n  redis_pool:\n    \
         redis_url: {}\n    namespace: \"harbor_job_service_namespace\"\n    idle_timeout_second: 3600\njob_loggers:\n",
        config.must("jobservice.max_job_workers")?,
        config.redis_url(&config.redis_db("jobservice_db_index", "2"))?,
    );
    for name in config.list("jobservice.job_loggers") {
        text += &format!("  - name: \"{name}\"\n    level: \"{level}\"\n");
        if name == "FILE" {
            let days = config.must("jobservice.logger_sweeper_duration")?;
            text += "    settings:\n      base_dir: \"/var/log/jobs\"\n";
            text += &format!(
                "    sweeper:\n      duration: {days}\n      settings:\n        work_dir: \"/var/log/jobs\"\n"
            );
        }
    }
    let hours = config.or("jobservice.max_job_duration_hours", "24");
    Ok(text
        + &format!(
            "loggers:\n  - name: \"STD_OUTPUT\"\n    level: \"{level}\"\nreaper:\n  max_update_hours: {hours}\n"
        ))
}

pub fn registry_config(config: &Config) -> Result<String> {
    let (host, user, password) = config.redis()?;
    let level = config.must("log.level")?;
    let level = if level == "warning" { "warn" } else { &level };
    let metrics = match config.is("metric.enabled") {
        true => format!(
            "    addr: :{}\n    prometheus:\n      enabled: true\n      path: {}\n",
            config.or("metric.port", "9090"),
            config.or("metric.path", "/metrics")
        ),
        false => "    addr: localhost:5001\n".to_owned(),
    };
    let root = config.or("storage_service.filesystem.rootdirectory", "/storage");
    let purging = match config.is("upload_purging.enabled") {
        true => format!(
            "      enabled: true\n      age: {}\n      interval: {}\n      dryrun: {}\n",
            config.or("upload_purging.age", "168h"),
            config.or("upload_purging.interval", "24h"),
            config.is("upload_purging.dryrun"),
        ),
        false => "      enabled: false\n".to_owned(),
    };
    Ok(format!(
        "version: 0.1\nlog:\n  level: {level}\n  fields:\n    service: registry\nstorage:\n  cache:\n    \
         layerinfo: redis\n  filesystem:\n    rootdirectory: {root}\n  maintenance:\n    uploadpurging:\n{purging}  \
         delete:\n    enabled: true\nredis:\n  addr: {host}\n  readtimeout: 10s\n  writetimeout: 10s\n  \
         dialtimeout: 10s\n  password: {password}\n  username: {user}\n  db: {}\n  enableTLS: false\n  pool:\n    \
         maxidle: 100\n    maxactive: 500\n    idletimeout: 60s\nhttp:\n  addr: :5000\n  secret: placeholder\n  \
         debug:\n{metrics}auth:\n  htpasswd:\n    realm: harbor-registry-basic-realm\n    \
         path: /etc/registry/passwd\nvalidation:\n  disabled: true\n",
        config.redis_db("registry_db_index", "1"),
    ))
}

pub fn logrotate(config: &Config) -> String {
    format!(
        "/var/log/docker/*.log {{\n  rotate {}\n  size {}\n  copytruncate\n  compress\n  missingok\n}}\n",
        config.or("log.local.rotate_count", "50"),
        config.or("log.local.rotate_size", "200M"),
    )
}

pub fn proxy(config: &Config) -> Result<String> {
    let (mut listen, mut redirect) =
        ("    listen 8080;\n    include /etc/nginx/conf.d/harbor.http.*.conf;\n".to_owned(), String::new());
    if config.is_https() {
        listen = "    listen 8443 ssl;\n    ssl_certificate /etc/cert/server.crt;\n    ssl_certificate_key /etc/cert/server.key;\n    \
                  ssl_protocols TLSv1.2 TLSv1.3;\n    include /etc/nginx/conf.d/harbor.https.*.conf;\n"
            .to_owned();
        let host = config.must("hostname")?;
        let port = config.or("https.port", "443");
        let target = if port == "443" { host } else { format!("{host}:{port}") };
        redirect = format!("\n  server {{\n    listen 8080;\n    return 308 https://{target}$request_uri;\n  }}\n");
    }
    let metrics = if config.is("metric.enabled") {
        METRICS.replace("__port__", &config.or("metric.port", "9090"))
    } else {
        String::new()
    };
    Ok(PROXY.replace("__listen__\n", &listen).replace("__redirect__", &redirect).replace("__metrics__", &metrics))
}
