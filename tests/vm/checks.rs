//! What must hold on every booted node. All failures are returned at once.

use habuild::spec::image::Firmware;
use serde_json::Value;

use super::{journal, waits};
use crate::machine::{DISK, Node};

/// A check that runs a script as root on the node. Bad exits fail it; so does what `judge` finds in the output.
struct Check {
    name: &'static str,
    script: &'static str,
    judge: fn(&str) -> Result<(), String>,
}

const CHECKS: &[Check] = &[
    Check {
        name: "cloud-init is done without errors",
        script: "cloud-init status --wait --format json || true",
        judge: cloud_init,
    },
    Check {
        name: "no unit failed",
        script: "systemctl is-system-running --wait || true; systemctl --failed --no-legend --plain",
        judge: |text| match text.trim().split_once('\n') {
            None if text.trim() == "running" => Ok(()),
            _ => Err(text.trim().to_owned()),
        },
    },
    Check {
        name: "the journal has no warning without a reason",
        script: journal::SCRIPT,
        judge: |text| none(journal::unexpected(text)),
    },
    Check { name: "/var has grown to the disk's end", script: VAR, judge: var },
    Check { name: "Docker runs a container", script: CONTAINER, judge: |text| expect(text, "the container ran") },
    Check {
        name: "Docker stores in overlay2",
        script: "docker info --format '{{.Driver}}'",
        judge: |text| expect(text, "overlay2"),
    },
    Check {
        name: "Compose is there",
        script: "docker compose version || docker-compose version",
        judge: |text| expect(&text.to_lowercase().contains("version").to_string(), "true"),
    },
    Check {
        name: "Docker's store is what was baked",
        script: "habuild-firstboot check --images && docker images --no-trunc --quiet | sort -u | wc -l \
                 && grep -o '\"id\":' /usr/share/habuild/images.json | wc -l",
        judge: |text| match text.split_whitespace().collect::<Vec<_>>()[..] {
            [shown, baked] if shown == baked => Ok(()),
            _ => Err(format!("docker images shows another number than was baked: {text:?}")),
        },
    },
    Check {
        name: "CephFS can be mounted",
        script: "command -v mount.ceph && modprobe ceph && grep -cw ceph /proc/filesystems",
        judge: |_| Ok(()),
    },
    Check {
        name: "the root is read-only",
        script: "for file in /usr/habuild-test /habuild-test /usr/bin/sh; do touch $file 2>/dev/null && echo $file; done; true",
        judge: |text| expect(text, ""),
    },
    Check {
        name: "the root is guarded by verity",
        script: "dmsetup table root 2>/dev/null || cat /sys/block/dm-0/dm/uuid",
        judge: |text| expect(&text.to_lowercase().contains("verity").to_string(), "true"),
    },
    Check {
        name: "verity hashes with the processor's instructions",
        script: "uname -r; journalctl -b -k -o cat | grep 'verity: sha256 using' || true",
        judge: hashing,
    },
    Check {
        name: "/etc is writable",
        script: "echo kept > /etc/habuild-test && cat /etc/habuild-test && rm /etc/habuild-test",
        judge: |text| expect(text, "kept"),
    },
    Check {
        name: "the machine id is one",
        script: "cat /etc/machine-id",
        judge: |text| {
            let id = text.trim();
            let good = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
            if good { Ok(()) } else { Err(format!("it is {id:?}")) }
        },
    },
    Check {
        name: "no unit waits",
        script: "systemctl show '*' -p Id -p InactiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic",
        judge: |text| none(waits::slow_units(text)),
    },
];

/// Where /var ends, where its disk ends, and what its file system holds, in bytes.
const VAR: &str = "set -e
part=$(readlink -f /sys/class/block/$(basename $(readlink -f $(findmnt -no SOURCE /var))))
echo $(( ($(cat $part/start) + $(cat $part/size)) * 512 )) $(( $(cat $part/size) * 512 )) \
     $(( $(cat $part/../size) * 512 )) $(findmnt -bno SIZE /var)";

