//! `habuild check --bundle` and `--image`: node configs, user-data and image specs against a bundle, as a person types it.

#![expect(clippy::disallowed_methods, reason = "starts habuild")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use contract::schema;
use tempfile::TempDir;

use super::make::{Image, Tar, gzip, save};

/// In the form of `harbor.yml`, with what a node sets.
const YML: &str = "hostname: h\nexternal_url: u\nhttp:\n  port: 80\nhttps:\n  port: 443\n  certificate: c\n  private_key: k\n\
                   harbor_admin_password: w\ndatabase:\n  password: w\ndata_volume: /data\njobservice:\n  max_job_workers: 10\n\
                   external_database:\n  harbor:\n    host: h\n    port: 1\n    db_name: n\n    username: u\n    password: w\n    \
                   ssl_mode: m\n    max_open_conns: 0\nexternal_redis:\n  host: h\n  password: w\n  registry_db_index: 1\n  \
                   jobservice_db_index: 2\n  trivy_db_index: 5\nmetric:\n  enabled: false\n  port: 9090\n  path: /metrics\n";

/// A directory with a bundle of 2.7 without a scanner and a project with one image, `x`.
fn place() -> TempDir {
    place_with("harbor-db redis-photon harbor-log")
}

/// The same; beside those that every version needs, the bundle has the images `more`.
fn place_with(more: &str) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let names = format!(
        "prepare harbor-core harbor-portal harbor-jobservice harbor-registryctl registry-photon nginx-photon {more}"
    );
    let layer = |name: &str| Tar::new().file("name", name).finish();
    let image = |name: &str| Image::new(&format!("goharbor/{name}:v2.7.4"), &[&layer(name)]);
    let images: Vec<Image> = names.split_whitespace().map(image).collect();
    let tar = Tar::new().file("harbor/harbor.v2.7.4.tar.gz", gzip(&save(&images))).file("harbor/harbor.yml.tmpl", YML);
    let write = |name: &str, content: &[u8]| {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write("harbor.tgz", &gzip(&tar.file("harbor/docker-compose.yml", "services: {}\n").finish()));
    write("images/x.toml", spec("bundled = false").as_bytes());
    write("layers/base/layer.toml", b"description = \"x\"\n[packages]\ndefault = []\n[[action]]\nbundle = {}\n");
    write("layers/tools/layer.toml", b"description = \"x\"\n[packages]\ndefault = []\n");
    place
}

fn spec(harbor: &str) -> String {
    format!(
        "name = \"x\"\nlayers = [\"base\"]\n[base]\ndistribution = \"ubuntu\"\nrelease = \"noble\"\n[harbor]\nbundle = \"harbor.tgz\"\n{harbor}\n"
    )
}

fn node(harbor: &str, database: &str) -> String {
    format!(
        "version: 1\ncluster: hub\nharbor: {{external_url: 'http://hub.example.com', admin_password: 'ref+file:///a'{harbor}}}\n\
         storage: {{local: {{path: /srv/share}}}}\nredis: {{host: redis, password: 'ref+file:///r'}}\ndatabase: {database}\n"
    )
}

const EXTERNAL: &str = "{kind: postgresql, host: db, user: harbor, password: 'ref+file:///p'}";

/// The exit code, and what was said of problems.
fn check(place: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_habuild"));
    command.arg("check").args(["--cache", "cache"]).args(arguments).current_dir(place).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let said = said.lines().filter(|line| !line.starts_with("warning: ")).map(|line| format!("{line}\n")).collect();
    (output.status.code().unwrap(), said)
}

