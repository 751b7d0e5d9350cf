//! What a node's settings may be under each key of the versions, and which of them a node may not set.

use super::super::known::{Known, Shape};
use super::*;
use crate::schema::owner_of;

#[path = "samples.rs"]
mod samples;
use samples::{VERSIONS, minor, sample};

/// The keys that are a number or true or false in `harbor.yml`, with the first version whose file has them, be it in a comment.
/// Harbor reads each by such a value alone: no other that it has takes a unit or text. What does (`upload_purging.age: 168h`,
/// `trivy.timeout: 5m0s`) is text in the file, but for `database.conn_max_idle_time: 0`, which belongs to the node's `database`.
const CHECKED: [((u64, u64), &str, Shape); 22] = [
    ((2, 6), "cache.enabled", Shape::Switch),
    ((2, 6), "cache.expire_hours", Shape::Number),
    ((2, 11), "ip_family.ipv4.enabled", Shape::Switch),
    ((2, 11), "ip_family.ipv6.enabled", Shape::Switch),
    ((2, 8), "jobservice.logger_sweeper_duration", Shape::Number),
    ((2, 13), "jobservice.max_job_duration_hours", Shape::Number),
    ((1, 8), "jobservice.max_job_workers", Shape::Number),
    ((2, 8), "notification.webhook_job_http_client_timeout", Shape::Number),
    ((1, 9), "notification.webhook_job_max_retry", Shape::Number),
    ((2, 4), "trace.enabled", Shape::Switch),
    ((2, 4), "trace.jaeger.agent_port", Shape::Number),
    ((2, 4), "trace.otel.compression", Shape::Switch),
    ((2, 4), "trace.otel.insecure", Shape::Switch),
    ((2, 7), "trace.otel.timeout", Shape::Number),
    ((2, 4), "trace.sample_rate", Shape::Number),
    ((2, 0), "trivy.ignore_unfixed", Shape::Switch),
    ((2, 0), "trivy.insecure", Shape::Switch),
    ((2, 4), "trivy.offline_scan", Shape::Switch),
    ((2, 9), "trivy.skip_java_db_update", Shape::Switch),
    ((2, 0), "trivy.skip_update", Shape::Switch),
    ((2, 5), "upload_purging.dryrun", Shape::Switch),
    ((2, 5), "upload_purging.enabled", Shape::Switch),
];

/// A node config with one setting.
fn set(path: &str, value: &str, node: &str) -> String {
    let names: Vec<&str> = path.split('.').collect();
    let setting = names.iter().rev().fold(value.to_owned(), |inner, name| format!("{{{name}: {inner}}}"));
    node.replace("admin_password: x", &format!("admin_password: x, settings: {setting}"))
}

fn of(version: &str, node: &str) -> Result<Value, Mistake> {
    with(version, node, None, |inputs| harbor_yml(&Inputs { file: &|_| Ok(sample(version)), ..*inputs }))
}

#[test]
fn which_keys_are_checked() {
    for version in VERSIONS {
        let text = sample(version);
        let values: Map<String, Value> = serde_saphyr::from_str(&text).unwrap();
        let known = Known::of(&text, &values);
        let expected = CHECKED.iter().filter(|(since, ..)| *since <= minor(version));
        let expected: Vec<(&str, Shape)> = expected.map(|(_, path, shape)| (*path, *shape)).collect();
        let is_free = |path: &str| schema::parse(&set(path, "1", NODE)).is_ok();
        let checked = known.paths().filter_map(|path| Some((path, known.shape(path)?)));
        let checked: Vec<(&str, Shape)> =
            checked.filter(|(path, shape)| matches!(shape, Shape::Number | Shape::Switch) && is_free(path)).collect();
        assert_eq!(checked, expected, "{version}");
        for (path, shape) in expected {
            let (good, wrong, words) = match shape {
                Shape::Number => (["3", "7", "'7'"], ["many", "true", "7h"], "must be a number"),
                _ => (["true", "false", "off"], ["maybe", "7", "'true'"], "must be true or false"),
            };
            // A trace that is on needs more.
            for good in good.into_iter().filter(|good| path != "trace.enabled" || *good != "true") {
                assert!(of(version, &set(path, good, NODE)).is_ok(), "{version} {path} {good}");
            }
            for wrong in wrong {
                let said = of(version, &set(path, wrong, NODE)).unwrap_err().message;
                assert!(said.starts_with(&format!("harbor.settings.{path}: is ")) && said.ends_with(words), "{said}");
            }
        }
    }
}

