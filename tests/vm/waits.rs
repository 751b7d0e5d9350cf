//! Finds units that spent the boot waiting, in systemd's own records and on the console. Pure.

use std::collections::BTreeMap;

/// Longer than this, a wait is a mistake: 20 s.
const LONGEST: u64 = 20;

/// Units that only wait, and took longer than allowed, in the output of
/// `systemctl show '*' -p Id -p InactiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic`.
pub(crate) fn slow_units(shown: &str) -> Vec<String> {
    let mut slow = Vec::new();
    for block in shown.split("\n\n") {
        let values: BTreeMap<&str, &str> = block.lines().filter_map(|line| line.split_once('=')).collect();
        let micros = |key| values.get(key).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
        let (begun, done) = (micros("InactiveExitTimestampMonotonic"), micros("ActiveEnterTimestampMonotonic"));
        let seconds = done.saturating_sub(begun) / 1_000_000;
        let unit = values.get("Id").copied().unwrap_or_default();
        // Not devices: what the initrd found becomes active again when the real root's udev has seen it.
        let waits = unit.contains("wait") || unit.contains("settle");
        if waits && begun > 0 && seconds > LONGEST {
            slow.push(format!("{unit} waited {seconds} s"));
        }
    }
    slow
}

/// Harbor's stop is no wait: its containers are given the time that they need, one after the other.
const HARBOR_STOPS: &str = "A stop job is running for Harbor";

/// Lines such as `A start job is running for NAME (1min 2s / no limit)` with more than the allowed time.
pub(crate) fn slow_jobs(console: &[String]) -> Vec<String> {
    let slow = |line: &&String| {
        let Some((_, job)) = line.split_once(" job is running for ") else { return false };
        let Some((elapsed, _)) = job.rsplit_once('(').and_then(|(_, times)| times.split_once(" / ")) else {
            return false;
        };
        seconds(elapsed) > LONGEST
    };
    console.iter().filter(|line| !line.contains(HARBOR_STOPS)).filter(slow).map(|line| line.trim().to_owned()).collect()
}

/// The seconds of a time such as `1min 2s`.
fn seconds(text: &str) -> u64 {
    let part = |part: &str| {
        let unit = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let number: u64 = part[..part.len() - unit.len()].parse().unwrap_or(0);
        number * if unit == "min" { 60 } else { u64::from(unit == "s") }
    };
    text.split_whitespace().map(part).sum()
}

#[test]
fn finds_slow_units() {
    let shown = "Id=systemd-networkd-wait-online.service\nInactiveExitTimestampMonotonic=1000000\nActiveEnterTimestampMonotonic=122000000\n\n\
         Id=cloud-init.service\nInactiveExitTimestampMonotonic=1000000\nActiveEnterTimestampMonotonic=99000000\n\n\
         Id=systemd-udev-settle.service\nInactiveExitTimestampMonotonic=1000000\nActiveEnterTimestampMonotonic=9000000\n\n\
         Id=x-wait.service\nInactiveExitTimestampMonotonic=0\nActiveEnterTimestampMonotonic=99000000\n";
    assert_eq!(slow_units(shown), ["systemd-networkd-wait-online.service waited 121 s"]);
}

#[test]
fn finds_slow_jobs() {
    let console = [
        "[ ***  ] A start job is running for dev-x.device (9s / 1min 30s)",
        "[ ***  ] (2 of 3) Job a/start running (9s / no limit)",
        "[ ***  ] A start job is running for Wait for Network (1min 1s / 2min)",
        "[ ***  ] A stop job is running for Docker (22s / no limit)",
        "[ ***  ] A stop job is running for Harbor, the container registry (1min 2s / 45min)",
    ];
    let slow = slow_jobs(&console.map(str::to_owned));
    assert_eq!(slow, [console[2], console[3]]);
}
