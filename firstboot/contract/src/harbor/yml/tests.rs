//! `harbor.yml` for four versions, and what becomes of files in the form in which their `prepare` writes them.

use super::*;
use crate::harbor::{ClusterSecrets, Compose, Defaults, Directories, render as render_all, start_order};
use crate::schema;

#[path = "changes_tests.rs"]
mod changes;
#[path = "defaults_tests.rs"]
mod defaults;
#[path = "kinds_tests.rs"]
mod kinds;
#[path = "options_tests.rs"]
mod options;
#[path = "pools_tests.rs"]
mod pools;

/// In the form of the bundle's own file; a key in a comment exists.
const TEMPLATE: &str = "hostname: reg.mydomain.com
http:
  port: 80
https:
  port: 443
  certificate: /your/path
  # strong_ssl_ciphers: false
# external_url: https://x
harbor_admin_password: word
database:
  password: word
  max_open_conns: 900
data_volume: /data
# storage_service:
#   s3:
jobservice:
  max_job_workers: 10
  # - DB
log:
  level: info
  local:
    location: /var/log/harbor
  # external_endpoint:
_version: 2.15.0
# trace:
#   enabled: true
#   attributes:
#     application: x
proxy:
  http_proxy:
";

const NODE: &str = "version: 1
cluster: hub
harbor: {external_url: 'http://hub.example.com:8070', http_port: 8070, admin_password: x}
storage: {local: {path: /srv/share}}
database: {kind: postgresql, host: db, user: harbor, password: x}
redis: {host: redis, password: x}
";

fn cluster() -> ClusterSecrets<'static> {
    ClusterSecrets {
        secretkey: "0123456789abcdef",
        private_key: "key",
        root_crt: "certificate",
        core_secret: "shared-core",
        jobservice_secret: "shared-job",
        csrf_key: "csrfcsrfcsrfcsrfcsrfcsrfcsrfcsrf",
    }
}

