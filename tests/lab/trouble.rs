//! What goes wrong on a node that runs, and that Harbor is back by itself, or stays away for a reason.

use std::time::{Duration, Instant};

use super::ceph::Ceph;
use super::cluster::{Config, SHARE, failure, front_end, node_config, running, secrets, status, until_state};
use super::place::{told, within};
use super::services::Database;
use crate::machine::Node;

const SOON: Duration = Duration::from_secs(240);

/// Whether Harbor answers through the node's front end.
fn serves(node: &Node) -> bool {
    front_end(node).get("/api/repositories/top", &[]).status == 200
}

/// What the supervisor says.
fn message(node: &Node) -> String {
    status(node)["service"]["message"].as_str().unwrap_or_default().to_owned()
}

/// A killed container, a restart of Docker, an agent that is killed.
pub(crate) fn what_ends_comes_back(node: &Node) {
    let all = running(node);
    assert!(all >= 5, "{all} containers");
    for (what, act) in [
        ("a container is killed", "docker kill harbor-ui"),
        ("Docker is restarted", "systemctl restart docker"),
        ("supervisor and agent are killed", "systemctl kill --signal=KILL harbor.service habuild-firstboot.service"),
    ] {
        node.root(act).unwrap();
        let begun = Instant::now();
        within(SOON, &format!("Harbor after {what}"), || {
            running(node) == all && serves(node) && status(node)["state"] == "ready"
        });
        told(what, "Harbor is back by itself", begun);
    }
}

/// A power cut: nothing is flushed, nothing is stopped.
pub(crate) fn power_cut(node: &Node, expected: &str) {
    node.restart("echo b > /proc/sysrq-trigger");
    let begun = Instant::now();
    until_state(node, "ready", 900);
    told("the plug is pulled", "ready again (counted from the first login)", begun);
    assert_eq!(secrets(node), expected, "the same secrets");
    // Containers start after the share was proved, never by Docker itself.
    let proved = node.root("journalctl --boot --output=short-unix --unit habuild-firstboot | grep 'step storage ok'");
    let proved: f64 = proved.unwrap().split(' ').next().unwrap().parse().unwrap();
    let format = "docker inspect --format '{{.State.StartedAt}}' $(docker ps --quiet) | while read at; do date +%s.%N -d $at; done";
    for started in node.root(format).unwrap().lines() {
        assert!(
            started.parse::<f64>().unwrap() > proved,
            "a container was started at {started}, the share proved at {proved}"
        );
    }
    let policies = node.root("docker inspect --format '{{.HostConfig.RestartPolicy.Name}}' $(docker ps --all --quiet)");
    assert!(policies.unwrap().lines().all(|policy| policy == "no"));
}

/// A Ceph that does not answer for a while, and then does.
pub(crate) fn the_share_goes_and_returns(ceph: &Ceph, node: &Node) {
    // Clients go on asking.
    let load = "systemd-run --quiet --collect --unit load --property RuntimeMaxSec=900 sh -c \
'while :; do curl -s -m 5 -o /dev/null http://127.0.0.1:8070/api/repositories/top; curl -s -m 5 -o /dev/null http://127.0.0.1:8070/v2/; done'";
    node.root(load).unwrap();
    ceph.freeze();
    let begun = Instant::now();
    within(SOON, "a supervisor that says so", || message(node).contains("share"));
    told("the share goes away under load", &message(node), begun);
    logs_in(node);
    ceph.thaw();
    let begun = Instant::now();
    within(SOON, "Harbor after its share has returned", || {
        serves(node) && status(node)["service"]["state"] == "running"
    });
    node.root("systemctl stop load").unwrap();
    told("the share returns", "Harbor serves", begun);
}

/// A person can log in, whatever the share does.
pub(crate) fn logs_in(node: &Node) {
    let begun = Instant::now();
    node.root("true").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60), "a login took {} s", begun.elapsed().as_secs());
    told("meanwhile a person logs in", "at once", begun);
}

/// A share that is full: Harbor runs on, since somebody must delete images, and says so.
pub(crate) fn full(ceph: &Ceph, node: &Node) {
    ceph.quota(1);
    let begun = Instant::now();
    within(SOON, "a word about a share that is full", || message(node).contains("is full"));
    told("the share is full", &message(node), begun);
    let all = running(node);
    assert!(serves(node) && status(node)["service"]["state"] == "running" && all >= 5, "{}", status(node));
    ceph.quota(0);
    let begun = Instant::now();
    within(SOON, "a share that has room again", || !message(node).contains("is full"));
    told("the share has room again", "as before", begun);
    assert_eq!(running(node), all);
}

