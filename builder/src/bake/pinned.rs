//! Files that a digest pins (`fetch`, a bundle from a URL), in the cache of packages.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use ureq::Agent;

use super::network::{SILENCE, agent, resume};
use super::packages::Packages;
use crate::report::{self, Event, Failure, Fault};
use crate::sys::digest::Digest;
use crate::sys::file;

/// The longest file that is fetched: several times the largest bundle of Harbor. What goes on for longer is not the
/// file that was pinned, and would fill the disk.
const LONGEST: u64 = 16 << 30;

/// How often a connection that breaks off is opened again, each time if it has brought something.
const TRIES: usize = 10;

/// Where the file of that digest lies; fetched from `url` when the cache lacks it.
pub(super) fn fetch(packages: &Packages, url: &str, sha256: Digest, offline: bool) -> Result<PathBuf> {
    let at = packages.pinned(sha256);
    if is_there(&at, sha256)? {
        file::touch(&at)?;
        return Ok(at);
    }
    if offline {
        return Err(Failure::new(Fault::Input, format!("--offline, and the cache lacks {url}"))
            .remedy("build once without --offline")
            .into());
    }
    let name = url.rsplit('/').next().unwrap_or(url);
    let event = Event::start("bake", name);
    let length = get(url, sha256, &at, LONGEST, SILENCE, &mut |done, total| {
        if let Some(total) = total {
            report::progress(name, done, total);
        }
    })?;
    event.done("fetched", &report::size(length));
    Ok(at)
}

fn is_there(at: &Path, sha256: Digest) -> Result<bool> {
    Ok(at.is_file() && Digest::of_file(at)?.0 == sha256)
}

/// Fetches the file of that digest to `at`, if it is no longer than `longest` and no silence is longer than `silence`;
/// gives its length. What has arrived stays beside it when a connection breaks off, and the next build goes on from there.
fn get(
    url: &str,
    sha256: Digest,
    at: &Path,
    longest: u64,
    silence: Duration,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<u64> {
    // Held while it is written: another build that wants the same file waits, and finds it.
    let partial = at.with_file_name(format!(".{sha256}.partial"));
    let _lock = file::lock(&partial)?;
    let outcome = if is_there(at, sha256)? {
        fs::remove_file(&partial).map_err(Into::into)
    } else {
        whole(url, sha256, &partial, longest, &agent(silence), progress).and_then(|()| file::rename(&partial, at))
    };
    if let Err(error) = outcome {
        // A full disk is the host's fault, not the file's.
        if report::fault_of(&error) == Fault::Environment {
            return Err(error);
        }
        let remedy = if fs::metadata(&partial).is_ok_and(|metadata| metadata.len() > 0) {
            "try again: what has arrived is kept"
        } else {
            let _ = fs::remove_file(&partial);
            "try again, or correct the URL or its sha256"
        };
        return Err(Failure::new(Fault::Input, format!("{url} could not be had")).because(error).remedy(remedy).into());
    }
    Ok(fs::metadata(at).map_or(0, |metadata| metadata.len()))
}

/// Brings the file of that digest to `partial`, which may hold a part of it. What is not the beginning of it is removed.
fn whole(
    url: &str,
    sha256: Digest,
    partial: &Path,
    longest: u64,
    agent: &Agent,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<()> {
    let mut tries = 0;
    loop {
        let before = fs::metadata(partial).map_or(0, |metadata| metadata.len());
        let (digest, length) = match resume(agent, url, partial, longest, progress) {
            Ok(arrived) => arrived,
            Err(error) => {
                tries += 1;
                let grown = fs::metadata(partial).is_ok_and(|metadata| metadata.len() > before);
                if grown && tries < TRIES && report::fault_of(&error) != Fault::Environment {
                    continue;
                }
                return Err(error);
            }
        };
        if digest == sha256 && length <= longest {
            return Ok(());
        }
        File::options().write(true).open(partial).and_then(|file| file.set_len(0))?;
        // A part of something else was there: once more, from the beginning.
        if before == 0 {
            ensure!(length <= longest, "it is longer than {}", report::size(longest));
            bail!("it has digest {digest}, not {sha256}");
        }
    }
}

#[cfg(test)]
#[path = "pinned_tests.rs"]
mod tests;
