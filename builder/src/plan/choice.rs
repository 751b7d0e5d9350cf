//! Which lock a build uses: the one that was named, else the recorded one, else a new one.
//!
//! A recorded lock is never replaced in silence. One that cannot be read is an error. When the spec asks for something
//! else, it is resolved again with the recorded versions preferred, and what moved is told.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::archive::Archive;
use super::lock::{Lock, Request};
use super::resolve::Index;
use crate::report::{Event, Failure, Fault};
use crate::spec::image::Base;
use crate::sys::digest::Digest;
use crate::sys::file;

/// More changed packages than this are counted instead of named.
const MOST_TOLD: usize = 40;

/// What decides which lock a build uses.
#[derive(Debug)]
pub struct Choice<'c> {
    /// A lock that was named: exactly this one.
    pub locked: Option<&'c Path>,
    /// Where an earlier build recorded its lock.
    pub recorded: PathBuf,
    /// Whether the archive may not be asked.
    pub offline: bool,
    /// The cache, for the archive's index.
    pub cache: &'c Path,
    /// The archive.
    pub archive: &'c Archive,
    /// The image's `[base]`.
    pub base: &'c Base,
    /// What the layers ask for.
    pub requests: &'c [Request],
}

impl Choice<'_> {
    /// The lock to build with.
    ///
    /// # Errors
    /// A lock that cannot be read or does not fit, or an archive that does not answer.
    pub fn lock(&self) -> Result<Lock> {
        if let Some(path) = self.locked {
            let lock = Lock::read(path)?;
            return match lock.mismatch(self.base, self.requests) {
                None => Ok(lock),
                Some(reason) => {
                    Err(Failure::new(Fault::Usage, format!("{} does not fit the spec: {reason}", path.display()))
                        .remedy("make a new one with habuild lock")
                        .into())
                }
            };
        }
        let recorded = if self.recorded.exists() { Some(Lock::read(&self.recorded)?) } else { None };
        let reason = match &recorded {
            Some(lock) => match lock.mismatch(self.base, self.requests) {
                None => return Ok(lock.clone()),
                Some(reason) => reason,
            },
            None => "it is not there".to_owned(),
        };
        if self.offline {
            let message = format!("--offline, and {} is no lock that fits the spec: {reason}", self.recorded.display());
            return Err(Failure::new(Fault::Input, message)
                .remedy("name a lock with --locked, or build once without --offline")
                .into());
        }
        let Some(recorded) = recorded else { return self.resolve(None) };
        tracing::info!("{}: {reason}; what stays keeps its version", self.recorded.display());
        let lock = self.resolve(Some(&recorded))?;
        let changes = lock.changes_from(&recorded);
        for change in changes.iter().take(MOST_TOLD) {
            tracing::info!("{change}");
        }
        if changes.len() > MOST_TOLD {
            tracing::info!("and {} more packages", changes.len() - MOST_TOLD);
        }
        Ok(lock)
    }

    /// A new lock from the archive; packages of `preferred` keep their version where the archive and the solver allow.
    ///
    /// # Errors
    /// An archive that does not answer as it should, or a request that cannot be met.
    pub fn resolve(&self, preferred: Option<&Lock>) -> Result<Lock> {
        let event = Event::start("plan", "packages");
        let directory = self.cache.join("index").join(self.index_name()?);
        file::make_directory(&directory)?;
        let _lock = file::lock(&directory.join("lock"))?;
        let index = Index::open(&directory, self.archive, self.base)?;
        let epoch = index.update()?;
        let mut lock = index.resolve(self.requests, epoch, preferred)?;
        // Where nothing moved, the layers are those of the recorded epoch, and stay in the cache.
        if let Some(old) = preferred
            && lock.keeps_versions_of(old)
        {
            lock.epoch = old.epoch;
        }
        let count: usize = lock.layers.values().map(|layer| layer.packages.len()).sum();
        event.done("resolved", &format!("{count} packages"));
        Ok(lock)
    }

    /// One index for each set of sources and keys.
    fn index_name(&self) -> Result<String> {
        let (keys, _) = Digest::of_file(&self.archive.keyring)?;
        Ok(Digest::of(format!("{}{keys}\n", self.archive.sources).as_bytes()).short())
    }
}