/// Makes an image of `echo` and its libraries: there is no registry to pull from.
const CONTAINER: &str = "set -e
files=$(ldd /bin/echo | grep -o '/[^ ]*')
tar -C / -chf - bin/echo $(echo \"$files\" | sed 's,^/,,') | docker import - habuild-test:1 >/dev/null
docker run --rm habuild-test:1 /bin/echo the container ran
docker rmi habuild-test:1 >/dev/null";

/// What stands before a check's output, and between it and the errors of one that failed.
const BEGINS: &str = "== a check begins ==\n";
const FAILED: &str = "== it failed ==\n";

/// All checks as one script: a login takes a second or two on an emulated machine.
fn script() -> String {
    let errors = "/run/habuild-check";
    let one = |check: &Check| {
        format!(
            "printf '{}'; sh 2>{errors} <<'CHECK' || {{ printf '{}'; cat {errors}; }}\n{}\nCHECK\n",
            BEGINS.replace('\n', "\\n"),
            FAILED.replace('\n', "\\n"),
            check.script
        )
    };
    CHECKS.iter().map(one).collect()
}

/// Runs every check; the failures, named.
pub(crate) fn all(node: &mut Node, firmware: Firmware) -> Vec<String> {
    let said = node.root(&script()).unwrap();
    let parts: Vec<&str> = said.split(BEGINS).skip(1).collect();
    assert_eq!(parts.len(), CHECKS.len(), "{said}");
    let mut failures = Vec::new();
    for (check, said) in CHECKS.iter().zip(parts) {
        let judged = match said.split_once(FAILED) {
            Some((said, errors)) => Err(format!("it fails: {errors}{said}")),
            None => (check.judge)(said),
        };
        if let Err(what) = judged {
            failures.push(format!("{}: {what}", check.name));
        }
    }
    let script = "test -d /sys/firmware/efi && echo uefi || echo bios";
    let wanted = if firmware == Firmware::Uefi { "uefi" } else { "bios" };
    match node.root(script) {
        Ok(text) if text.trim() == wanted => {}
        other => failures.push(format!("the firmware is {wanted}: {other:?}")),
    }
    node.machine.catch_up().unwrap();
    if let Err(what) = none(waits::slow_jobs(&node.machine.tail(usize::MAX))) {
        failures.push(format!("no job on the console takes long: {what}"));
    }
    failures
}

fn expect(text: &str, wanted: &str) -> Result<(), String> {
    let text = text.trim();
    if text == wanted { Ok(()) } else { Err(format!("expected {wanted:?}, got {text:?}")) }
}

fn none(found: Vec<String>) -> Result<(), String> {
    if found.is_empty() { Ok(()) } else { Err(found.join("; ")) }
}

/// Judges `cloud-init status --wait --format json`: waiting, it writes dots first.
fn cloud_init(text: &str) -> Result<(), String> {
    let json = text.find('{').map_or("", |start| &text[start..]);
    let status: Value = serde_json::from_str(json).map_err(|error| format!("{error}: {text}"))?;
    let empty = |key: &str| match &status[key] {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    // Older versions have no extended status; newer ones say "degraded done" there.
    let extended = status["extended_status"].as_str().unwrap_or("done");
    let good = status["status"] == "done" && extended == "done" && empty("errors") && empty("recoverable_errors");
    if good { Ok(()) } else { Err(json.trim().to_owned()) }
}

/// Judges the kernel's release and the line in which dm-verity names the code that hashes. From 6.19 on (`drivers/md/dm-verity-target.c`)
/// it calls the kernel's library, which knows the processor, and has no such line.
fn hashing(text: &str) -> Result<(), String> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let kernel: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let good = match text.contains("verity: sha256 using") {
        true => !text.contains("sha256-generic"),
        false => kernel >= (6, 19),
    };
    if good { Ok(()) } else { Err(text.trim().to_owned()) }
}

/// Judges what [`VAR`] printed.
fn var(text: &str) -> Result<(), String> {
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [end, partition, disk, file_system] = numbers[..] else { return Err(format!("unexpected output {text:?}")) };
    let good = disk == DISK.0
        && disk - end <= 16 << 20
        // ext4 keeps a few per cent for itself.
        && file_system >= partition / 100 * 93;
    if good {
        Ok(())
    } else {
        Err(format!("disk {disk} (asked: {}), partition of {partition} to {end}, file system {file_system}", DISK.0))
    }
}

#[test]
fn judges_cloud_init() {
    assert!(cloud_init(r#"....{"status": "done", "errors": []}"#).is_ok());
    assert!(
        cloud_init(
            r#"{"status":"done","extended_status":"degraded done","errors":[],"recoverable_errors":{"WARNING":["x"]}}"#
        )
        .is_err()
    );
    assert!(cloud_init(r#"{"status": "error", "errors": ["x"]}"#).is_err());
    assert!(cloud_init("").is_err());
}

#[test]
fn judges_what_hashes() {
    assert!(hashing("6.8.0-151-generic\ndevice-mapper: verity: sha256 using \"sha256-avx2\"\n").is_ok());
    assert!(hashing("6.8.0-151-generic\ndevice-mapper: verity: sha256 using \"sha256-generic\"\n").is_err());
    assert!(hashing("6.12.118-cloud\n").is_err(), "nobody knows");
    assert!(hashing("7.0.0-44-generic\n").is_ok());
}

#[test]
fn judges_var() {
    let (disk, end) = (DISK.0, DISK.0 - (1 << 20));
    assert!(var(&format!("{end} 18000000000 {disk} 17600000000")).is_ok());
    assert!(var(&format!("{end} 18000000000 {disk} 8000000000")).is_err(), "the file system did not grow");
    assert!(var(&format!("9000000000 8000000000 {disk} 7900000000")).is_err(), "the partition did not grow");
}