fn with<T>(version: &str, node: &str, prepared: Option<&Prepared>, act: impl FnOnce(&Inputs<'_>) -> T) -> T {
    with_password(version, node, prepared, "pass", act)
}

fn with_password<T>(
    version: &str,
    node: &str,
    prepared: Option<&Prepared>,
    password: &str,
    act: impl FnOnce(&Inputs<'_>) -> T,
) -> T {
    let config = schema::parse(node).unwrap();
    act(&Inputs {
        config: &config,
        defaults: &Defaults::default(),
        version: &Version::parse(version).unwrap(),
        file: &|_| Ok(TEMPLATE.to_owned()),
        secret: &|_| Some(password.to_owned()),
        cluster: cluster(),
        reset: false,
        directories: Directories { work: "/node", local: "/local", shared: "/share" },
        compose: Compose::V2,
        prepared,
    })
}

fn yml(version: &str, node: &str) -> Result<Value, Mistake> {
    with(version, node, None, harbor_yml)
}

#[test]
fn the_bundles_own_values_with_the_nodes_in_their_place() {
    let values = yml("v2.15.2", NODE).unwrap();
    let expected = [
        ("hostname", json!("hub.example.com")),
        ("external_url", json!("http://hub.example.com:8070")),
        ("http", json!({"port": 8070})),
        ("harbor_admin_password", json!("pass")),
        ("data_volume", json!("/data")),
        ("jobservice", json!({"max_job_workers": 10})),
        ("_version", json!("2.15.0")),
        ("proxy", json!({"http_proxy": null})),
        (
            "external_redis",
            json!({"host": "redis:6379", "password": "pass", "registry_db_index": 1, "jobservice_db_index": 2}),
        ),
    ];
    for (key, value) in expected {
        assert_eq!(values[key], value, "{key}");
    }
    assert_eq!(values.get("https"), None);
    assert_eq!(values["external_database"]["harbor"]["ssl_mode"], "disable");
    let first = yml("v1.8.6", NODE).unwrap();
    assert_eq!(first["external_database"].as_object().unwrap().len(), 4, "1.8 reads four databases");
    assert_eq!(first["external_redis"]["port"], 6379, "before 2.1 the port is a key of its own");
}

#[test]
fn a_node_of_its_own_and_https() {
    let node = NODE.split("database").next().unwrap().to_owned()
        + "database: bundled\nredis: bundled\ntls: {certificate: 'ref+file:///x', key: 'ref+file:///x'}\n";
    let values = yml("v2.7.4", &node).unwrap();
    assert_eq!((values.get("external_database"), values.get("external_redis")), (None, None));
    assert_eq!(values["database"], json!({"password": "pass", "max_open_conns": 900}));
    assert_eq!(values["https"], json!({"port": 443, "certificate": CERTIFICATE, "private_key": KEY}));
    let files = with("v2.7.4", &node, None, prepare_files).unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file.path).collect();
    assert_eq!(
        paths,
        [
            "/input/harbor.yml",
            "/data/secret/keys/secretkey",
            "/data/secret/core/private_key.pem",
            "/data/secret/registry/root.crt",
            "/hostfs/data/secret/cert/server.crt",
            "/hostfs/data/secret/cert/server.key"
        ]
    );
}

#[test]
fn settings_are_those_of_the_version() {
    let set = |settings: &str| {
        yml("v2.15.2", &NODE.replace("admin_password", &format!("settings: {settings}, admin_password")))
    };
    let values = set("{jobservice: {max_job_workers: 3}, trace: {enabled: false, attributes: {any: thing}}}").unwrap();
    assert_eq!(values["jobservice"], json!({"max_job_workers": 3}));
    assert_eq!(values["trace"], json!({"enabled": false, "attributes": {"any": "thing"}}));
    for (settings, message, hint) in [
        (
            "{jobservices: {x: 1}}",
            "harbor.settings.jobservices: Harbor v2.15.2 has no such setting",
            "did you mean \"jobservice\"?",
        ),
        (
            "{jobservice: {max_workers: 1}}",
            "harbor.settings.jobservice.max_workers: Harbor v2.15.2 has no such setting",
            "max_job_workers",
        ),
        (
            "{max_job_workers: 1}",
            "harbor.settings.max_job_workers: Harbor v2.15.2 has no such setting",
            "it belongs to harbor.settings.jobservice.max_job_workers",
        ),
        (
            "{jobservice: {level: info}}",
            "harbor.settings.jobservice.level: Harbor v2.15.2 has no such setting",
            "it belongs to harbor.settings.log.level",
        ),
        (
            "{proxy: {http_proxy: {http_proxy: x}}}",
            "harbor.settings.proxy.http_proxy.http_proxy: Harbor v2.15.2 has no such setting",
            "",
        ),
    ] {
        let mistake = set(settings).unwrap_err();
        assert_eq!(mistake.message, message);
        assert!(mistake.hint.as_deref().unwrap_or_default().contains(hint), "{mistake:?}");
    }
}

#[test]
fn what_a_version_cannot_do() {
    for (version, from, to, expected) in [
        (
            "v2.15.2",
            "kind: postgresql",
            "kind: mysql",
            Some("database.kind: Harbor v2.15.2 keeps its data in PostgreSQL only"),
        ),
        (
            "v2.15.2",
            "host: redis",
            "host: redis, db: 3",
            Some("redis.db: Harbor v2.15.2 keeps its sessions in database 0"),
        ),
        ("v2.14.4", "host: redis", "host: redis, username: u", Some("redis.username: the registry of Harbor v2.14.4")),
        ("v2.15.0", "host: redis", "host: redis, username: u", None),
        ("v2.12.4", "host: redis", "host: redis, tls: verify", Some("redis.tls: Harbor v2.12.4 cannot encrypt")),
        ("v2.13.0", "host: redis", "host: redis, tls: verify", None),
        (
            "v1.10.19",
            "host: db",
            "host: db, tls: verify, ca: 'ref+file:///x'",
            Some("database.ca: Harbor v1.10.19 trusts"),
        ),
        ("v1.10.19", "host: db", "host: db, tls: verify", None),
        ("v2.0.0", "host: db", "host: db, tls: verify, ca: 'ref+file:///x'", None),
        (
            "v2.0.0",
            "admin_password",
            "jobservice: false, admin_password",
            Some("harbor.jobservice: Harbor v2.0.0 needs one"),
        ),
    ] {
        let config = schema::parse(&NODE.replace(from, to)).unwrap();
        let said = crate::harbor::limits(&config, &Version::parse(version).unwrap());
        match (&said[..], expected) {
            ([], None) => {}
            ([said], Some(expected)) => assert!(said.message.starts_with(expected), "{said}"),
            other => panic!("{version} {to}: {other:?}"),
        }
    }
    for (version, password, expected) in [
        ("v2.15.2", "pp qq", Some("database.password: holds a blank")),
        ("v2.15.2", "a@b:c/d", None),
        ("v2.5.6", "a@b", Some("redis.password: holds")),
        ("v2.0.6", "a,b", Some("redis.password: holds")),
        ("v2.5.6", "a,b", None),
    ] {
        let said =
            with_password(version, NODE, None, password, harbor_yml).map(drop).map_err(|mistake| mistake.message);
        match (said, expected) {
            (Ok(()), None) => {}
            (Err(said), Some(expected)) => assert!(said.starts_with(expected) && !said.contains("qq"), "{said}"),
            other => panic!("{version} {password}: {other:?}"),
        }
    }
}

/// Files in the form in which `prepare` writes them, as far as it matters.
fn prepared(version: &str) -> Prepared {
    let second = version.starts_with("v2");
    let csrf = if second { "CSRF_KEY=own\nROBOT_SCANNER_NAME_PREFIX=own\n" } else { "" };
    let compose = "services:
  log: {image: 'goharbor/harbor-log:v', volumes: ['/var/log/harbor/:/var/log/docker/']}
  registry:
    image: r
    depends_on: [log]
    volumes: ['/data/registry:/storage:z', './common/config/registry/:/etc/registry/:z',
      {type: bind, source: /data/secret/registry/root.crt, target: /etc/registry/root.crt}]
  core:
    image: c
    env_file: [./common/config/core/env]
    depends_on: [log, registry]
    volumes: ['/data/ca_download/:/etc/core/ca/:z', '/data/:/data/:z',
      {type: bind, source: /data/secret/keys/secretkey, target: /etc/core/key}]
  jobservice: {image: j, env_file: [./common/config/jobservice/env], depends_on: [core]}
  registryctl: {image: x, env_file: ./common/config/registryctl/env, depends_on: [log]}
  portal: {image: p, depends_on: [log]}
  postgresql: {image: d, volumes: ['/data/database:/var/lib/postgresql/data:z'], env_file: [./common/config/db/env]}
  proxy:
    image: n
    depends_on: [registry, core, portal, log]
    ports: ['80:8080', '443:8443', '9090:9090']
    volumes: ['./common/config/nginx:/etc/nginx:z', '/data/secret/cert:/etc/cert:z']
";
    let files = [
        ("docker-compose.yml", compose.to_owned(), 0o644, (0, 0)),
        ("common/config/core/env", format!("A=1\nCORE_SECRET=own\nJOBSERVICE_SECRET=own\n{csrf}"), 0o640, (0, 0)),
        ("common/config/core/app.conf", "[dev]\nXSRFKey = own\nXSRFExpire = 3600\n".to_owned(), 0o640, HARBOR),
        ("common/config/jobservice/env", "CORE_SECRET=own\nJOBSERVICE_SECRET=own\n".to_owned(), 0o640, (0, 0)),
        ("common/config/registryctl/env", "CORE_SECRET=own\nJOBSERVICE_SECRET=own\n".to_owned(), 0o640, (0, 0)),
        ("common/config/db/env", "POSTGRES_PASSWORD=x\n".to_owned(), 0o640, (0, 0)),
        ("common/config/registry/passwd", "user:hash\n".to_owned(), 0o644, (0, 0)),
        ("common/config/log/logrotate.conf", "rules\n".to_owned(), 0o640, (0, 0)),
    ];
    let file = |(path, text, mode, owner): (&str, String, u32, (u32, u32))| {
        (path.to_owned(), RenderedFile { text, mode, owner })
    };
    let directories = ["common/config/nginx/conf.d", "common/config/log"].map(str::to_owned).to_vec();
    Prepared { files: files.into_iter().map(file).collect(), directories }
}

fn rendered(version: &str, node: &str) -> (Rendered, Value) {
    let rendered = with(version, node, Some(&prepared(version)), render_all).unwrap();
    let compose = serde_json::from_str(&rendered.files["docker-compose.yml"].text).unwrap();
    (rendered, compose)
}

#[test]
fn what_all_nodes_have_alike() {
    let (rendered, compose) = rendered("v2.15.2", NODE);
    let environment = |service: &str| compose["services"][service]["environment"].clone();
    for service in ["core", "jobservice", "registryctl"] {
        assert_eq!(environment(service)["CORE_SECRET"], "shared-core", "{service}");
        assert_eq!(environment(service)["JOBSERVICE_SECRET"], "shared-job", "{service}");
    }
    assert_eq!(environment("core")["CSRF_KEY"], cluster().csrf_key);
    assert_eq!(environment("core")["ROBOT_SCANNER_NAME_PREFIX"], scanner_prefix("hub"));
    assert_ne!(scanner_prefix("hub"), scanner_prefix("hub2"));
    let key = &rendered.files["secret/keys/secretkey"];
    assert_eq!((key.text.as_str(), key.mode, key.owner), ("0123456789abcdef", 0o600, HARBOR));
    assert_eq!(rendered.files["secret/core/private_key.pem"].text, "key");
    assert!(!rendered.files.keys().any(|path| path.contains("/log/") || path.ends_with("/env")));
    assert_eq!(rendered.files["common/config/registry/passwd"].mode, 0o644);
    let (older, _) = self::rendered("v1.10.19", NODE);
    let conf = &older.files["common/config/core/app.conf"];
    assert_eq!(conf.text, format!("[dev]\nXSRFKey = {}csrfcsrf\nXSRFExpire = 3600\n", cluster().csrf_key));
    assert_eq!((conf.mode, conf.owner), (0o640, HARBOR));
}

#[test]
fn the_compose_file_of_a_node() {
    let (rendered, compose) = rendered("v2.15.2", NODE);
    assert_eq!(start_order(&compose), ["portal", "registry", "registryctl", "core", "jobservice", "proxy"]);
    let sources = |service: &str| -> Vec<&str> {
        let volumes = compose["services"][service]["volumes"].as_array().unwrap();
        volumes.iter().map(|volume| volume["source"].as_str().unwrap()).collect()
    };
    assert_eq!(
        sources("registry"),
        ["/share/registry", "/node/common/config/registry", "/node/secret/registry/root.crt"]
    );
    assert_eq!(sources("core"), ["/share/ca_download", "/share", "/node/secret/keys/secretkey"]);
    assert_eq!(sources("proxy"), ["/node/common/config/nginx", "/node/secret/cert"]);
    assert_eq!(compose["services"]["proxy"]["stop_grace_period"], "5m");
    let directories: Vec<(&str, (u32, u32))> =
        rendered.directories.iter().map(|made| (made.path.as_str(), made.owner)).collect();
    assert_eq!(
        directories,
        [("/node/common/config/nginx/conf.d", (0, 0)), ("/share/ca_download", HARBOR), ("/share/registry", HARBOR)]
    );
    let node = NODE.split("database").next().unwrap().to_owned() + "database: bundled\nredis: bundled\n";
    let (rendered, compose) = self::rendered("v2.15.2", &node);
    assert_eq!(start_order(&compose)[0], "postgresql");
    let database = rendered.directories.iter().find(|made| made.path == "/local/database").unwrap();
    assert_eq!((database.mode, database.owner), (0o700, (999, 999)));
}

#[test]
fn authorities_of_the_clusters_own() {
    let own = "tls: verify, ca: 'ref+file:///x'";
    let node =
        NODE.replace("host: db", &format!("host: db, {own}")).replace("host: redis", &format!("host: redis, {own}"));
    let values = yml("v2.15.2", &node).unwrap();
    assert_eq!(values["external_redis"]["tlsOptions"], json!({"enable": true, "rootCA": ""}));
    assert_eq!(values["external_database"]["harbor"]["ssl_mode"], "verify-full");
    let (rendered, _) = rendered("v2.15.2", &node);
    for name in ["database", "redis"] {
        let file = &rendered.files[&format!("common/config/shared/trust-certificates/habuild-{name}.crt")];
        assert_eq!((file.text.as_str(), file.mode, file.owner), ("pass\n", 0o644, HARBOR), "{name}");
    }
    let (without, _) = self::rendered("v2.15.2", NODE);
    assert!(!without.files.keys().any(|path| path.contains("trust-certificates")));
    assert_eq!(yml("v2.15.2", NODE).unwrap()["external_redis"].get("tlsOptions"), None);
}

/// From 1.9 on the proxy is a user of its own from its start.
#[test]
fn the_proxys_key_is_whose_reads_it() {
    let node = format!("{NODE}tls: {{certificate: 'ref+file:///x', key: 'ref+file:///x'}}\n");
    for (version, owner) in [("v1.8.6", (0, 0)), ("v1.9.4", HARBOR), ("v2.15.2", HARBOR)] {
        let (rendered, _) = rendered(version, &node);
        let key = &rendered.files["secret/cert/server.key"];
        assert_eq!((key.mode, key.owner), (0o600, owner), "{version}");
    }
}

#[test]
fn output_that_is_not_prepares() {
    assert!(with("v2.15.2", NODE, None, render).unwrap_err().message.contains("was not prepared"));
    for (path, text, expected) in [
        ("common/config/core/env", Some("CORE_SECRET=x\n"), "prepare wrote no JOBSERVICE_SECRET"),
        (
            "common/config/core/env",
            Some("CORE_SECRET=x\nJOBSERVICE_SECRET=x\nCSRF_KEY=x\n"),
            "prepare wrote no ROBOT_SCANNER_NAME_PREFIX",
        ),
        ("common/config/registryctl/env", None, "prepare did not write it"),
        ("docker-compose.yml", None, "prepare did not write it"),
    ] {
        let mut prepared = prepared("v2.15.2");
        match text {
            Some(text) => prepared.files.get_mut(path).unwrap().text = text.to_owned(),
            None => drop(prepared.files.remove(path)),
        }
        let said = with("v2.15.2", NODE, Some(&prepared), render).unwrap_err().message;
        assert!(said.starts_with(path) && said.contains(expected), "{said}");
    }
}
