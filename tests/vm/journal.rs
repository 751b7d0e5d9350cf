//! What a node's journal may say at priority warning or worse: patterns, each with its reason. Anything else is a
//! mistake of the image's. Pure.
//!
//! Of the kernel only errors count: what it warns of in an emulated machine is what its host's load and clocks are like.

use serde_json::Value;

/// Prints what [`unexpected`] reads.
pub(crate) const SCRIPT: &str =
    "journalctl -b -p warning --no-pager -o json --output-fields=PRIORITY,SYSLOG_IDENTIFIER,CONTAINER_NAME,MESSAGE";

/// As the journal writes it.
const WARNING: &str = "4";

/// Who may say what, and why it is no mistake of ours: an identifier, and a part of the message.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("kernel", "watchdog: BUG: soft lockup", "a processor of an emulated machine on a busy host stands still"),
    ("kernel", "rcu: ", "the same: no processor came to the end of what it was doing"),
    ("kernel", "Unable to calibrate against PIT", "the emulated clocks"),
    ("kernel", "MP-BIOS bug: 8254 timer not connected", "the same"),
    (
        "systemd",
        "cloud-init-main.service: Got notification message from PID",
        "systemd's tools report their exit code to the service they run in, where only cloud-init itself is heard",
    ),
    ("(udev-worker)", "Could not set WakeOnLan to off", "netplan's files say so of every card; a virtual one cannot"),
    ("systemd", "netplan-ovs-cleanup.service is marked world-inaccessible", "jammy's netplan makes it so"),
    ("systemd-udevd", "Could not set WakeOnLan to off", "the same, by jammy's udev"),
    ("systemd-udevd", "is taking a long time", "emulation is slow"),
];

/// Messages that nobody expects, as `IDENTIFIER: MESSAGE`; each once.
pub(crate) fn unexpected(journal: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in journal.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            found.push(format!("not a line of the journal: {line}"));
            continue;
        };
        let (who, what) = (entry["SYSLOG_IDENTIFIER"].as_str().unwrap_or_default(), message(&entry["MESSAGE"]));
        // What a container writes to its standard error is no message of the node's.
        let aside = who == "kernel" && entry["PRIORITY"] == WARNING || entry["CONTAINER_NAME"].is_string();
        if aside {
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
    let (who, part, _) = EXPECTED.iter().find(|(who, ..)| *who != "kernel").unwrap();
    let with = |priority: &str, who: &str, what: Value| {
        serde_json::json!({ "PRIORITY": priority, "SYSLOG_IDENTIFIER": who, "MESSAGE": what }).to_string()
    };
    let entry = |who: &str, what: Value| with(WARNING, who, what);
    let journal = [
        entry(who, (*part).into()),
        entry("systemd-tmpfiles", "\"/home\" already exists and is not a directory.".into()),
        entry("systemd-tmpfiles", "\"/home\" already exists and is not a directory.".into()),
        with("0", "kernel", "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [systemd:1]".into()),
        with("4", "kernel", "hrtimer: interrupt took 42 ns".into()),
        with("3", "kernel", "EXT4-fs error (device vda5): bad".into()),
        entry("someone else", (*part).into()),
        entry("x", serde_json::json!([111, 104])),
        serde_json::json!({ "PRIORITY": "3", "CONTAINER_NAME": "harbor-db", "MESSAGE": "[Warning] no SSL" })
            .to_string(),
        "broken".to_owned(),
    ];
    assert_eq!(
        unexpected(&journal.join("\n")),
        [
            "systemd-tmpfiles: \"/home\" already exists and is not a directory.".to_owned(),
            "kernel: EXT4-fs error (device vda5): bad".to_owned(),
            format!("someone else: {part}"),
            "x: oh".to_owned(),
            "not a line of the journal: broken".to_owned(),
        ]
    );
}
