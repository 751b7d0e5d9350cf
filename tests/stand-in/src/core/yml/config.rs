//! harbor.yml, read: what a configuration of Harbor 2.15 says, with Harbor's defaults. YAML or JSON.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// A configuration. Keys are paths: `http.port`.
pub struct Config(Value);

/// Where database or Redis are, and what is said to them.
pub struct Database {
    pub host: String,
    pub port: String,
    pub name: String,
    pub user: String,
    pub password: String,
    pub ssl_mode: String,
    pub max_idle: String,
    pub max_open: String,
}

impl Config {
    /// Reads and checks: what Harbor's own preparation refuses is refused.
    pub fn parse(text: &str) -> Result<Self> {
        let config = Self(serde_saphyr::from_str(text).context("harbor.yml is no YAML")?);
        let hostname = config.must("hostname")?;
        ensure!(hostname != "127.0.0.1", "hostname: 127.0.0.1 is no name that others can use");
        ensure!(hostname != "reg.mydomain.com", "hostname: still the template's; write the name of this Harbor");
        if config.is("https") {
            for key in ["https.certificate", "https.private_key"] {
                let path = config.must(key)?;
                ensure!(!path.is_empty() && !path.starts_with("/your/"), "{key}: https is set and this is not");
            }
        }
        for key in ["data_volume", "harbor_admin_password", "jobservice.max_job_workers", "jobservice.job_loggers"] {
            config.must(key)?;
        }
        for key in ["jobservice.logger_sweeper_duration", "notification.webhook_job_max_retry", "log.level"] {
            config.must(key)?;
        }
        config.must("notification.webhook_job_http_client_timeout")?;
        let level = config.must("log.level")?;
        let levels = ["debug", "info", "warning", "error", "fatal"];
        ensure!(levels.contains(&level.as_str()), "log.level: {level} is none of {}", levels.join(", "));
        ensure!(config.is("database") || config.is("external_database"), "there is no database");
        for key in ["internal_tls", "trace", "uaa"] {
            ensure!(!config.is(key), "{key}: not in the stand-in");
        }
        let drivers = ["azure", "gcs", "s3", "swift", "oss"];
        ensure!(
            drivers.iter().all(|d| !config.is(&format!("storage_service.{d}"))),
            "the stand-in stores in files only"
        );
        Ok(config)
    }

    fn at(&self, path: &str) -> Option<&Value> {
        let found = path.split('.').try_fold(&self.0, |value, key| value.get(key))?;
        Some(found).filter(|value| !value.is_null())
    }

    /// Whether the key is there and not empty, as Python means it.
    pub fn is(&self, path: &str) -> bool {
        match self.at(path) {
            None => false,
            Some(Value::Object(map)) => !map.is_empty() && map.get("enabled") != Some(&Value::Bool(false)),
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Bool(yes)) => *yes,
            Some(other) => other.as_f64() != Some(0.0),
        }
    }

    /// A scalar as text; nothing where the key is not there or empty.
    pub fn get(&self, path: &str) -> Option<String> {
        match self.at(path)? {
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Value::Array(_) => Some(self.list(path).join(",")),
            other => Some(other.to_string()),
        }
    }

    pub fn or(&self, path: &str, default: &str) -> String {
        self.get(path).unwrap_or_else(|| default.to_owned())
    }

    pub fn must(&self, path: &str) -> Result<String> {
        self.get(path).with_context(|| format!("harbor.yml has no {path}"))
    }

    pub fn list(&self, path: &str) -> Vec<String> {
        let list = self.at(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    pub fn is_https(&self) -> bool {
        self.is("https")
    }

    /// What clients call this Harbor.
    pub fn public_url(&self) -> Result<String> {
        if let Some(url) = self.get("external_url") {
            return Ok(url);
        }
        let host = self.must("hostname")?;
        let (scheme, port, usual) = match self.is_https() {
            true => ("https", self.or("https.port", "443"), "443"),
            false => ("http", self.or("http.port", "80"), "80"),
        };
        Ok(if port == usual { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") })
    }

    pub fn database(&self) -> Result<Database> {
        let (max_idle, max_open) = ("max_idle_conns", "max_open_conns");
        if !self.is("external_database") {
            let own = |key: &str, default: &str| self.or(&format!("database.{key}"), default);
            return Ok(Database {
                host: "postgresql".into(),
                port: "5432".into(),
                name: "registry".into(),
                user: "postgres".into(),
                password: own("password", ""),
                ssl_mode: "disable".into(),
                max_idle: own(max_idle, "2"),
                max_open: own(max_open, "0"),
            });
        }
        let path = |key: &str| format!("external_database.harbor.{key}");
        let must = |key: &str| self.must(&path(key));
        Ok(Database {
            host: must("host")?,
            port: must("port")?,
            name: must("db_name")?,
            user: must("username")?,
            password: must("password")?,
            ssl_mode: must("ssl_mode")?,
            max_idle: self.or(&path(max_idle), "2"),
            max_open: self.or(&path(max_open), "0"),
        })
    }

    /// `HOST:PORT` and password.
    pub fn redis(&self) -> Result<(String, String, String)> {
        if !self.is("external_redis") {
            return Ok(("redis:6379".into(), String::new(), String::new()));
        }
        if self.is("external_redis.sentinel_master_set") || self.is("external_redis.tlsOptions.enable") {
            bail!("external_redis: the stand-in knows neither sentinels nor TLS");
        }
        let get = |key: &str, default: &str| self.or(&format!("external_redis.{key}"), default);
        Ok((get("host", "redis:6379"), get("username", ""), get("password", "")))
    }

    /// The URL of one of Redis's databases. Database 0 has no number in it.
    pub fn redis_url(&self, db: &str) -> Result<String> {
        let (host, user, password) = self.redis()?;
        let login = if password.is_empty() { user } else { format!("{user}:{}@", quoted(&password)) };
        let db = if db == "0" { String::new() } else { format!("/{db}") };
        Ok(format!(
            "redis://{login}{host}{db}?idle_timeout_seconds={}",
            self.or("external_redis.idle_timeout_seconds", "30")
        ))
    }

    pub fn redis_db(&self, key: &str, default: &str) -> String {
        self.or(&format!("external_redis.{key}"), default)
    }
}

/// Percent-encoded, nothing but letters, digits and `_.-~` left.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
