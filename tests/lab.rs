//! A cluster in a namespace: real Ceph, MariaDB and Redis, and nodes that boot from the one image,
//! which `HABUILD_LAB_IMAGE` names; with `HABUILD_LAB_HARBOR=2`, one that holds Harbor 2, and `HABUILD_LAB_NEXT` names the one
//! that it is upgraded to. `make lab` runs it, once for each release and for Harbor 2.
//!
//! One test, one story: machines are emulated and boot for minutes, so what they are booted for is done in turn.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "lab/ceph.rs"]
mod ceph;
#[path = "lab/cluster.rs"]
mod cluster;
#[path = "lab/cuts.rs"]
mod cuts;
#[path = "kit/machine.rs"]
mod machine;
#[path = "lab/place.rs"]
mod place;
#[path = "lab/races.rs"]
mod races;
#[path = "lab/second.rs"]
mod second;
#[path = "lab/services.rs"]
mod services;
#[path = "lab/trouble.rs"]
mod trouble;
#[path = "lab/upgrade.rs"]
mod upgrade;
#[path = "lab/web.rs"]
mod web;

use std::time::{Duration, Instant};

use cluster::{Config, Kind, front_end, secrets, status};

const SHARE: &str = "/apps/harbor";

#[test]
fn two_nodes_of_one_cluster() {
    match std::env::var("HABUILD_LAB_HARBOR").as_deref() {
        Ok("2") => second::two_nodes(),
        Ok("1") | Err(_) => two_nodes_of_the_first(),
        Ok(other) => panic!("HABUILD_LAB_HARBOR is {other}, not 1 or 2"),
    }
}

fn two_nodes_of_the_first() {
    let dir = place::dir();
    let ceph = ceph::Ceph::start(&dir);
    let database = services::Database::start(&dir);
    let _redis = services::Redis::start(&dir);
    let key = ceph.client("harbor");
    let config = Config {
        cluster: "hub",
        path: SHARE,
        key: &key,
        kind: Kind::First,
        image: "HABUILD_LAB_IMAGE",
        upgrade_from: None,
    };

    // The directory is not there yet: both nodes boot, let people log in, and wait.
    let begun = Instant::now();
    let (a, b) = (cluster::start(&config), cluster::start(&config));
    let (a, b) = (a.logged_in(), b.logged_in());
    place::told("the share is not there, nor one of two monitors", "both nodes let people log in", begun);
    place::within(Duration::from_secs(300), "a node that waits for its share", || {
        status(&a)["steps"].to_string().contains("cannot be mounted")
    });
    assert_eq!(a.root("docker ps --quiet").unwrap(), "", "nothing runs without the share");
    trouble::logs_in(&a);
    cuts::begin(&b);
    cluster::make_directory(&a, SHARE);
    cluster::until_state(&a, "ready", 600);
    place::told("the share comes late", "a node is ready (counted from the start)", begun);
    cuts::over(&b);
    cluster::until_state(&b, "ready", 600);
    assert_eq!(secrets(&a), secrets(&b));

    // What clients of one node get is good for the other.
    let (front_a, front_b) = (front_end(&a), front_end(&b));
    let token = front_a.token("repository:library/lab:pull,push");
    let digest = front_a.push("library/lab", b"a blob of the lab", &token);
    let pulled = front_b.pull("library/lab", &digest, &token);
    assert_eq!((pulled.status, pulled.body.as_slice()), (200, b"a blob of the lab".as_slice()));
    let session = front_a.login();
    assert_eq!(front_b.current_user(&session), 200, "a session begun on A is known to B");
    assert_eq!(front_b.current_user("beegosessionID=nobody"), 401);
    let asked = "docker events --since 2h --until 0s --filter type=image --filter event=pull --filter event=load";
    assert_eq!(a.root(asked).unwrap(), "", "the images were there when the node booted");

    trouble::what_ends_comes_back(&a);
    trouble::power_cut(&a, &secrets(&b));
    trouble::the_share_goes_and_returns(&ceph, &b);
    trouble::full(&ceph, &a);
    trouble::read_only(&b);
    trouble::evicted(&ceph, &[&a, &b]);
    let seen: serde_json::Value = serde_json::from_str(&a.root("habuild-firstboot cluster --json").unwrap()).unwrap();
    assert_eq!(seen["nodes"].as_array().unwrap().len(), 2, "{seen}");
    trouble::not_our_share(&b, &config, &database);
    trouble::lost_secrets(&a);
    trouble::upgraded_elsewhere(&a);
    races::two_kernel_clients(&a, &b);
    place::told("all of this", "as it must be", begun);
}
