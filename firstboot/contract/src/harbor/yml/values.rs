//! Values of settings that `prepare` stops at, or that a service does not start with.
//!
//! Facts: goharbor/harbor at the tags v1.8.6 to v2.15.2, `make/photon/prepare/utils/configs.py` and `models.py` beside it;
//! `src/jobservice/config/config.go` and `make/photon/prepare/templates/jobservice/config.yml.jinja` of the job service.

use serde_json::{Map, Value};

use crate::strict::Mistake;

/// Where the settings stand in the node config.
pub(super) const ABOVE: &str = "harbor.settings";

const LEVELS: [&str; 5] = ["debug", "info", "warning", "error", "fatal"];
const LOGGERS: [&str; 3] = ["STD_OUTPUT", "FILE", "DB"];
const PROVIDERS: [&str; 2] = ["db", "redis"];

/// The values that no Harbor takes, whatever its version; nothing is said of the paths in `secret`, of which nobody knows the value.
pub(super) fn refused(values: &Map<String, Value>, secret: &[String]) -> Vec<Mistake> {
    let values = Values { values, secret };
    let mut found = Vec::new();
    let mut refuse = |path: &str, what: &str| found.push(Mistake::new(format!("{ABOVE}.{path}: {what}")));
    if values.at("log.level").is_some_and(|level| !is_one_of(level, &LEVELS)) {
        refuse("log.level", &format!("must be one of {}", LEVELS.join(", ")));
    }
    if let Some(Value::Array(loggers)) = values.at("jobservice.job_loggers")
        && (loggers.is_empty() || !loggers.iter().all(|logger| is_one_of(logger, &LOGGERS)))
    {
        refuse("jobservice.job_loggers", &format!("must be a list of {}, one of them at least", LOGGERS.join(", ")));
    }
    if values.at("jobservice.max_job_workers").is_some_and(|workers| workers.as_u64().is_none_or(|n| n == 0)) {
        refuse("jobservice.max_job_workers", "must be a whole number of 1 or more");
    }
    if values.at("core.quota_update_provider").is_some_and(|one| one != "" && !is_one_of(one, &PROVIDERS)) {
        refuse("core.quota_update_provider", &format!("must be one of {}", PROVIDERS.join(", ")));
    }
    for path in ["proxy.http_proxy", "proxy.https_proxy", "proxy.no_proxy"] {
        if values.at(path).is_some_and(|value| value.is_array() || value.is_object()) {
            refuse(path, "must be text");
        }
    }
    if values.is_on("upload_purging.enabled") {
        for path in ["upload_purging.age", "upload_purging.interval"] {
            if values.at(path).is_some_and(|value| !is_hours(value)) {
                refuse(path, "must be hours, two at least, such as 168h");
            }
        }
    }
    if values.is_on("cache.enabled") && values.at("cache.expire_hours").is_some_and(|n| n.as_f64() <= Some(0.0)) {
        refuse("cache.expire_hours", "must be more than 0 where the cache is enabled");
    }
    if values.is_on("trace.enabled") {
        match (values.has("trace.jaeger"), values.has("trace.otel")) {
            (true, false) if values.has("trace.jaeger.endpoint") == values.has("trace.jaeger.agent_host") => {
                refuse("trace.jaeger", "must have one of endpoint and agent_host");
            }
            (false, true) if !values.has("trace.otel.endpoint") || !values.has("trace.otel.url_path") => {
                refuse("trace.otel", "must have endpoint and url_path");
            }
            (true, false) | (false, true) => {}
            _ => refuse("trace", "must have one of jaeger and otel where it is enabled"),
        }
    }
    found
}

struct Values<'v> {
    values: &'v Map<String, Value>,
    secret: &'v [String],
}

impl Values<'_> {
    /// The value at a path, unless it is empty or a secret.
    fn at(&self, path: &str) -> Option<&Value> {
        if self.secret.iter().any(|secret| secret == path) {
            return None;
        }
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let top = self.values.get(first)?;
        let found = rest.map_or(Some(top), |rest| rest.split('.').try_fold(top, |value, name| value.get(name)))?;
        Some(found).filter(|value| !value.is_null())
    }

    fn is_on(&self, path: &str) -> bool {
        self.at(path) == Some(&Value::Bool(true))
    }

    /// Whether there is anything at a path, a secret too.
    fn has(&self, path: &str) -> bool {
        let is_empty = |value: &Value| value == "" || value.as_object().is_some_and(Map::is_empty);
        self.secret.iter().any(|secret| secret == path) || self.at(path).is_some_and(|value| !is_empty(value))
    }
}

fn is_one_of(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|value| words.contains(&value))
}

fn is_hours(value: &Value) -> bool {
    let hours = value.as_str().and_then(|text| text.strip_suffix('h'));
    hours.is_some_and(|hours| hours.bytes().all(|b| b.is_ascii_digit()) && hours.parse::<u64>().is_ok_and(|n| n >= 2))
}
