//! The compose file of Harbor 1.1, as far as its shape matters, and what a node makes of it.

use super::*;

const FILE: &str = r#"version: '2'
services:
  log:
    image: vmware/harbor-log:v1.1.2
    container_name: harbor-log
    restart: always
    volumes:
      - /var/log/harbor/:/var/log/docker/:z
    ports:
      - 127.0.0.1:1514:514
  registry:
    image: vmware/registry:2.6.1-photon
    restart: always
    volumes:
      - /data/registry:/storage:z
      - ./common/config/registry/:/etc/registry/:z
    environment:
      - GODEBUG=netdns=cgo
    depends_on:
      - log
  mysql:
    image: vmware/harbor-db:v1.1.2
    restart: always
    volumes:
      - /data/database:/var/lib/mysql:z
    env_file:
      - ./common/config/db/env
  adminserver:
    image: vmware/harbor-adminserver:v1.1.2
    restart: always
    env_file:
      - ./common/config/adminserver/env
    volumes:
      - /data/config/:/etc/adminserver/config/:z
      - /data/secretkey:/etc/adminserver/key:z
      - /data/:/data/:z
      - /data/psc/:/etc/ui/token/
    depends_on:
      - log
  jobservice:
    image: vmware/harbor-jobservice:v1.1.2
    restart: always
    volumes:
      - /data/job_logs:/var/log/jobs:z
    depends_on:
      - adminserver
  proxy:
    image: vmware/nginx:1.11.5-patched
    container_name: nginx
    restart: always
    ports:
      - 80:80
      - 443:443
      - 4443:4443
    depends_on:
      - mysql
      - registry
      - log
networks:
  harbor:
    external: false
"#;

fn env() -> BTreeMap<String, String> {
    let text = "# c\nPASSWORD=a$b#'\"= x\nEMPTY=\nnothing\n";
    BTreeMap::from([("common/config/adminserver/env".to_owned(), text.to_owned())])
}

fn places(env: &BTreeMap<String, String>) -> Places<'_> {
    Places {
        shared: "/mnt/s/data",
        local: "/var/lib/harbor",
        work: "/var/lib/habuild/harbor",
        http_port: 8070,
        https_port: None,
        metrics_port: None,
        jobservice: true,
        database: false,
        redis: false,
        graceful: false,
        compose: Compose::V2,
        env,
    }
}

fn binds(file: &Value, service: &str) -> Vec<String> {
    let volumes = file["services"][service]["volumes"].as_array().unwrap();
    let one = |volume: &Value| {
        assert_eq!(volume["bind"]["create_host_path"], json!(false));
        let mode = if volume["read_only"] == json!(true) { " ro" } else { "" };
        format!("{} {}{mode}", volume["source"].as_str().unwrap(), volume["target"].as_str().unwrap())
    };
    volumes.iter().map(one).collect()
}

/// Debian 12's docker-compose refuses a key that it does not know.
#[test]
fn the_older_compose_gets_what_it_knows() {
    let env = env();
    let composed = rewrite(FILE, &Places { compose: Compose::V1, ..places(&env) }).unwrap();
    let services = composed.file["services"].as_object().unwrap();
    let volumes = services.values().filter_map(|service| service.get("volumes")?.as_array()).flatten();
    assert!(volumes.clone().count() > 5);
    for volume in volumes {
        assert_eq!((&volume["type"], volume.get("bind")), (&json!("bind"), None), "{volume}");
    }
}

