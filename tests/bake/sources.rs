//! Packages that cannot be had, and packages that are not what they should be.

use std::fs;

use habuild::plan::lock::Lock;

use super::caches::{assert_whole, copying, sharing, warm};
use super::people::failure;
use crate::mirror::{Manner, Mirror};
use crate::places::{Place, run};
use crate::turns::turn;

/// A project whose cache lacks the ceph layer and every package, and an archive for it.
fn place(manner: Manner) -> (Place, Mirror) {
    let place = copying();
    place.forget(&["ceph", "docker", "firstboot"]);
    (place, Mirror::start(&warm().lock, &warm().cache.join("packages"), manner))
}

#[test]
fn a_mirror_that_goes_down_half_way() {
    warm();
    let _turn = turn(2);
    let (place, mirror) = self::place(Manner::DownAfter(2));
    let (code, message) = failure(place.locked("image").args(["--mirror", &mirror.url()]));
    assert_eq!(code, 4, "{message}");
    assert!(message.contains("package ") && message.contains("could not be had"), "{message}");
    assert!(message.contains("remedy: try again"), "{message}");
    assert!(mirror.served() >= 2);
    assert_whole(&place);
    // What has arrived is kept: the next run asks for the rest only.
    let kept = fs::read_dir(place.cache.join("packages")).unwrap().count();
    assert!(kept >= 2, "{kept} files");
    let good = Mirror::start(&warm().lock, &warm().cache.join("packages"), Manner::Good);
    run(place.locked("image").args(["--mirror", &good.url()]));
    assert_eq!(good.served() + kept, locked_packages(&["ceph", "docker"]).len());
    let plan = place.plan();
    assert!(plan["layers"].as_array().unwrap().iter().all(|layer| layer["cached"] == true), "{plan}");
}

#[test]
fn a_package_with_a_wrong_byte() {
    warm();
    let _turn = turn(2);
    let (place, mirror) = self::place(Manner::Wrong("jq"));
    let (code, message) = failure(place.locked("image").args(["--mirror", &mirror.url()]));
    assert_eq!(code, 4, "{message}");
    assert!(message.contains("package jq ") && message.contains("is not the package that was locked"), "{message}");
    assert_whole(&place);
}

#[test]
fn a_version_that_is_gone_and_the_snapshot_that_has_it() {
    warm();
    let _turn = turn(2);
    let (place, mirror) = self::place(Manner::Dropped("jq"));
    let (code, message) = failure(place.locked("image").args(["--mirror", &mirror.url()]));
    assert_eq!(code, 4, "{message}");
    assert!(message.contains("package jq ") && message.contains("dropped this version"), "{message}");
    assert_whole(&place);
    let snapshot = Mirror::start(&warm().lock, &warm().cache.join("packages"), Manner::Good);
    run(place
        .locked("image")
        .args(["--mirror", &mirror.url(), "--set"])
        .arg(format!("base.snapshot={}", snapshot.url())));
    assert_eq!(snapshot.served(), 1, "only what the mirror lacks");
}

#[test]
fn offline_names_everything_that_is_missing() {
    warm();
    let _turn = turn(2);
    let place = copying();
    place.forget(&["docker", "firstboot"]);
    let (code, message) = failure(place.locked("image").arg("--offline"));
    assert_eq!(code, 4, "{message}");
    let lacking = locked_packages(&["docker"]);
    assert!(message.contains(&format!("lacks {} packages", lacking.len())), "{message}");
    for name in lacking {
        assert!(message.contains(&format!("\n  {name} ")), "{message}");
    }
    assert_whole(&place);
}

#[test]
fn a_package_that_does_not_exist() {
    warm();
    let _turn = turn(2);
    let place = sharing();
    let layer = place.path("layers/docker/layer.toml");
    let text = fs::read_to_string(&layer).unwrap();
    fs::write(&layer, text.replace(super::small::DOCKER, "\"bc\", \"docker-compos\"")).unwrap();
    let (code, message) = failure(&mut place.habuild("image"));
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("layer docker: ubuntu noble has no package docker-compos\n"), "{message}");
    assert!(message.contains("layers/docker/layer.toml"), "{message}");
    assert_whole(&place);
}

#[test]
fn a_lock_for_something_else() {
    warm();
    let _turn = turn(2);
    let place = sharing();
    let (code, message) = failure(place.locked("image").args(["--base", "debian:bookworm"]));
    assert_eq!(code, 2, "{message}");
    assert!(message.contains(".lock") && message.contains("noble") && message.contains("bookworm"), "{message}");
    fs::write(place.path("lock"), "version = 1\nthis is no lock\n").unwrap();
    let (code, message) = failure(place.habuild("image").arg("--locked").arg(place.path("lock")));
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("/lock:2: this is not a lock"), "{message}");
    assert_whole(&place);
}

/// The names of the packages that the lock has for these layers.
fn locked_packages(layers: &[&str]) -> Vec<String> {
    let lock: Lock = toml::from_str(&fs::read_to_string(&warm().lock).unwrap()).unwrap();
    let packages = layers.iter().flat_map(|&layer| &lock.layers[layer].packages);
    packages.map(|package| package.name.clone()).collect()
}