#[test]
fn what_a_node_would_say_is_said_on_the_desk() {
    let place = place();
    let write = |name: &str, text: String| fs::write(place.path().join(name), text).unwrap();
    write("good.yaml", node("", EXTERNAL));
    write(
        "bad.yaml",
        node(
            ", trivy: true, settings: {hostnam: h, jobservice: {max_job_worker: 3}}",
            &EXTERNAL.replace("postgresql", "mysql"),
        ),
    );
    write("user-data", schema::user_data(&node(", trivy: true", EXTERNAL)).unwrap());
    let with = |file: &str| check(place.path(), &["--bundle", "harbor.tgz", file]);
    assert_eq!(with("good.yaml"), (0, String::new()));
    let lacks = "harbor.trivy: the bundle holds no container image goharbor/trivy-adapter-photon (leave it out, or take a bundle that \
                 has it: the offline installer as Harbor released it)\n";
    let (code, said) = with("bad.yaml");
    let expected = [
        &format!("bad.yaml:3:83: {lacks}"),
        "bad.yaml:3:107: harbor.settings.hostnam: Harbor v2.7.4 has no such setting (did you mean \"hostname\"?)\n",
        "bad.yaml:3:132: harbor.settings.jobservice.max_job_worker: Harbor v2.7.4 has no such setting (did you mean \"max_job_workers\"?)\n",
        "bad.yaml:6:12: database.kind: Harbor v2.7.4 keeps its data in PostgreSQL only (write postgresql)\n",
        "4 problems\n",
    ];
    assert_eq!((code, said), (2, expected.concat()));
    // In a part of user-data's lines, however far in.
    assert_eq!(with("user-data"), (2, format!("user-data:9:89: {lacks}1 problem\n")));
    assert_eq!(check(place.path(), &["bad.yaml"]), (0, String::new()), "without a bundle nothing is known of it");
}

#[test]
fn an_image_has_a_choice_of_its_own() {
    let place = place();
    fs::write(place.path().join("node.yaml"), node("", "bundled")).unwrap();
    assert_eq!(check(place.path(), &["--bundle", "harbor.tgz", "node.yaml"]), (0, String::new()));
    let (code, said) = check(place.path(), &["--image", "x", "node.yaml"]);
    assert_eq!(code, 2, "{said}");
    assert!(
        said.starts_with("node.yaml:6:1: database: this image holds no container image goharbor/harbor-db"),
        "{said}"
    );
    fs::write(
        place.path().join("images/x.toml"),
        spec("[harbor.settings]\njobservice.max_job_worker = 3\njobservice.webhook = 3"),
    )
    .unwrap();
    let words = "harbor.settings.jobservice.max_job_worker: Harbor v2.7.4 has no such setting";
    for arguments in
        [&["--bundle", "harbor.tgz", "images/x.toml"][..], &["--image", "x"], &["--image", "x", "node.yaml"]]
    {
        let (code, said) = check(place.path(), arguments);
        assert!(code != 0 && said.contains(words), "{arguments:?}: {code} {said}");
    }
    let (_, said) = check(place.path(), &["--bundle", "harbor.tgz", "images/x.toml"]);
    assert!(said.ends_with("2 problems\n"), "{said}");
    assert_eq!(check(place.path(), &["images/x.toml"]), (0, String::new()));
}

#[test]
fn a_bundle_without_images_of_its_own_database_and_redis() {
    let place = place_with("harbor-log");
    let write = |name: &str, text: String| fs::write(place.path().join(name), text).unwrap();
    write("outside.yaml", node("", EXTERNAL));
    write("database.yaml", node("", "bundled"));
    write(
        "redis.yaml",
        node("", EXTERNAL).replace("redis: {host: redis, password: 'ref+file:///r'}", "redis: bundled"),
    );
    let with = |file: &str| check(place.path(), &["--bundle", "harbor.tgz", file]);
    assert_eq!(with("outside.yaml"), (0, String::new()));
    for (key, image) in [("database", "goharbor/harbor-db"), ("redis", "goharbor/redis-photon")] {
        let (code, said) = with(&format!("{key}.yaml"));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(&format!("{key}: the bundle holds no container image {image}")), "{said}");
    }
}
