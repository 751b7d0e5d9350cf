//! What a node's journal may say at priority warning or worse: patterns, each with its reason. Anything else is a
//! mistake of the image's. Pure.
//!
//! The kernel is left out: of an emulated machine it says what its host's load and clocks are like.

use serde_json::Value;

/// Prints what [`unexpected`] reads.
pub(crate) const SCRIPT: &str = "journalctl -b -p warning --no-pager -o json --output-fields=SYSLOG_IDENTIFIER,MESSAGE";

/// Who may say what, and why it is no mistake of ours: an identifier, and a part of the message.
const EXPECTED: &[(&str, &str, &str)] = &[
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
    for line in journal.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            found.push(format!("not a line of the journal: {line}"));
            continue;
        };
        let (who, what) = (entry["SYSLOG_IDENTIFIER"].as_str().unwrap_or_default(), message(&entry["MESSAGE"]));
        if who == "kernel" {
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
        entry("someone else", part.into()),
        entry("x", serde_json::json!([111, 104])),
        "broken".to_owned(),
    ];
    assert_eq!(
        unexpected(&journal.join("\n")),
        [
            "systemd-tmpfiles: \"/home\" already exists and is not a directory.".to_owned(),
            format!("someone else: {part}"),
            "x: oh".to_owned(),
            "not a line of the journal: broken".to_owned(),
        ]
    );
}