#[test]
fn a_key_may_be_left_empty_unless_prepare_reads_it_all_the_same() {
    for path in ["proxy", "trivy", "cache.expire_hours", "trivy.insecure", "jobservice.max_job_duration_hours"] {
        assert!(of("v2.15.2", &set(path, "", NODE)).is_ok(), "{path}");
    }
    for path in ["jobservice", "jobservice.max_job_workers", "log", "log.level", "notification"] {
        let said = of("v2.15.2", &set(path, "~", NODE)).unwrap_err().message;
        assert_eq!(said, format!("harbor.settings.{path}: is empty, and Harbor v2.15.2 cannot do without"));
    }
}

#[test]
fn a_key_in_a_wrong_place_is_sent_where_it_can_be_only() {
    for (path, place) in [("max_job_workers", "jobservice.max_job_workers"), ("enabled", ""), ("max_open_conns", "")] {
        let hint = of("v2.15.2", &set(path, "7", NODE)).unwrap_err().hint.unwrap();
        let belongs = hint.strip_prefix("it belongs to harbor.settings.").unwrap_or_default();
        assert_eq!(belongs, place, "{path}: {hint}");
    }
}

#[test]
fn durations_sizes_and_names_are_text() {
    for (path, value) in [
        ("upload_purging.age", "72h"),
        ("trivy.timeout", "300"),
        ("log.level", "debug"),
        ("trivy.security_check", "'vuln,secret'"),
        ("core.quota_update_provider", "db"),
        ("proxy.http_proxy", "true"),
        ("trace.attributes.application", "7"),
    ] {
        let said = of("v2.15.2", &set(path, value, NODE)).map_err(|mistake| mistake.message);
        assert_eq!(said.map(drop), Ok(()), "{path}");
    }
}

#[test]
fn a_map_in_a_comment_is_one() {
    for path in ["trace", "trace.otel", "ip_family", "core"] {
        let said = of("v2.15.2", &set(path, "true", NODE)).unwrap_err().message;
        assert_eq!(said, format!("harbor.settings.{path}: is true or false, and must be a map"));
        assert!(of("v2.15.2", &set(path, "{}", NODE)).is_ok());
    }
}

