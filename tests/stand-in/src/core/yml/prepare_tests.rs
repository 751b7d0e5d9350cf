//! What `prepare` writes, in directories of the test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;

const TEMPLATE: &str = include_str!("../../../yml/harbor.yml.tmpl");
const EXTERNAL: &str = "
external_database:
  harbor: {host: db.example, port: 5432, db_name: registry, username: harbor, password: secret, ssl_mode: disable}
external_redis: {host: 'redis.example:6379', password: 'a/b', registry_db_index: 1, jobservice_db_index: 2}
";

/// harbor.yml of the bundle with a name, http only.
fn configuration() -> String {
    let mut lines: Vec<&str> = TEMPLATE.lines().collect();
    let https = lines.iter().position(|line| line.starts_with("https:")).unwrap();
    lines.drain(https..https + 4);
    lines.join("\n").replace("reg.mydomain.com", "harbor.example")
}

/// Places below a directory that ends with the test.
fn places(name: &str, configuration: &str) -> Places {
    let top = std::env::temp_dir().join(format!("stand-in-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&top);
    let place = |part: &str| {
        let path = top.join(part);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let places = Places {
        input: place("input"),
        data: place("data"),
        compose: place("compose"),
        config: place("config"),
        host: place("host"),
        owners: false,
    };
    fs::write(places.input.join("harbor.yml"), configuration).unwrap();
    places
}

impl Drop for Places {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.input.parent().unwrap());
    }
}

fn files(top: &Path, path: &Path, found: &mut BTreeMap<String, (u32, String)>) {
    for entry in fs::read_dir(path).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            files(top, &path, found);
        } else {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let name = path.strip_prefix(top).unwrap().display().to_string();
            found.insert(name, (mode, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn all(places: &Places) -> BTreeMap<String, (u32, String)> {
    let mut found = BTreeMap::new();
    for part in [&places.config, &places.data, &places.compose] {
        files(places.input.parent().unwrap(), part, &mut found);
    }
    found
}

fn services(places: &Places) -> Vec<String> {
    let text = fs::read_to_string(places.compose.join("docker-compose.yml")).unwrap();
    let compose: Value = serde_saphyr::from_str(&text).unwrap();
    compose["services"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn a_second_run_changes_the_secrets_and_keeps_the_keys() {
    let places = places("twice", &configuration());
    places.prepare(false).unwrap();
    let first = all(&places);
    fs::write(places.config.join("core/stray"), "").unwrap();
    places.prepare(false).unwrap();
    let second = all(&places);
    let modes = |all: &BTreeMap<String, (u32, String)>| {
        all.iter().map(|(name, (mode, _))| (name.clone(), *mode)).collect::<Vec<_>>()
    };
    assert_eq!(modes(&first), modes(&second), "the stray file went");
    assert_eq!(first["config/core/env"].0, 0o640);
    assert_eq!(first["config/registry/passwd"].0, 0o644);
    assert_eq!(first["data/secret/keys/secretkey"].0, 0o600);
    assert_eq!(first["data/secret/keys/secretkey"].1.len(), 16);
    let differ: Vec<&str> = first.keys().filter(|name| first[*name] != second[*name]).map(String::as_str).collect();
    let secret =
        ["core/env", "jobservice/env", "registry/passwd", "registryctl/env"].map(|name| format!("config/{name}"));
    assert_eq!(differ, secret);
    fs::remove_file(places.data.join("secret/registry/root.crt")).unwrap();
    places.prepare(false).unwrap();
    let pem = "data/secret/core/private_key.pem";
    assert_ne!(all(&places)[pem], second[pem], "half a pair: both anew");
}

#[test]
fn servers_of_its_own_only_where_there_are_no_others() {
    let own = places("own", &configuration());
    own.prepare(false).unwrap();
    assert_eq!(
        services(&own),
        ["core", "jobservice", "log", "portal", "postgresql", "proxy", "redis", "registry", "registryctl"]
    );
    let others = places("others", &(configuration() + EXTERNAL));
    others.prepare(false).unwrap();
    assert_eq!(services(&others), ["core", "jobservice", "log", "portal", "proxy", "registry", "registryctl"]);
    let env = &all(&others)["config/core/env"].1;
    assert!(env.contains("POSTGRESQL_HOST=db.example\n"), "{env}");
    assert!(env.contains("_REDIS_URL_REG=redis://:a%2Fb@redis.example:6379/1?idle_timeout_seconds=30\n"), "{env}");
}

#[test]
fn the_options_have_services_and_files_of_their_own() {
    let places =
        places("options", &(configuration() + EXTERNAL + "metric: {enabled: true, port: 9090, path: /metrics}\n"));
    places.prepare(true).unwrap();
    let (names, all) = (services(&places), all(&places));
    assert!(names.contains(&"trivy-adapter".to_owned()) && names.contains(&"exporter".to_owned()), "{names:?}");
    assert!(all["config/trivy-adapter/env"].1.contains("SCANNER_REDIS_URL=redis://:a%2Fb@redis.example:6379/5?"));
    assert!(all["config/exporter/env"].1.contains("HARBOR_DATABASE_HOST=db.example\n"));
    let core = &all["config/core/env"].1;
    assert!(core.contains("WITH_TRIVY=True\n") && core.contains("METRIC_SUBSYSTEM=core\n"), "{core}");
    assert!(all["config/registry/config.yml"].1.contains("    addr: :9090\n    prometheus:\n"));
    assert!(all["config/nginx/nginx.conf"].1.contains("server jobservice:9090;"));
    assert!(places.data.join("trivy-adapter/reports").is_dir());
}

#[test]
fn certificates_are_copied_from_the_host() {
    let https = "\nhttps: {port: 443, certificate: /etc/tls/a.crt, private_key: /etc/tls/a.key}\n";
    let places = places("https", &(configuration() + https));
    assert!(places.prepare(false).is_err(), "there are none");
    fs::create_dir_all(places.host.join("etc/tls")).unwrap();
    fs::write(places.host.join("etc/tls/a.crt"), "certificate").unwrap();
    fs::write(places.host.join("etc/tls/a.key"), "key").unwrap();
    places.prepare(false).unwrap();
    let all = all(&places);
    assert_eq!(all["data/secret/cert/server.key"], (0o600, "key".to_owned()));
    assert!(all["config/nginx/nginx.conf"].1.contains("return 308 https://harbor.example$request_uri;"));
    assert!(all["compose/docker-compose.yml"].1.contains("      - 443:8443\n"));
}

#[test]
fn refuses_what_harbor_refuses() {
    for (wrong, word) in [
        (configuration().replace("hostname: harbor.example", "hostname: 127.0.0.1"), "127.0.0.1"),
        (TEMPLATE.to_owned(), "template"),
        (configuration().replace("hostname:", "name:"), "hostname"),
        (configuration().replace("level: info", "level: loud"), "loud"),
    ] {
        let places = places("refused", &wrong);
        fs::write(places.config.join("old"), "").unwrap();
        let error = format!("{:#}", places.prepare(false).unwrap_err());
        assert!(error.contains(word), "{error}");
        assert!(!places.config.join("old").exists(), "deleted first, as Harbor does");
    }
    let json = r#"{"hostname": "harbor.example", "harbor_admin_password": "a", "data_volume": "/data",
        "database": {"password": "b"}, "jobservice": {"max_job_workers": 2, "job_loggers": ["FILE"],
        "logger_sweeper_duration": 1}, "log": {"level": "info"},
        "notification": {"webhook_job_max_retry": 3, "webhook_job_http_client_timeout": 3}}"#;
    places("json", json).prepare(false).unwrap();
}
