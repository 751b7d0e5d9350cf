//! Many nodes that come to one share at once, and end at any moment: one complete set of secrets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "starts the binary under test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// As many nodes as no autoscaling group adds at once.
const NODES: u32 = 100;
/// So many of them live to the end.
const SPARED: u32 = 10;
const DEADLINE: Duration = Duration::from_secs(120);

fn node(share: &Path, number: u32) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_habuild-firstboot"));
    // Small keys: what is looked at is who publishes, not how long a key takes.
    command.args(["settle", "--bits", "1024", "--instance", &format!("i-{number}"), "--share"]).arg(share);
    command
}

/// Numbers that look random and are the same at each run (xorshift).
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// `HABUILD_ROUNDS=100` makes the race be run so often, each time with others killed at other moments.
#[test]
fn a_hundred_nodes_race_and_most_are_killed() {
    let rounds = std::env::var("HABUILD_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        race(0x5eed_1234 + round);
    }
}

fn race(mut seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    // When each node is killed, after the start; the last ones are spared.
    let spawn = |number| node(dir.path(), number).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let mut doomed: Vec<(Duration, Child)> = Vec::new();
    let mut spared: Vec<Child> = Vec::new();
    for number in 0..NODES {
        let child = spawn(number);
        if number % (NODES / SPARED) == 0 {
            spared.push(child);
        } else {
            doomed.push((begun.elapsed() + Duration::from_micros(next(&mut seed) % 400_000), child));
        }
        // Those whose time has come end while others still begin.
        kill_due(&mut doomed, begun.elapsed());
    }
    while !doomed.is_empty() {
        assert!(begun.elapsed() < DEADLINE);
        kill_due(&mut doomed, begun.elapsed());
        std::thread::yield_now();
    }
    let mut digests = BTreeSet::new();
    for child in spared {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        digests.insert(String::from_utf8(output.stdout).unwrap());
    }
    // One who comes later finds the same, whole.
    let late = node(dir.path(), NODES).output().unwrap();
    digests.insert(String::from_utf8(late.stdout).unwrap());
    assert_eq!(digests.len(), 1, "{digests:?}");
    assert_eq!(digests.first().unwrap().trim().len(), 64);
    let mut names: Vec<String> = fs::read_dir(dir.path().join(".habuild"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.contains(".draft-"))
        .collect();
    names.sort();
    assert_eq!(names, ["cluster-0001.json", "secrets.json"]);
}

fn kill_due(doomed: &mut Vec<(Duration, Child)>, now: Duration) {
    doomed.retain_mut(|(due, child)| {
        if *due > now {
            return true;
        }
        // It may have ended by itself.
        let _ = child.kill();
        child.wait().unwrap();
        false
    });
}

/// Killed at each stage in turn, a node leaves nothing that the next one cannot go on from.
#[test]
fn whoever_comes_after_a_killed_node_finishes() {
    let dir = tempfile::tempdir().unwrap();
    for delay in (0..40).map(|step| Duration::from_millis(step * 5)) {
        let share = dir.path().join(format!("after-{}", delay.as_millis()));
        fs::create_dir(&share).unwrap();
        let mut child = node(&share, 1).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < delay {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
        let first = node(&share, 2).output().unwrap();
        assert!(first.status.success(), "after {delay:?}: {}", String::from_utf8_lossy(&first.stderr));
        let second = node(&share, 3).output().unwrap();
        assert_eq!(first.stdout, second.stdout, "after {delay:?}");
    }
}
