//! Package files: fetched in parallel into a content-addressed cache, checked by hash, laid out as a local repository.
//!
//! ```text
//! packages/SHA256.deb       a package file, whole and of that digest
//! packages/SHA256.control   its control fields, for the repository's index
//! packages/SHA256.file      a file that a digest pins (`pinned`)
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::network::{CONNECTIONS, SILENCE, agent, is_gone};
use crate::plan::lock::Package;
use crate::report::{Failure, Fault};
use crate::sys::cmd::{Cmd, Tool};
use crate::sys::digest::Digest;
use crate::sys::file;

/// How often one package is asked for before its archive counts as down.
const TRIES: usize = 3;

/// Where packages are fetched from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The mirror.
    pub mirror: String,
    /// The archive of security updates, where it is one of its own.
    pub security: Option<String>,
    /// A snapshot archive, asked for what the mirror no longer has.
    pub snapshot: Option<String>,
}

impl Origin {
    fn urls(&self, package: &Package) -> Vec<String> {
        let first = match &self.security {
            Some(security) if package.security => security,
            _ => &self.mirror,
        };
        let bases = std::iter::once(first).chain(&self.snapshot);
        bases.map(|base| format!("{}/{}", base.trim_end_matches('/'), package.filename)).collect()
    }
}

/// The package cache in a cache directory.
#[derive(Debug, Clone)]
pub struct Packages {
    root: PathBuf,
}

impl Packages {
    /// Opens the cache below `cache`, making it if need be.
    pub fn open(cache: &Path) -> Result<Self> {
        let root = cache.join("packages");
        file::make_directory(&root)?;
        Ok(Self { root })
    }

    fn deb(&self, package: &Package) -> PathBuf {
        self.root.join(format!("{}.deb", package.sha256))
    }

    /// Where a file that a digest pins lies, if it is there.
    pub(super) fn pinned(&self, sha256: Digest) -> PathBuf {
        self.root.join(format!("{sha256}.file"))
    }

