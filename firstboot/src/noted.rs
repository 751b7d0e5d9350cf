//! What was done, with what: a file that holds the digest of it, written when it is done.

use std::path::Path;

use crate::host::Host;
use crate::trouble::Trouble;

/// Whether `file` says that something was done with what has this digest.
pub(crate) fn is_noted(host: &Host, file: &str, digest: &str) -> bool {
    host.read(Path::new(file)).is_ok_and(|content| content.bytes == digest.as_bytes())
}

/// Says in `file` that something was done with what has this digest.
pub(crate) fn note(host: &Host, file: &str, digest: &str) -> Result<(), Trouble> {
    let written = host.write(Path::new(file), digest.as_bytes(), 0o600);
    written.map(|_| ()).map_err(|error| Trouble::passing(format!("{file} cannot be written: {error}")))
}
