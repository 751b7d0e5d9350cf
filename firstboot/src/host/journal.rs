//! Lines for the journal, which takes what the service writes to standard error.
#![expect(clippy::print_stderr, reason = "the one place that writes the journal's lines")]

/// Writes one line.
pub(crate) fn say(line: &str) {
    eprintln!("habuild: {line}");
}
