//! The cache and the output directory: nothing changed, something changed, two builds at once, damage.
#![allow(clippy::disallowed_methods, reason = "starts several habuilds at once")]

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::caches::{assert_whole, assert_written, copying, layer, sharing, warm};
use super::people::failure;
use crate::places::{Place, run};
use crate::turns::turn;

/// The results of the events of `habuild image --json`, by name.
fn results(place: &Place, more: &[&str]) -> Vec<(String, String)> {
    let events = run(place.locked("image").args(["--json", "--offline"]).args(more));
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("not one JSON value a line"));
    let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let done = events.filter(|event| event["event"] == "done");
    done.map(|event| (text(&event, "name"), text(&event, "result"))).collect()
}

#[test]
fn a_command_runs_as_root_of_the_image_in_surroundings_of_its_own() {
    let place = sharing();
    let [_, tar] = layer(&place, "docker");
    let mut archive = tar::Archive::new(fs::File::open(tar).unwrap());
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut entry = entries.find(|entry| entry.path().unwrap() == Path::new("etc/ran")).unwrap();
    let mut said = String::new();
    entry.read_to_string(&mut said).unwrap();
    // The two names that `ls` puts above what it lists are all there is.
    assert_eq!(said, "0 localhost /root 0022 / 2\n");
}

#[test]
fn a_second_run_does_nothing_and_a_changed_artifact_is_noticed() {
    warm();
    let _turn = turn(2);
    let place = sharing();
    let unchanged = [("harbor-node".to_owned(), "unchanged".to_owned())];
    assert!(results(&place, &[]).contains(&("qcow2".into(), "written".into())));
    assert_eq!(results(&place, &[]), unchanged);
    assert_eq!(results(&place, &["--verify"]), unchanged);

    let image = place.path("out/harbor-node.qcow2");
    let time = fs::metadata(&image).unwrap().modified().unwrap();
    let mut bytes = fs::read(&image).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&image, &bytes).unwrap();
    assert!(results(&place, &[]).len() > 1, "a new time was not noticed");

    bytes[middle] ^= 1;
    assert_eq!(fs::read(&image).unwrap(), bytes, "the same bits again");
    bytes[middle] ^= 1;
    fs::write(&image, &bytes).unwrap();
    fs::File::options().write(true).open(&image).unwrap().set_modified(time).unwrap();
    assert_eq!(results(&place, &[]), unchanged, "size and time are all that is looked at");
    assert!(results(&place, &["--verify"]).len() > 1, "--verify did not read the artifact");
    assert_whole(&place);
}

#[test]
fn two_builds_at_once_and_a_gc_between_them() {
    warm();
    let _turn = turn(2);
    let (one, two) = (sharing(), sharing());
    for place in [&one, &two] {
        place.change_last_layer("two at once");
    }
    let start = |place: &Place| place.locked("image").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let builds = [start(&one), start(&two)];
    let mut refused = 0;
    // As often as it can while the builds run; each is refused or finds nothing to remove.
    let ended = builds.map(|build| std::thread::spawn(move || build.wait_with_output().unwrap()));
    while ended.iter().any(|build| !build.is_finished()) {
        let gc = one.habuild("cache").arg("gc").output().unwrap();
        refused += usize::from(gc.status.code() == Some(3));
    }
    for build in ended {
        let output = build.join().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(refused > 0, "no gc ran while a build did");
    let sums = |place: &Place| fs::read_to_string(place.path("out/SHA256SUMS")).unwrap();
    assert_eq!(sums(&one), sums(&two));
    assert_written(&one);
    // One cache, which both share.
    assert_whole(&two);
}

#[test]
fn a_damaged_layer_is_found_removed_and_made_again() {
    warm();
    let _turn = turn(2);
    let place = copying();
    let [_, tar] = layer(&place, "firstboot");
    let mut bytes = fs::read(&tar).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // Another file: the warm cache has this one too.
    fs::remove_file(&tar).unwrap();
    fs::write(&tar, &bytes).unwrap();
    let (code, message) = failure(place.habuild("cache").arg("verify"));
    assert_eq!(code, 5, "{message}");
    // Another key of an earlier run may stand for the same tar.
    assert!(message.contains(" damaged\n") && message.contains("habuild cache gc"), "{message}");
    // A build that needs it finds the damage too, and makes it anew.
    let output = place.locked("image").arg("--offline").output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.contains("layer firstboot in the cache is damaged"), "{words}");
    assert_whole(&place);
    assert_eq!(
        fs::read_to_string(place.path("out/SHA256SUMS")).unwrap().lines().next().unwrap().split(' ').next(),
        fs::read_to_string(warm().path("out/SHA256SUMS")).unwrap().lines().next().unwrap().split(' ').next(),
    );
    // One whose tar is gone is damaged as well, and gc takes its record away.
    fs::remove_file(&tar).unwrap();
    assert_eq!(failure(place.habuild("cache").arg("verify")).0, 5);
    let removed = run(place.habuild("cache").arg("gc"));
    assert!(removed.contains("firstboot") && removed.contains("is missing"), "{removed}");
    run(place.locked("image").arg("--offline").arg("--verify"));
    fs::remove_dir_all(place.path("out")).unwrap();
    run(place.locked("image").arg("--offline"));
    assert_whole(&place);
    let listed = run(place.habuild("cache").arg("list"));
    assert_eq!(listed.lines().filter(|line| line.starts_with("firstboot")).count(), 1, "{listed}");
}

#[test]
fn the_plan_for_people_says_what_is_cached_and_why_a_layer_is_not() {
    let place = sharing();
    let text = run(&mut place.locked("plan"));
    assert_eq!(text.lines().filter(|line| line.contains(" cached ")).count(), 5, "{text}");
    place.change_last_layer("plan");
    let text = run(&mut place.locked("plan"));
    assert!(text.contains("firstboot ") && text.contains("habuild-firstboot.service"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains(" cached ")).count(), 4, "{text}");
}
