//! Builds that are cut off: by ctrl-C, by SIGTERM, by `kill -9` at every event.
#![allow(clippy::disallowed_methods, reason = "starts habuild in a process group of its own")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::caches::{assert_whole, copying, lend, warm};
use crate::places::{Place, run};
use crate::turns::turn;

/// Runs a build and sends it `signal` at its event number `at`. `None` when it ended before, else its exit code or -1.
fn cut(place: &Place, at: usize, signal: Signal) -> Option<i32> {
    let habuild = place.locked("image");
    // A job in a shell's background has SIGINT ignored, and hands that on to its children: habuild would leave it so.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,TERM").arg(habuild.get_program()).args(habuild.get_args()).stdin(Stdio::null());
    let mut build = command.args(["--json", "--offline"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut events = BufReader::new(build.stdout.take().unwrap()).lines();
    let reached = events.by_ref().take(at + 1).count() == at + 1;
    if reached {
        kill(Pid::from_raw(build.id().try_into().unwrap()), signal).unwrap();
    }
    let status = build.wait().unwrap();
    drop(events);
    assert_no_process(place);
    reached.then(|| status.code().unwrap_or(-1))
}

/// Nothing that worked for the build is left. Children end with their parent, but not in the same instant.
fn assert_no_process(place: &Place) {
    let needle = place.cache.display().to_string();
    let working = || -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let path = entry.ok()?.path();
            let line = String::from_utf8_lossy(&fs::read(path.join("cmdline")).ok()?).replace('\0', " ");
            let directory = fs::read_link(path.join("cwd")).map(|cwd| cwd.display().to_string()).unwrap_or_default();
            (line.contains(&needle) || directory.contains(&needle)).then_some(line)
        });
        processes.collect()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !working().is_empty() {
        assert!(Instant::now() < deadline, "left over: {:?}", working());
        std::thread::yield_now();
    }
}

#[test]
fn a_build_that_is_killed_at_any_event_loses_nothing() {
    warm();
    let _turn = turn(2);
    let place = copying();
    lend(&warm().cache.join("packages"), &place.cache.join("packages"));
    let (keys, mut cuts) = (place.keys(), 0);
    for at in 0.. {
        // Each round has the upper layers to bake again, so that each is cut in the midst of the same work.
        for (_, key) in keys.iter().filter(|(name, _)| ["docker", "firstboot"].contains(&name.as_str())) {
            let _ = fs::remove_file(place.cache.join(format!("keys/{key}.json")));
        }
        let _ = fs::remove_dir_all(place.path("out"));
        let Some(code) = cut(&place, at, Signal::SIGKILL) else { break };
        if code == 0 {
            // The last event: the process had ended.
            break;
        }
        assert_eq!(code, -1);
        cuts += 1;
        assert_whole(&place);
    }
    assert!(cuts >= 10, "only {cuts} events");
    run(place.locked("image").args(["--offline", "--format", "raw,qcow2"]));
    let manifest = |out: &std::path::Path| habuild::export::manifest::Manifest::read(out).unwrap();
    let (ours, theirs) = (manifest(&place.path("out")), manifest(&warm().path("out")));
    assert_eq!(ours.layers, theirs.layers);
    assert_eq!(ours, theirs);
    // Scratch of killed builds goes with the next gc.
    run(place.habuild("cache").arg("gc"));
    assert_eq!(fs::read_dir(place.cache.join("work")).unwrap().count(), 0);
}

#[test]
fn ctrl_c_and_sigterm_end_a_build_cleanly() {
    warm();
    let _turn = turn(2);
    // A cache of its own, so that no other test's processes are taken for this one's.
    let place = copying();
    for (round, signal) in [Signal::SIGINT, Signal::SIGTERM].into_iter().enumerate() {
        place.change_last_layer(&format!("round {round}"));
        // The squashfs is being made.
        let code = cut(&place, 12, signal).expect("the build ended before");
        assert_ne!(code, 0);
        assert_whole(&place);
        assert!(!place.path("out/manifest.json").exists());
    }
}
