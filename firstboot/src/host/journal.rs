//! Lines for the journal, which takes what the service writes to standard error.

use std::io::Write as _;

/// Writes one line. That nobody reads it, or that the journal is full, is no reason to end.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "habuild: {line}");
}
