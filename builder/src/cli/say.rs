//! Words on standard output and standard error. Nobody who has ceased to read ends what habuild is doing.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::sync::{Mutex, PoisonError};

use crate::report::{Failure, Fault};

/// Why a line could not be written to standard output: the first reason.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes one line to standard output. A reader that has seen enough (`habuild plan | head`) is no failure; for any
/// other see [`judged`].
pub(super) fn say(line: fmt::Arguments<'_>) {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
        _ => {}
    }
}

/// Writes one line to standard error. There is nobody to be told when that fails.
pub(super) fn tell(line: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// A command that went well did not when a line that [`say`] was given is lost.
pub(super) fn judged(code: u8) -> anyhow::Result<u8> {
    let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner).take();
    match lost {
        Some(error) if code == 0 => Err(Failure::new(Fault::Environment, "standard output could not be written")
            .because(error)
            .remedy("send it elsewhere")
            .into()),
        _ => Ok(code),
    }
}