#[test]
fn a_node_of_a_cluster() {
    let env = env();
    let composed = rewrite(FILE, &places(&env)).unwrap();
    let file = &composed.file;
    assert_eq!(file.get("version"), None);
    let services: Vec<&String> = file["services"].as_object().unwrap().keys().collect();
    assert_eq!(services, ["adminserver", "jobservice", "proxy", "registry"]);
    for service in services {
        assert_eq!(file["services"][service]["restart"], json!("no"), "{service}");
        assert_eq!(file["services"][service].get("env_file"), None);
        let logging = json!({"driver": "journald", "options": {"tag": service}});
        assert_eq!(file["services"][service]["logging"], logging, "{service}");
    }
    assert_eq!(file["services"]["proxy"]["depends_on"], json!(["registry"]));
    assert_eq!(file["services"]["jobservice"].get("stop_grace_period"), None, "it does not hear the signal");
    assert_eq!(file["services"]["proxy"]["ports"], json!(["8070:80"]));
    assert_eq!(
        binds(file, "registry"),
        ["/mnt/s/data/registry /storage", "/var/lib/habuild/harbor/common/config/registry /etc/registry/"]
    );
    assert_eq!(
        binds(file, "adminserver"),
        [
            "/mnt/s/data/config /etc/adminserver/config/",
            "/var/lib/habuild/harbor/secretkey /etc/adminserver/key",
            "/mnt/s/data /data/ ro",
            "/var/lib/harbor/psc /etc/ui/token/"
        ]
    );
    let environment = &file["services"]["adminserver"]["environment"];
    assert_eq!(environment, &json!({"PASSWORD": "a$$b#'\"= x", "EMPTY": ""}));
    assert_eq!(file["services"]["registry"]["environment"], json!(["GODEBUG=netdns=cgo"]));
    assert_eq!(composed.local, ["/var/lib/harbor/psc"]);
    assert_eq!(composed.shared, ["/mnt/s/data/config", "/mnt/s/data/job_logs", "/mnt/s/data/registry"]);
}

#[test]
fn https_and_no_jobs() {
    let env = env();
    let composed = rewrite(FILE, &Places { https_port: Some(8443), jobservice: false, ..places(&env) }).unwrap();
    assert_eq!(composed.file["services"]["proxy"]["ports"], json!(["8070:80", "8443:443"]));
    assert_eq!(composed.file["services"].get("jobservice"), None);
}

#[test]
fn a_node_with_the_bundles_own_database() {
    let mut env = env();
    env.insert("common/config/db/env".into(), "MYSQL_ROOT_PASSWORD=p$w\n".into());
    let composed = rewrite(FILE, &Places { database: true, redis: true, ..places(&env) }).unwrap();
    assert_eq!(composed.file["services"]["mysql"]["environment"], json!({"MYSQL_ROOT_PASSWORD": "p$$w"}));
    assert_eq!(binds(&composed.file, "mysql"), ["/var/lib/harbor/database /var/lib/mysql"]);
    assert!(composed.local.contains(&"/var/lib/harbor/database".to_owned()), "{:?}", composed.local);
    assert_eq!(composed.file["services"]["proxy"]["depends_on"], json!(["mysql", "registry"]));
    assert_eq!(composed.file["services"]["mysql"]["restart"], "no");
    // This version brings no Redis.
    assert_eq!(composed.file["services"].get("redis"), None);
}

#[test]
fn the_order_of_the_start() {
    let env = env();
    let composed = rewrite(FILE, &places(&env)).unwrap();
    assert_eq!(start_order(&composed.file), ["registry", "adminserver", "jobservice", "proxy"]);
    assert_eq!(container(&composed.file, "proxy"), "nginx");
    assert_eq!(container(&composed.file, "registry"), "registry");
    let circle = json!({"services": {"a": {"depends_on": ["b"]}, "b": {"depends_on": ["a"]}}});
    assert_eq!(start_order(&circle).len(), 2);
}

#[test]
fn what_is_no_compose_file_of_harbor() {
    let env = env();
    for (text, expected) in [
        ("", "is no compose file: it is not a map"),
        ("services: 1", "has no services"),
        ("services: {a: 1}", "service a is not a map"),
        ("services: {a: {volumes: ['/etc:/etc']}}", "service a: binds /etc, which habuild does not know"),
        ("services: {a: {volumes: [x]}}", "service a: a volume without a target"),
        ("services: {a: {env_file: ./x}}", "service a: env_file x is not rendered"),
        ("services: {proxy: {}}", "service proxy: publishes no ports"),
        ("services: {proxy: {ports: ['90:90']}}", "service proxy: publishes none of the ports 80, 8080"),
    ] {
        assert_eq!(rewrite(text, &places(&env)).unwrap_err(), expected, "{text}");
    }
}
