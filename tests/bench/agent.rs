//! What the first-boot agent itself costs: on a node that makes the cluster's secrets, with nothing to do, and on one that
//! takes them from the share. `HABUILD_BENCH=agent`, with the image in `HABUILD_VM_NOBLE`.
//!
//! The machine is emulated: its processor seconds are an order of magnitude above real ones. How far is measured in the same
//! run, with the same binary reading the node's config here and there, and the table gives both.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use habuild::boot::{Until, trial};
use habuild::spec::image::Firmware;
use habuild::sys::cmd::Cmd;

use crate::machine::{Node, image};
use crate::places::project;

const AGENT: &str = "target/x86_64-unknown-linux-musl/release/habuild-firstboot";
/// Processor time of the agent in hundredths of a second, its largest memory in KiB, and when it said that it is ready and
/// what it waited for was there, in seconds since the kernel's start.
const COST: &str = "set -e
pid=$(systemctl show --property MainPID --value habuild-firstboot)
sed 's/.*) //' /proc/$pid/stat | cut -d' ' -f12,13
grep VmHWM /proc/$pid/status | tr -dc '0-9\\n'
journalctl --boot --unit habuild-firstboot --output short-monotonic | grep 'habuild: ready: ' | tail -1 | tr -d '[' | awk '{print $1+0}'
systemctl show --property ActiveEnterTimestampMonotonic --value cloud-config.target";
/// Reads the node's config so often that a fast machine takes a measurable time; the last line of `times` says what the children
/// took (in a pipe it would be another shell's).
const READ: &str = "for _ in $(seq 300); do $AGENT show --root $ROOT >/dev/null; done; times";

/// One run of the agent.
struct Cost {
    processor: f64,
    memory_mib: f64,
    /// Since `cloud-config.target`, for the run that began with the boot.
    since_target: f64,
    /// As the agent itself counts from its start.
    took: String,
}

fn cost(node: &Node) -> Cost {
    let said = node.root(COST).unwrap();
    let numbers: Vec<f64> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [user, system, memory, ready, target] = numbers[..] else { panic!("{said}") };
    let line = "journalctl --boot --unit habuild-firstboot --output cat | grep 'habuild: ready: ' | tail -1";
    let took = node.root(line).unwrap().rsplit(' ').next().unwrap().trim().to_owned();
    Cost { processor: (user + system) / 100.0, memory_mib: memory / 1024.0, since_target: ready - target / 1e6, took }
}

/// Starts the agent anew after `before` and waits until it is ready.
fn again(node: &Node, before: &str) -> Cost {
    let script = format!(
        "set -e; systemctl stop habuild-firstboot; {before}\nsystemctl start habuild-firstboot
         run=$(systemctl show --property InvocationID --value habuild-firstboot)
         timeout 900 sh -c \"until journalctl _SYSTEMD_INVOCATION_ID=$run --output cat | grep -q 'habuild: ready: '; do sleep 1; done\""
    );
    node.root(&script).unwrap();
    cost(node)
}

/// Seconds of processor in the last line that `times` printed: `0m1.250s 0m0.310s`.
fn seconds(times: &str) -> f64 {
    let one = |text: &str| {
        let (minutes, seconds) = text.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    };
    times.lines().last().unwrap().split_whitespace().map(one).sum()
}

/// How many times more processor time the agent takes on the node than here.
fn factor(node: &Node) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("etc/habuild/node.yaml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(&config, node.root("cat /etc/habuild/node.yaml").unwrap()).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let script = |agent: &Path, root: &Path| format!("AGENT={}; ROOT={}; {READ}", agent.display(), root.display());
    let here = script(&project().join(AGENT), dir.path());
    let here = Cmd::program("sh").args(["-c", &here]).output_text().unwrap();
    let there = node.root(&script(Path::new("/usr/bin/habuild-firstboot"), Path::new("/"))).unwrap();
    seconds(&there) / seconds(&here)
}

/// Boots the node and measures; the table.
pub(crate) fn table() -> String {
    let trial = trial("http://harbor.test", 80, "Trial12345");
    let mut node = Node::start(&image("HABUILD_VM_NOBLE"), Firmware::Bios, &trial, &[]);
    node.says(Until::Ready);
    let generating = cost(&node);
    let nothing = again(&node, "");
    let adopting = again(&node, "systemctl stop harbor; rm -r /var/lib/habuild/instance /var/lib/habuild/harbor");
    let factor = factor(&node);
    let size = fs::metadata(project().join(AGENT)).unwrap().len() as f64 / 1e6;
    let mut table = String::from(
        "| the agent's run | its processor time, emulated | so on a real machine | memory | until ready |\n|---|---|---|---|---|\n",
    );
    for (name, cost) in [("makes the secrets", &generating), ("nothing to do", &nothing), ("adopts them", &adopting)] {
        let Cost { processor, memory_mib, took, .. } = cost;
        table +=
            &format!("| {name} | {processor:.2} s | {:.2} s | {memory_mib:.1} MiB | {took} |\n", processor / factor);
    }
    table
        + &format!(
            "\nFrom `cloud-config.target` to ready: {:.0} s. The binary has {size:.1} MB. Emulation takes {factor:.1} × the processor time.\n",
            generating.since_target
        )
}
