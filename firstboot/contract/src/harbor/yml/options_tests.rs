//! The scanner and the metrics: what `prepare` is told, and what becomes of the services that it then writes.

use super::*;
use crate::harbor::{limits, prepare_arguments};

/// A node that turns options on.
fn node(options: &str) -> String {
    NODE.replace("admin_password", &format!("{options}, admin_password"))
}

#[test]
fn what_prepare_is_told() {
    let values = yml("v2.15.2", &node("trivy: true, metrics: {port: 9100}")).unwrap();
    let expected = json!({"enabled": true, "port": 9090, "path": "/metrics"});
    assert_eq!(values["metric"], expected, "the node's own port is published in its place");
    assert_eq!(values["external_redis"]["trivy_db_index"], 5);
    assert_eq!(yml("v2.15.2", NODE).unwrap().get("metric"), None);
    for (version, options, expected) in [
        ("v1.10.19", "jobservice: true", &[][..]),
        ("v2.0.6", "jobservice: true", &["prepare"]),
        ("v2.0.6", "trivy: true", &["prepare", "--with-trivy"]),
        ("v2.15.2", "metrics: {port: 9090}", &["prepare"]),
    ] {
        let config = schema::parse(&node(options)).unwrap();
        assert_eq!(prepare_arguments(&config, &Version::parse(version).unwrap()), expected, "{version} {options}");
    }
}

#[test]
fn options_that_a_version_has_not() {
    for (version, options, expected) in [
        ("v1.7.8", "trivy: true", Some("harbor.trivy: Harbor v1.7.8 has none")),
        ("v1.10.19", "trivy: true", Some("harbor.trivy: Harbor v1.10.19 has none")),
        ("v2.0.0", "trivy: true", None),
        ("v2.1.6", "metrics: {port: 9090}", Some("harbor.metrics: Harbor v2.1.6 has none")),
        ("v2.2.0", "metrics: {port: 9090}", None),
        ("v1.10.19", "trivy: false", None),
    ] {
        let config = schema::parse(&node(options)).unwrap();
        let said = limits(&config, &Version::parse(version).unwrap());
        assert_eq!(said.first().map(|mistake| mistake.message.as_str()), expected, "{version} {options}");
    }
}

/// What 2.15's `prepare` adds to its compose file and beside it.
fn with_options() -> Prepared {
    let mut prepared = prepared("v2.15.2");
    let more = "  trivy-adapter:
    image: t
    depends_on: [log]
    env_file: ./common/config/trivy-adapter/env
    volumes:
      - {type: bind, source: /data/trivy-adapter/trivy, target: /home/scanner/.cache/trivy}
      - {type: bind, source: /data/trivy-adapter/reports, target: /home/scanner/.cache/reports}
  exporter:
    image: e
    container_name: harbor-exporter
    env_file: [./common/config/exporter/env]
    depends_on: [core, postgresql]
    volumes: [{type: bind, source: ./common/config/shared/trust-certificates, target: /harbor_cust_cert}]
";
    prepared.files.get_mut("docker-compose.yml").unwrap().text.push_str(more);
    for (path, text) in [
        ("common/config/trivy-adapter/env", "SCANNER_REDIS_URL=redis://redis/5\n"),
        ("common/config/exporter/env", "HARBOR_SERVICE_HOST=core\n"),
    ] {
        let file = RenderedFile { text: text.to_owned(), mode: 0o640, owner: (0, 0) };
        prepared.files.insert(path.to_owned(), file);
    }
    prepared
}

#[test]
fn their_services_on_a_node() {
    let node = node("trivy: true, metrics: {port: 9100}");
    let rendered = with("v2.15.2", &node, Some(&with_options()), render_all).unwrap();
    let compose: Value = serde_json::from_str(&rendered.files["docker-compose.yml"].text).unwrap();
    assert_eq!(
        start_order(&compose),
        ["portal", "registry", "registryctl", "trivy-adapter", "core", "exporter", "jobservice", "proxy"]
    );
    let service = |name: &str| compose["services"][name].clone();
    assert_eq!(service("proxy")["ports"], json!(["8070:8080", "9100:9090"]));
    assert_eq!(service("exporter")["depends_on"], json!(["core"]));
    assert_eq!(service("exporter")["environment"], json!({"HARBOR_SERVICE_HOST": "core"}));
    assert_eq!(service("trivy-adapter")["environment"], json!({"SCANNER_REDIS_URL": "redis://redis/5"}));
    for name in ["trivy", "reports"] {
        // Its cache is a database in files, which one scanner has for itself.
        let path = format!("/local/trivy-adapter/{name}");
        let made = rendered.directories.iter().find(|made| made.path == path).unwrap();
        assert_eq!((made.mode, made.owner), (0o755, HARBOR));
    }
    let without = with("v2.15.2", NODE, Some(&with_options()), render_all).unwrap();
    let compose: Value = serde_json::from_str(&without.files["docker-compose.yml"].text).unwrap();
    assert_eq!(compose["services"]["proxy"]["ports"], json!(["8070:8080"]));
}