/// A share that can be read only, as after a mistake of an operator.
pub(crate) fn read_only(node: &Node) {
    node.root(&format!("mount -o remount,ro {SHARE}")).unwrap();
    let begun = Instant::now();
    within(SOON, "a word about a share that can be read only", || message(node).contains("ead-only"));
    told("the share is read-only", &message(node), begun);
    node.root(&format!("mount -o remount,rw {SHARE}")).unwrap();
    let begun = Instant::now();
    within(SOON, "Harbor after its share can be written again", || {
        serves(node) && status(node)["service"]["state"] == "running"
    });
    told("the share can be written again", "Harbor serves", begun);
}

/// Clients that the metadata server throws out: whatever they held is gone, and they come back by themselves.
pub(crate) fn evicted(ceph: &Ceph, nodes: &[&Node]) {
    assert!(ceph.evict() >= nodes.len(), "each node has a session");
    let begun = Instant::now();
    for node in nodes {
        // Harbor's start page alone would not show that the share can be used again.
        within(SOON, "Harbor after its client was evicted", || {
            let proved = node.root("habuild-firstboot check --share").is_ok();
            proved && serves(node) && status(node)["service"]["state"] == "running"
        });
    }
    told("the clients are evicted", "the share is proved and Harbor serves, on every node", begun);
}

/// The cluster's secrets are lost, and come back from a backup.
pub(crate) fn lost_secrets(node: &Node) {
    let before = secrets(node);
    let script = format!(
        "set -e; cd /root; umask 077; echo 'a passphrase of the lab' > word
habuild-firstboot secrets export --passphrase-file word --output backup.age
mv {SHARE}/.habuild/secrets.json lost; systemctl restart habuild-firstboot"
    );
    node.root(&script).unwrap();
    let begun = Instant::now();
    until_state(node, "failed", 600);
    assert!(failure(node).contains("secrets.json: is gone"));
    told("the secrets are lost", &failure(node), begun);
    let script = "cd /root; habuild-firstboot secrets import --passphrase-file word backup.age && rm lost &&
systemctl restart habuild-firstboot";
    node.root(script).unwrap();
    until_state(node, "ready", 600);
    assert_eq!(secrets(node), before);
}

/// Another node has upgraded the cluster: this one stops, and says which image it takes.
pub(crate) fn upgraded_elsewhere(node: &Node) {
    let script = format!(
        "set -e; cd {SHARE}/.habuild
sed 's/\"harbor\": \"[^\"]*\"/\"harbor\": \"v9.9.9\"/' cluster-0001.json > draft; mv draft cluster-0002.json"
    );
    node.root(&script).unwrap();
    let begun = Instant::now();
    until_state(node, "failed", 600);
    let said = failure(node);
    told("another node has upgraded the cluster", &said, begun);
    assert!(said.contains("runs Harbor v9.9.9, and this image holds"), "{said}");
    within(SOON, "a Harbor that does not run beside a newer one", || running(node) == 0);
    node.root(&format!("rm {SHARE}/.habuild/cluster-0002.json; systemctl restart habuild-firstboot")).unwrap();
    until_state(node, "ready", 600);
}

/// Another cluster's share, and a directory that is not the share of this database.
pub(crate) fn not_our_share(node: &Node, config: &Config<'_>, database: &Database) {
    let before = database.sql("select count(*) from registry.repository");
    for (wrong, expected) in [
        (Config { cluster: "another", ..*config }, "belongs to cluster"),
        (Config { path: "/apps", ..*config }, "the database knows some"),
    ] {
        let text = serde_json::Value::from(node_config(&wrong)).to_string();
        let script = format!(
            "printf '%b' {} > /etc/habuild/node.yaml; systemctl stop harbor; systemctl restart habuild-firstboot",
            shell_quoted(&text)
        );
        node.root(&script).unwrap();
        let begun = Instant::now();
        until_state(node, "failed", 600);
        let said = failure(node);
        told("another share than this cluster's", &said, begun);
        assert!(said.contains(expected), "{said}");
        assert_eq!(running(node), 0, "Harbor does not run on another's share");
    }
    assert_eq!(database.sql("select count(*) from registry.repository"), before, "no repository is lost");
}

/// JSON's escapes are those that `printf %b` reads.
fn shell_quoted(json: &str) -> String {
    format!("'{}'", json.trim_matches('"').replace("\\\"", "\"").replace('\'', "'\\''"))
}
