//! Secret stores: what lies at the address of a reference. One file a store; here are files of the node.
//!
//! Invariant: no refusal holds what a store answered.

mod https;

use std::io;
use std::path::Path;

use contract::schema::{Scheme, SecretRef};

use crate::host::Host;
pub(crate) use https::Limits;

/// The longest answer of a store, and the longest file.
pub(crate) const MOST: usize = 1024 * 1024;

/// Why an address gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) what: String,
    pub(crate) advice: Option<String>,
    pub(crate) recoverable: bool,
    /// Whether the server could not be reached at all, so that its other addresses need not be tried.
    pub(crate) unreachable: bool,
}

impl Refusal {
    pub(crate) fn lasting(what: impl Into<String>) -> Self {
        Self { what: what.into(), advice: None, recoverable: false, unreachable: false }
    }

    pub(crate) fn passing(what: impl Into<String>) -> Self {
        Self { recoverable: true, ..Self::lasting(what) }
    }

    pub(crate) fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

/// Asks the store of a reference's scheme for what lies at its address, `#/key` left aside.
pub(crate) fn ask(
    host: &Host,
    address: &SecretRef,
    limits: &Limits,
    warnings: &mut Vec<String>,
) -> Result<Vec<u8>, Refusal> {
    match address.scheme() {
        Scheme::File => private_file(host, address.path(), warnings),
        Scheme::Https => https::fetch(host, address, limits, warnings),
        other => {
            let refusal = Refusal::lasting(format!("ref+{}:// is not in this version", other.name()));
            Err(refusal.advice("this version reads ref+file:// and ref+https://"))
        }
    }
}

/// A file that holds a secret; that others may read it is worth a warning.
fn private_file(host: &Host, path: &str, warnings: &mut Vec<String>) -> Result<Vec<u8>, Refusal> {
    let (bytes, exposed) = file(host, path)?;
    if exposed {
        let warning = format!("{path}: others may read this secret (chmod 600 {path})");
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    Ok(bytes)
}

fn file(host: &Host, path: &str) -> Result<(Vec<u8>, bool), Refusal> {
    let content = host.read(Path::new(path)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Refusal::passing(format!("there is no file {path}")),
        io::ErrorKind::PermissionDenied => Refusal::lasting(format!("{path} cannot be read: {error}")),
        // What is no file stays none; anything else is the disk's or the share's trouble.
        io::ErrorKind::Other => Refusal::lasting(format!("{path} {error}")),
        _ => Refusal::passing(format!("{path} cannot be read: {error}")),
    })?;
    match content.bytes.len() {
        0 => Err(Refusal::passing(format!("{path} is empty"))),
        MOST.. => Err(Refusal::lasting(format!("{path} has 1 MiB or more, too large for a secret"))),
        _ => Ok((content.bytes, content.exposed)),
    }
}
