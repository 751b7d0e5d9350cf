//! Files that a digest pins (`fetch`, a bundle from a URL), in the cache of packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::network::{SILENCE, agent, download};
use super::packages::Packages;
use crate::report::{self, Failure, Fault};
use crate::sys::digest::Digest;
use crate::sys::file;

/// The longest file that is fetched: several times the largest bundle of Harbor. What goes on for longer is not the
/// file that was pinned, and would fill the disk.
const LONGEST: u64 = 16 << 30;

/// Where the file of that digest lies; fetched from `url` when the cache lacks it.
pub(super) fn fetch(packages: &Packages, url: &str, sha256: Digest, offline: bool) -> Result<PathBuf> {
    let at = packages.pinned(sha256);
    if at.is_file() && Digest::of_file(&at)?.0 == sha256 {
        file::touch(&at)?;
        return Ok(at);
    }
    if offline {
        return Err(Failure::new(Fault::Input, format!("--offline, and the cache lacks {url}"))
            .remedy("build once without --offline")
            .into());
    }
    get(url, sha256, &at, LONGEST, SILENCE)?;
    Ok(at)
}

/// Fetches the file of that digest to `at`, if it is no longer than `longest` and no silence is longer than `silence`.
fn get(url: &str, sha256: Digest, at: &Path, longest: u64, silence: Duration) -> Result<()> {
    let partial = at.with_file_name(format!(".{sha256}.{}.partial", std::process::id()));
    let result = (|| {
        let (digest, length) = download(&agent(silence), url, &partial, longest)?;
        ensure!(length <= longest, "it is longer than {}", report::size(longest));
        ensure!(digest == sha256, "it has digest {digest}, not {sha256}");
        file::rename(&partial, at)
    })();
    if let Err(error) = result {
        let _ = fs::remove_file(&partial);
        // A full disk is the host's fault, not the file's.
        if report::fault_of(&error) == Fault::Environment {
            return Err(error);
        }
        return Err(Failure::new(Fault::Input, format!("{url} could not be had"))
            .because(error)
            .remedy("try again, or correct the URL or its sha256")
            .into());
    }
    Ok(())
}

#[cfg(test)]
#[path = "pinned_tests.rs"]
mod tests;