    /// Those of `packages` that the cache does not have.
    #[must_use]
    pub fn missing<'a>(&self, packages: impl Iterator<Item = &'a Package>) -> Vec<&'a Package> {
        packages
            .filter(|package| !fs::metadata(self.deb(package)).is_ok_and(|metadata| metadata.len() == package.size))
            .collect()
    }

    /// Fetches what is missing. `offline`: lists it and fails instead.
    pub fn fetch(&self, packages: &[&Package], origin: &Origin, offline: bool) -> Result<()> {
        let missing = self.missing(packages.iter().copied());
        if missing.is_empty() {
            return Ok(());
        }
        if offline {
            let names: Vec<String> =
                missing.iter().map(|p| format!("  {} {} {}", p.name, p.version, p.architecture)).collect();
            return Err(Failure::new(
                Fault::Input,
                format!("--offline, and the cache lacks {} packages:\n{}", missing.len(), names.join("\n")),
            )
            .remedy("build once without --offline, or copy the packages directory of a cache that has them")
            .into());
        }
        let total: u64 = missing.iter().map(|package| package.size).sum();
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
        let failure: Mutex<Option<anyhow::Error>> = Mutex::new(None);
        let agent = agent(SILENCE);
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS.min(missing.len()) {
                scope.spawn(|| {
                    while let Some(package) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = self.fetch_one(&agent, package, origin) {
                            // One failure is enough to say what is wrong: the others stop here.
                            next.store(missing.len(), Ordering::Relaxed);
                            if let Ok(mut slot) = failure.lock() {
                                slot.get_or_insert(error);
                            }
                            return;
                        }
                        let done = done.fetch_add(package.size, Ordering::Relaxed) + package.size;
                        crate::report::progress("packages", done, total);
                    }
                });
            }
        });
        match failure.into_inner() {
            Ok(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn fetch_one(&self, agent: &ureq::Agent, package: &Package, origin: &Origin) -> Result<()> {
        let partial = self.root.join(format!(".{}.{}.partial", package.sha256, std::process::id()));
        let mut last = None;
        'urls: for url in origin.urls(package) {
            for _ in 0..TRIES {
                match download(agent, &url, &partial, package) {
                    Ok(()) => {
                        file::rename(&partial, &self.deb(package))?;
                        return Ok(());
                    }
                    Err(error) => {
                        let _ = fs::remove_file(&partial);
                        if crate::report::fault_of(&error) == Fault::Environment {
                            return Err(error);
                        }
                        last = Some(error.context(format!("failed to fetch {url}")));
                        if last.as_ref().is_some_and(is_gone) {
                            continue 'urls;
                        }
                    }
                }
            }
        }
        let error = last.unwrap_or_else(|| anyhow::anyhow!("no archive to fetch it from"));
        let what = format!("package {} {} could not be had", package.name, package.version);
        let remedy = if is_gone(&error) {
            "the archive has dropped this version: resolve anew with habuild lock, or name a snapshot archive in base.snapshot"
        } else {
            "try again (what has arrived is kept), or name another archive with --mirror"
        };
        Err(Failure::new(Fault::Input, what).because(error).remedy(remedy).into())
    }

    /// Removes the files that no build has used for `age`; gives how many bytes went.
    pub fn remove_unused(&self, age: Duration) -> Result<u64> {
        let mut freed = 0;
        for entry in fs::read_dir(&self.root).with_context(|| format!("failed to list {}", self.root.display()))? {
            let path = entry.with_context(|| format!("failed to list {}", self.root.display()))?.path();
            if file::unused_for(&path).is_some_and(|unused| unused >= age) {
                freed += file::remove_counted(&path)?;
            }
        }
        Ok(freed)
    }

    /// Lays `packages` out as a repository in the empty directory `at`, each hashed again on the way.
    pub fn repository(&self, packages: &[Package], suite: &str, at: &Path) -> Result<()> {
        let stanzas: Mutex<Vec<(usize, String)>> = Mutex::new(Vec::new());
        let failure: Mutex<Option<anyhow::Error>> = Mutex::new(None);
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        let Some(package) = packages.get(i) else { return };
                        match self.publish(package, at) {
                            Ok(stanza) => {
                                if let Ok(mut stanzas) = stanzas.lock() {
                                    stanzas.push((i, stanza));
                                }
                            }
                            Err(error) => {
                                if let Ok(mut slot) = failure.lock() {
                                    slot.get_or_insert(error);
                                }
                                return;
                            }
                        }
                    }
                });
            }
        });
        if let Ok(Some(error)) = failure.into_inner() {
            return Err(error);
        }
        let mut stanzas = stanzas.into_inner().unwrap_or_default();
        stanzas.sort();
        let index: String = stanzas.into_iter().map(|(_, stanza)| stanza).collect();
        file::write(&at.join("Packages"), &index)?;
        let release = format!(
            "Suite: {suite}\nCodename: {suite}\nDate: Thu, 01 Jan 1970 00:00:00 UTC\nSHA256:\n {} {} Packages\n",
            Digest::of(index.as_bytes()),
            index.len()
        );
        file::write(&at.join("Release"), release)
    }

    fn publish(&self, package: &Package, at: &Path) -> Result<String> {
        let deb = self.deb(package);
        let (digest, _) = Digest::of_file(&deb)?;
        if digest != package.sha256 {
            let _ = fs::remove_file(&deb);
            return Err(Failure::new(
                Fault::Input,
                format!("the cached file of package {} {} is damaged (removed now)", package.name, package.version),
            )
            .remedy("run the build again: it is fetched anew")
            .into());
        }
        file::touch(&deb)?;
        let name = format!("{}.deb", package.sha256);
        fs::hard_link(&deb, at.join(&name)).with_context(|| format!("failed to link {}", deb.display()))?;
        let control = self.control(package, &deb)?;
        Ok(format!(
            "{}\nFilename: ./{name}\nSize: {}\nSHA256: {}\n\n",
            control.trim_end(),
            package.size,
            package.sha256
        ))
    }

    fn control(&self, package: &Package, deb: &Path) -> Result<String> {
        let path = self.root.join(format!("{}.control", package.sha256));
        // An empty one is what a disk that was full, or a plug that was pulled, left of a text that was not flushed.
        if let Some(text) = fs::read_to_string(&path).ok().filter(|text| !text.trim().is_empty()) {
            file::touch(&path)?;
            return Ok(text);
        }
        let text = Cmd::new(Tool::DpkgDeb).arg("--field").arg(deb).output_text()?;
        file::write_atomic(&path, text.as_bytes())?;
        Ok(text)
    }
}

fn download(agent: &ureq::Agent, url: &str, to: &Path, package: &Package) -> Result<()> {
    let (digest, length) = super::network::download(agent, url, to, package.size)?;
    if digest != package.sha256 {
        let words = format!(
            "{url} is not the package that was locked: {length} bytes of {}, digest {digest}, not {}",
            package.size, package.sha256
        );
        return Err(Failure::new(Fault::Input, words).into());
    }
    Ok(())
}
