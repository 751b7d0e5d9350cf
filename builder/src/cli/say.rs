//! Answers on standard output. A reader that has seen enough (`habuild plan | head`) is no failure.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};

/// Writes one line. Ends the program quietly when nobody reads any more.
pub(super) fn say(line: fmt::Arguments<'_>) {
    let written = writeln!(io::stdout().lock(), "{line}");
    if written.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
}
