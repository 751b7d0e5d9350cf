//! A release, as far as it can be seen: a first boot up to a Harbor of its own, a clean end, and the boot after it. Prints a row of
//! the table that `make releases` shows.

use std::time::Instant;

use habuild::boot::{Until, trial};
use habuild::spec::image::Firmware;

use crate::machine::{Node, image};
use crate::turns::turn;
use crate::{PASSWORD, checks, identity, report, store};

/// What the row says of the software: each on a line.
const VERSIONS: &str = "set -e
. /etc/os-release; echo \"$ID $VERSION_CODENAME\"
uname --kernel-release
systemctl --version | sed -n '1s/[^(]*(\\(.*\\)).*/\\1/p'
docker version --format '{{.Server.Version}}'
{ docker compose version --short || docker-compose version --short; } 2>/dev/null | tail -1";

/// What is wrong with how the boot before this one ended, and with the state of `/var` that it left: a line each. The journal leaves
/// `/var` when everything that writes there has stopped (resolute's systemd stops a dozen things besides); what comes after is said on
/// the console alone.
const ENDED: &str = "last=$(journalctl --boot -1 --output cat --lines 1000)
echo \"$last\" | tail -24 | grep -q 'Stopping.*Journal to Persistent Storage' || { echo 'the journal ends with'; echo \"$last\" | tail -8; }
echo \"$last\" | grep -iE 'failed unmount|failed to unmount|timed out\\. killing|failed with result'
dmesg | grep 'habuild: e2fsck: ' | grep -v ': clean,'
dmesg | grep -i 'EXT4-fs.*recovery'
true";

/// Lines of the console that a clean end has none of.
const UNCLEAN: [&str; 4] =
    ["Failed unmounting", "Failed to unmount", "timed out. Killing", "Not all file systems unmounted"];

/// Boots the image that the environment variable `name` names.
#[expect(clippy::print_stdout, reason = "a row of a table for whoever runs it")]
pub(crate) fn seen(name: &str) {
    let _turn = turn(2);
    let trial = trial("http://harbor.test", 80, PASSWORD);
    let begun = Instant::now();
    let mut node = Node::start(&image(name), Firmware::Bios, &trial, &[]);
    node.says(Until::Ready);
    let first = begun.elapsed().as_secs();
    let mut failures = checks::all(&mut node, Firmware::Bios);
    failures.extend(store::used(&node));
    let before = identity(&node);
    let begun = Instant::now();
    node.restart("systemctl reboot");
    node.says(Until::Ready);
    let next = begun.elapsed().as_secs();
    let again = checks::all(&mut node, Firmware::Bios).into_iter();
    failures.extend(again.map(|failure| format!("after the restart: {failure}")));
    let mut ended = node.root(ENDED).unwrap();
    let console = node.machine.tail(usize::MAX);
    if !console.iter().any(|line| line.contains("System Reboot")) {
        ended += "reboot.target was not reached\n";
    }
    let unclean = console.iter().filter(|line| UNCLEAN.iter().any(|words| line.contains(words)));
    ended.extend(unclean.map(|line| format!("{line}\n")));
    failures.extend((!ended.trim().is_empty()).then(|| format!("the end before the restart: {ended}")));
    assert_eq!(before, identity(&node));
    let versions = node.root(VERSIONS).unwrap();
    let versions: Vec<&str> = versions.lines().map(str::trim).collect();
    let what = if failures.is_empty() { "nothing failed" } else { "see below" };
    println!("release: | {} | {first} s | {next} s | {what} |", versions.join(" | "));
    report(&failures);
}