#[test]
fn values_that_prepare_or_a_service_stops_at() {
    for (settings, refused) in [
        ("{log: {level: inof}}", "log.level"),
        ("{log: {level: INFO}}", "log.level"),
        ("{log: {level: ref+file:///level}}", ""),
        ("{upload_purging: {enabled: true, age: 1h}}", "upload_purging.age"),
        ("{upload_purging: {enabled: true, interval: 24}}", "upload_purging.interval"),
        ("{upload_purging: {enabled: true, age: 2h}}", ""),
        ("{upload_purging: {enabled: false, age: 1h}}", ""),
        ("{cache: {enabled: true, expire_hours: 0}}", "cache.expire_hours"),
        ("{cache: {enabled: true, expire_hours: 1}}", ""),
        ("{core: {quota_update_provider: foo}}", "core.quota_update_provider"),
        ("{core: {quota_update_provider: redis}}", ""),
        ("{trace: {enabled: true}}", "trace"),
        ("{trace: {enabled: true, jaeger: {endpoint: x, agent_host: y}}}", "trace.jaeger"),
        ("{trace: {enabled: true, jaeger: {endpoint: ref+file:///e}}}", ""),
        ("{trace: {enabled: true, jaeger: {agent_host: y}, otel: {endpoint: x, url_path: y}}}", "trace"),
        ("{trace: {enabled: true, otel: {endpoint: x}}}", "trace.otel"),
        ("{trace: {enabled: true, otel: {endpoint: x, url_path: y}}}", ""),
        ("{proxy: {no_proxy: [a]}}", "proxy.no_proxy"),
        ("{jobservice: {job_loggers: []}}", "jobservice.job_loggers"),
        ("{jobservice: {job_loggers: [FILE, file]}}", "jobservice.job_loggers"),
        ("{jobservice: {job_loggers: [DB]}}", ""),
        ("{jobservice: {max_job_workers: -5}}", "jobservice.max_job_workers"),
        ("{jobservice: {max_job_workers: 1.5}}", "jobservice.max_job_workers"),
    ] {
        let node = NODE.replace("admin_password: x", &format!("admin_password: x, settings: {settings}"));
        let said = of("v2.15.2", &node).map(drop).map_err(|mistake| mistake.message);
        match refused {
            "" => assert_eq!(said, Ok(()), "{settings}"),
            path => assert!(said.unwrap_err().starts_with(&format!("harbor.settings.{path}: must ")), "{settings}"),
        }
    }
}

/// `prepare` compares such a value with a number.
#[test]
fn a_number_in_quotes_is_written_without_them() {
    let values = of("v2.15.2", &set("cache.expire_hours", "'12'", NODE)).unwrap();
    assert_eq!(values["cache"], json!({"enabled": false, "expire_hours": 12}));
}

/// The paths at which two values differ.
fn differing(one: Option<&Value>, other: Option<&Value>, at: &str, found: &mut Vec<String>) {
    if one == other {
        return;
    }
    let empty = Map::new();
    let maps = [one, other].map(|value| value.and_then(Value::as_object));
    if maps == [None, None] {
        found.push(at.to_owned());
        return;
    }
    let [one, other] = maps.map(|map| map.unwrap_or(&empty));
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for name in names {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        differing(one.get(name), other.get(name), &path, found);
    }
}

#[test]
fn what_a_node_sets_by_other_keys_is_no_setting() {
    let own = NODE.split("database").next().unwrap().to_owned() + "database: bundled\nredis: bundled\n";
    let tls = format!("{NODE}tls: {{certificate: 'ref+file:///x', key: 'ref+file:///x'}}\n")
        .replace("admin_password: x", "admin_password: x, https_port: 8443, metrics: {port: 9100}, trivy: true")
        .replace("host: db", "host: db, tls: verify, connections: 90")
        .replace("host: redis", "host: redis, username: u, tls: verify");
    let mut all = std::collections::BTreeSet::new();
    for version in VERSIONS {
        for node in [NODE, &own, &tls] {
            let (bundles, written) = with(version, node, None, |inputs| {
                let inputs = Inputs { file: &|_| Ok(sample(version)), ..*inputs };
                (Value::Object(settings::merged(&inputs).unwrap()), harbor_yml(&inputs).unwrap())
            });
            let mut paths = Vec::new();
            differing(Some(&bundles), Some(&written), "", &mut paths);
            for path in paths {
                let problems = schema::parse(&set(&path, "x", node)).map(drop).expect_err(&path);
                let top = path.split('.').next().unwrap();
                assert!(owner_of(top).is_some(), "{path}");
                assert_eq!(problems[0].key, format!("harbor.settings.{top}"), "{version} {path}");
                all.insert(path);
            }
        }
    }
    for path in [
        "data_volume",
        "database.password",
        "external_database.harbor.password",
        "external_redis.host",
        "external_redis.tlsOptions.enable",
        "external_url",
        "harbor_admin_password",
        "hostname",
        "http.port",
        "https.certificate",
        "https.port",
        "metric.port",
    ] {
        assert!(all.contains(path), "{path}: {all:?}");
    }
}
