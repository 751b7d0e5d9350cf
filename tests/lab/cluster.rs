//! Nodes of one cluster, as its operators would configure them.

use habuild::boot::Forward;
use habuild::spec::image::Firmware;

use super::place::{ADDRESS, DEAD, within};
use super::services::{DATABASE_PASSWORD, POSTGRES_PASSWORD, REDIS_PASSWORD};
use super::web::{ADMIN, FrontEnd};
use crate::machine::{Node, image};

/// The port that every node publishes.
pub(crate) const PORT: u16 = 8070;
/// The port of a node's metrics.
pub(crate) const METRICS: u16 = 9171;
/// What `harbor.settings` says of the job service.
pub(crate) const WORKERS: usize = 4;
pub(crate) const SHARE: &str = "/mnt/cephfs/harbor";

/// What differs from node to node, or from test to test.
pub(crate) struct Config<'c> {
    pub(crate) cluster: &'c str,
    pub(crate) path: &'c str,
    pub(crate) key: &'c str,
    pub(crate) kind: Kind,
    /// The variable that names the image.
    pub(crate) image: &'static str,
    /// What the cluster is upgraded from.
    pub(crate) upgrade_from: Option<&'c str>,
}

/// Which Harbor the image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 1.1, with MySQL.
    First,
    /// 2.x, with PostgreSQL.
    Second,
}

/// The node config.
pub(crate) fn node_config(config: &Config<'_>) -> String {
    let Config { cluster, path, kind, .. } = config;
    let (kind, word, options) = match kind {
        Kind::First => ("mysql", DATABASE_PASSWORD, String::new()),
        Kind::Second => (
            "postgresql",
            POSTGRES_PASSWORD,
            format!(
                "  trivy: true\n  metrics: {{port: {METRICS}}}\n  settings:\n    jobservice: {{max_job_workers: {WORKERS}}}\n    \
                 trivy: {{skip_update: true}}\n"
            ),
        ),
    };
    let word = word.replace('\'', "''");
    let upgrade = config.upgrade_from.map_or(String::new(), |from| format!("upgrade: {{from: {from}}}\n"));
    format!(
        "version: 1
cluster: {cluster}
harbor:
  external_url: http://hub.example.test:{PORT}
  http_port: {PORT}
  admin_password: ref+file:///etc/habuild/admin
{options}storage:
  cephfs:
    monitors: ['{DEAD}:6789', '{ADDRESS}:6789']
    path: {path}
    mountpoint: {SHARE}
    client: harbor
    secret: ref+file:///etc/habuild/ceph.key
database: {{kind: {kind}, host: {ADDRESS}, user: harbor, password: '{word}', name: registry}}
redis: {{host: {ADDRESS}, password: {REDIS_PASSWORD}}}
{upgrade}"
    )
}

/// Starts a node; does not wait for it.
pub(crate) fn start(config: &Config<'_>) -> Node {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let files = [
        ("/etc/habuild/node.yaml", node_config(config)),
        ("/etc/habuild/admin", format!("{ADMIN}\n")),
        ("/etc/habuild/ceph.key", format!("{}\n", config.key)),
    ];
    let mut more = "write_files:\n".to_owned();
    for (path, content) in files {
        more += &format!("  - {{path: {path}, permissions: '0600', content: {}}}\n", quoted(&content));
    }
    Node::start(&image(config.image), Firmware::Bios, &more, &[Forward { host: 0, guest: PORT }])
}

pub(crate) fn front_end(node: &Node) -> FrontEnd {
    FrontEnd(node.port(PORT))
}

/// The agent's own words.
pub(crate) fn status(node: &Node) -> serde_json::Value {
    let text = node.root("habuild-firstboot status --json || true").unwrap();
    serde_json::from_str(&text).unwrap_or_default()
}

/// What the step that failed says.
pub(crate) fn failure(node: &Node) -> String {
    let status = status(node);
    let failed = status["steps"].as_array().into_iter().flatten().find(|step| step["state"] == "failed");
    failed.and_then(|step| step["message"].as_str()).unwrap_or_default().to_owned()
}

/// How many containers run.
pub(crate) fn running(node: &Node) -> usize {
    node.root("docker ps --quiet").unwrap().lines().count()
}

/// Waits until the agent says so of the node.
pub(crate) fn until_state(node: &Node, state: &str, seconds: u64) {
    let time = std::time::Duration::from_secs(seconds);
    within(time, &format!("state {state}"), || status(node)["state"] == state);
}

/// The digest of the cluster's secrets, as the node's share has them.
pub(crate) fn secrets(node: &Node) -> String {
    node.root(&format!("sha256sum < {SHARE}/.habuild/secrets.json; cat {SHARE}/.habuild/cluster-*.json")).unwrap()
}

/// Makes a directory on the file system.
pub(crate) fn make_directory(node: &Node, path: &str) {
    mounted_whole(node);
    node.root(&format!("mkdir -p /run/whole{path} && umount /run/whole")).unwrap();
}

/// Mounts the file system whole on `/run/whole`, whose other directories a node has no use for.
pub(crate) fn mounted_whole(node: &Node) {
    let script = format!(
        "set -e; mkdir -p /run/whole; ! mountpoint --quiet /run/whole || exit 0
mount -t ceph {ADDRESS}:6789:/ /run/whole -o name=harbor,secretfile=/etc/habuild/ceph.key"
    );
    node.root(&script).unwrap();
}
