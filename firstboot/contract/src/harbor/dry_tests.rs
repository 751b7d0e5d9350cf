//! Bundles whose files a node could not use.

use super::*;
use crate::harbor::broken;

/// In the form of `harbor.yml`, with what a node sets.
pub(in super::super) const YML: &str = "hostname: h
# external_url: u
http:
  port: 80
https:
  port: 443
  certificate: c
  private_key: k
harbor_admin_password: w
database:
  password: w
data_volume: /data
# external_database:
#   harbor:
#     host: h
#     port: p
#     db_name: n
#     username: u
#     password: w
#     ssl_mode: m
#     max_open_conns: 0
# external_redis:
#   host: h
#   password:
#   registry_db_index: 1
#   jobservice_db_index: 2
#   trivy_db_index: 5
# metric:
#   enabled: false
#   port: 9090
#   path: /metrics
";

fn dry(version: &str, file: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    let read = |path: &str| file(path).ok_or_else(|| broken(path, "is not there"));
    let version = Version::parse(version).unwrap();
    render_dry(&version, &Defaults::default(), &read).map_err(|mistake| mistake.message)
}

/// A bundle of 1.5, in which the file at `path` is another one, or none.
fn cfg(path: &str, text: Option<&str>) -> Result<(), String> {
    dry("v1.5.4", &|asked| {
        if asked == path {
            return text.map(str::to_owned);
        }
        Some(match asked.trim_start_matches("common/templates/") {
            "docker-compose.yml" => {
                "services: {ui: {image: u, env_file: ./common/config/ui/env}, proxy: {image: p, ports: ['80:80', '443:443']}}".to_owned()
            }
            "ui/app.conf" => "mode = $raw\n".to_owned(),
            "jobservice/config.yml" => "workers: $max_workers\nredis_url: $redis_url\n".to_owned(),
            "harbor.cfg" => "max_workers = 3\n".to_owned(),
            _ => "a = $ui_url\n".to_owned(),
        })
    })
}

#[test]
fn templates_that_cannot_be_rendered() {
    assert_eq!(cfg("", None), Ok(()));
    let template = |name: &str| format!("common/templates/{name}");
    for name in [
        "adminserver/env",
        "db/env",
        "jobservice/config.yml",
        "jobservice/env",
        "nginx/nginx.http.conf",
        "nginx/nginx.https.conf",
        "registry/config.yml",
        "ui/app.conf",
        "ui/env",
    ] {
        let path = template(name);
        assert_eq!(cfg(&path, None), Err(format!("{path} of the bundle: is not there")));
        if name != "ui/app.conf" {
            let found = cfg(&path, Some("one\n$of_my_own\n"));
            assert_eq!(found, Err(format!("{path} of the bundle: line 2: $of_my_own is not known")));
        }
    }
    assert!(cfg("harbor.cfg", None).is_err());
    assert_eq!(cfg("harbor.cfg", Some("")), Err("harbor.cfg of the bundle: sets nothing".to_owned()));
    let found = cfg("docker-compose.yml", Some("services: [")).unwrap_err();
    assert!(found.starts_with("docker-compose.yml of the bundle: "), "{found}");
}

#[test]
fn a_settings_file_that_lacks_what_a_node_sets() {
    let yml = |version: &str, without: &str| {
        let text: String =
            YML.split_inclusive('\n').filter(|line| !line.contains(without) || without.is_empty()).collect();
        dry(version, &|path| (path.starts_with("harbor.yml")).then(|| text.clone()))
    };
    for version in ["v1.8.6", "v1.10.19", "v2.0.0", "v2.15.2"] {
        // Before 2.1 the port of Redis is a key of its own.
        let found = yml(version, "");
        match version {
            "v1.8.6" => assert!(found.unwrap_err().contains("external_database.clair")),
            "v1.10.19" | "v2.0.0" => assert!(found.unwrap_err().contains("external_redis.port")),
            _ => assert_eq!(found, Ok(())),
        }
    }
    for (without, key) in [
        ("hostname", "hostname"),
        ("external_url", "external_url"),
        ("private_key", "https.private_key"),
        ("db_name", "external_database.harbor.db_name"),
        ("trivy_db_index", "external_redis.trivy_db_index"),
        ("path: /metrics", "metric.path"),
    ] {
        let expected = format!("harbor.yml.tmpl of the bundle: has no {key}, which a node sets");
        assert_eq!(yml("v2.15.2", without), Err(expected));
    }
    let list = dry("v2.15.2", &|_| Some("- a\n".to_owned()));
    assert_eq!(list.unwrap_err(), "harbor.yml.tmpl of the bundle: is no map");
    assert!(dry("v2.15.2", &|_| None).is_err());
    let twice = dry("v2.15.2", &|_| Some("a: 1\na: 2\n".to_owned()));
    let words = "harbor.yml.tmpl of the bundle: is no YAML: line 2, column 1: \"a\" is given twice";
    assert_eq!(twice.unwrap_err(), words);
}
