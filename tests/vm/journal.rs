//! What a node's journal may say at priority warning or worse: patterns, each with its reason. Anything else is a
//! mistake of the image's. Pure.

use serde_json::Value;

/// Prints what [`unexpected`] reads.
pub(crate) const SCRIPT: &str = "journalctl -b -p warning --no-pager -o json --output-fields=SYSLOG_IDENTIFIER,MESSAGE";

/// Who may say what, and why it is no mistake of ours: an identifier, and a part of the message.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("kernel", "hogged CPU for >10000us", "emulation is slow"),
    ("kernel", "hrtimer: interrupt took", "emulation is slow"),
    ("kernel", "Unable to calibrate against PIT", "the emulated clocks"),
    ("kernel", "APIC calibration not consistent with PM-Timer", "the emulated clocks"),
    ("kernel", "Unstable clock detected", "the emulated clocks"),
    ("kernel", "hpet: Lost ", "the emulated clocks"),
    ("kernel", "mtrr: your CPUs had inconsistent ", "the emulated processors"),
    ("kernel", "amd_pstate: the _CPC object is not present", "the emulated processors"),
    ("kernel", "CONFIG_IMA_DISABLE_HTABLE is disabled", "Ubuntu's kernel, about a measurement that nobody asks for"),
    ("kernel", "overlayfs: null uuid detected in lower fs '/etc'", "squashfs has no UUID; xino is not needed"),
    ("kernel", "the capability attribute has been deprecated", "a program reads /sys/block/*/capability"),
    ("kernel", "kauditd_printk_skb:", "audit messages of the boot came too fast to be printed"),
    ("kernel", "GPT:", "the disk was enlarged, as a cloud does; systemd-repart then moves the second header"),
    (
        "systemd",
        "cloud-init-main.service: Got notification message from PID",
        "systemd's tools report their exit code to the service they run in, where only cloud-init itself is heard",
    ),
    ("(udev-worker)", "Could not set WakeOnLan to off", "netplan's files say so of every card; a virtual one cannot"),
    ("systemd-udevd", "is taking a long time", "emulation is slow"),
];

/// Messages that nobody expects, as `IDENTIFIER: MESSAGE`; each once.
pub(crate) fn unexpected(journal: &str) -> Vec<String> {
    let mut found = Vec::new();
    // A processor of an emulated machine on a busy host stands still: the kernel then says where, in many lines.
    let mut lockup = false;
    for line in journal.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            found.push(format!("not a line of the journal: {line}"));
            continue;
        };
        let (who, what) = (entry["SYSLOG_IDENTIFIER"].as_str().unwrap_or_default(), message(&entry["MESSAGE"]));
        lockup |= who == "kernel" && what.contains("watchdog: BUG: soft lockup");
        if lockup && who == "kernel" {
            lockup = what.trim() != "</TASK>";
            continue;
        }
        let expected = EXPECTED.iter().any(|(by, part, _)| who == *by && what.contains(part));
        let text = format!("{who}: {what}");
        if !expected && !found.contains(&text) {
            found.push(text);
        }
    }
    found
}

/// journalctl writes what is no text as a list of bytes.
fn message(value: &Value) -> String {
    match value {
        Value::Array(bytes) => {
            let bytes: Vec<u8> = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

#[test]
fn finds_unexpected_messages() {
    let (who, part, _) = EXPECTED[0];
    let entry = |who: &str, what: Value| serde_json::json!({ "SYSLOG_IDENTIFIER": who, "MESSAGE": what }).to_string();
    let journal = [
        entry(who, part.into()),
        entry("systemd-tmpfiles", "\"/home\" already exists and is not a directory.".into()),
        entry("systemd-tmpfiles", "\"/home\" already exists and is not a directory.".into()),
        entry("kernel", "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [systemd:1]".into()),
        entry("kernel", "Call Trace:".into()),
        entry("kernel", " </TASK>".into()),
        entry("kernel", "Call Trace:".into()),
        entry("someone else", part.into()),
        entry("x", serde_json::json!([111, 104])),
        "broken".to_owned(),
    ];
    assert_eq!(
        unexpected(&journal.join("\n")),
        [
            "systemd-tmpfiles: \"/home\" already exists and is not a directory.".to_owned(),
            "kernel: Call Trace:".to_owned(),
            format!("someone else: {part}"),
            "x: oh".to_owned(),
            "not a line of the journal: broken".to_owned(),
        ]
    );
}
