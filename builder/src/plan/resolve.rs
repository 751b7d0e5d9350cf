//! Asks apt's own solver, against the signed index, what each layer's packages come to.
//!
//! Apt runs in a directory of its own with an empty package database, so that nothing of this host takes part. Each
//! layer is solved on top of the ones below it: what those install is written into the database as installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::archive::Archive;
use super::control::{self, Stanza};
use super::lock::{Lock, LockedLayer, Package, Request};
use crate::report::{FREE_SPACE, Failure, Fault};
use crate::spec::image::Base;
use crate::sys::cmd::{Cmd, Tool};
use crate::sys::digest::Digest;
use crate::sys::file;

/// What an index and its caches take at most, in bytes; a release's with all its components is about 250 MiB.
const INDEX_SPACE: u64 = 400 << 20;

/// Apt with a root of its own.
#[derive(Debug)]
pub(crate) struct Index<'a> {
    root: PathBuf,
    archive: &'a Archive,
    base: &'a Base,
}

impl<'a> Index<'a> {
    /// An index in the directory `root`, which is kept from build to build so that only changes are fetched.
    pub(crate) fn open(root: &Path, archive: &'a Archive, base: &'a Base) -> Result<Self> {
        let index = Self { root: root.into(), archive, base };
        // With less, apt waits for ever instead of failing.
        file::require_space(root, INDEX_SPACE)?;
        for directory in [
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/sources.list.d",
            "etc/trusted.gpg.d",
            "lists/partial",
            "cache/archives/partial",
        ] {
            file::make_directory(&root.join(directory))?;
        }
        // This apt has no other sources and no other keys.
        file::write(&root.join("etc/trusted.gpg.d/archive.gpg"), file::read(&archive.keyring)?)?;
        let at = |name: &str| root.join(name).display().to_string();
        let configuration = [
            ("Dir", at("")),
            ("Dir::Etc", at("etc")),
            ("Dir::State", at("")),
            ("Dir::State::lists", at("lists")),
            ("Dir::State::status", at("status")),
            ("Dir::State::extended_states", at("extended_states")),
            ("Dir::Cache", at("cache")),
            ("Dir::Log", at("log")),
            ("APT::Architecture", base.architecture.clone()),
            ("APT::Architectures", base.architecture.clone()),
            ("APT::Install-Recommends", "false".into()),
            ("APT::Sandbox::User", String::new()),
            ("Acquire::Languages", "none".into()),
            ("Acquire::Retries", "2".into()),
            ("Acquire::http::Timeout", "30".into()),
            ("Acquire::https::Timeout", "30".into()),
            ("Debug::NoLocking", "true".into()),
        ];
        let text: String = configuration.iter().map(|(key, value)| format!("{key} \"{value}\";\n")).collect();
        file::write(&root.join("apt.conf"), text)?;
        file::write(&root.join("etc/sources.list"), &archive.sources)?;
        Ok(index)
    }

    /// Fetches the index and gives the newest date of its Release files, in seconds since 1970.
    pub(crate) fn update(&self) -> Result<i64> {
        self.apt(Tool::AptGet)
            .args(["update", "-q", "-o", "APT::Update::Error-Mode=any"])
            .run()
            .map_err(|error| self.unreachable(error))?;
        let mut newest = None;
        for entry in fs::read_dir(self.root.join("lists")).context("failed to list the index")? {
            let path = entry.context("failed to list the index")?.path();
            if path.to_string_lossy().ends_with("Release") {
                let date = control::date_of_release(&file::read_text(&path)?)
                    .with_context(|| format!("{} has no date", path.display()))?;
                newest = newest.max(Some(date));
            }
        }
        newest.context("the index has no Release file")
    }

    /// Whose fault it is that there is no index: only an archive that cannot be reached, or that lacks the release, is
    /// an input that could not be had. A wrong signature is the key ring's or someone's between us and the archive.
    fn unreachable(&self, error: anyhow::Error) -> anyhow::Error {
        let words = format!("{error:#}");
        let says = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
        let Base { distribution, release, .. } = self.base;
        let mirror = &self.archive.mirror;
        let failure = if says(&["NO_PUBKEY", "is not signed", "BADSIG", "EXPKEYSIG", "signatures couldn't be verified"])
        {
            Failure::new(Fault::Input, format!("the index of {mirror} is not signed by a key of {}", self.keyring()))
                .remedy("look at base.mirror; the keys of the distribution's own archive come with habuild")
        } else if says(&["No space left on device"]) {
            Failure::new(Fault::Environment, format!("the disk is full under {}", self.root.display()))
                .remedy(FREE_SPACE)
        } else if says(&["Release' does not have", "does not have a Release file"]) || refusals(&words).contains(&404) {
            Failure::new(Fault::Input, format!("the archive {mirror} has no {distribution} {release}"))
                .remedy("look at base.release and base.mirror")
        } else if says(&["Failed to fetch", "Could not connect", "Could not resolve", "Temporary failure", "timed out"])
        {
            Failure::new(Fault::Input, format!("the archive {mirror} does not answer as it should"))
                .remedy("try again, name another with --mirror, or build --offline with a lock and a full cache")
        } else {
            Failure::new(Fault::Step, format!("apt could not read the index of {mirror}"))
        };
        failure.because(error).into()
    }

    fn keyring(&self) -> String {
        self.archive.keyring.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Solves every request, each on top of the layers below it. Packages of `preferred` keep its versions, unless the
    /// archive has them no more, or a layer's packages do not go together with them.
    pub(crate) fn resolve(&self, requests: &[Request], epoch: i64, preferred: Option<&Lock>) -> Result<Lock> {
        let mut lock = Lock::new(self.base, epoch);
        let mut stanzas: BTreeMap<String, Vec<Stanza>> = BTreeMap::new();
        for request in requests {
            let below: Vec<&Stanza> = request.above.iter().filter_map(|name| stanzas.get(name)).flatten().collect();
            let status: String = below.iter().map(|stanza| stanza.installed()).collect();
            file::write(&self.root.join("status"), status)?;
            self.prefer(preferred)?;
            let found = match self.resolve_one(request) {
                Err(_) if preferred.is_some() => {
                    self.prefer(None)?;
                    self.resolve_one(request)?
                }
                found => found?,
            };
            let mut packages = found.iter().map(|stanza| self.package(stanza)).collect::<Result<Vec<_>>>()?;
            packages.sort();
            lock.layers.insert(
                request.layer.clone(),
                LockedLayer { above: request.above.clone(), request: request.packages.clone(), packages },
            );
            stanzas.insert(request.layer.clone(), found);
        }
        Ok(lock)
    }

    /// Tells the solver which versions to take if the archive has them (`apt_preferences(5)`: above 990 a pin beats a
    /// newer version).
    fn prefer(&self, lock: Option<&Lock>) -> Result<()> {
        let versions = lock.map(Lock::versions).unwrap_or_default();
        let pins = versions
            .iter()
            .map(|(name, version)| format!("Package: {name}\nPin: version {version}\nPin-Priority: 995\n\n"));
        file::write(&self.root.join("etc/preferences.d/locked"), pins.collect::<String>())
    }

    fn resolve_one(&self, request: &Request) -> Result<Vec<Stanza>> {
        if request.packages.is_empty() {
            return Ok(Vec::new());
        }
        let mut arguments = vec!["install".to_owned(), "--simulate".into(), "-q".into()];
        if request.above.is_empty() {
            arguments.push("?essential".into());
        }
        arguments.extend(request.packages.iter().cloned());
        let simulated =
            self.apt(Tool::AptGet).args(&arguments).output_text().map_err(|error| self.unsolved(request, error))?;
        let wanted = control::simulated_installs(&simulated);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let text = self
            .apt(Tool::AptCache)
            .arg("show")
            .args(wanted.iter().map(|(name, version)| format!("{name}={version}")))
            .output_text()
            .context("apt does not show what it has just chosen")?;
        let mut found: BTreeMap<(String, String), Stanza> = BTreeMap::new();
        for stanza in Stanza::all(&text) {
            if let (Some(name), Some(version)) = (stanza.field("Package"), stanza.field("Version")) {
                // A version that stands in two suites is one package.
                found.entry((name.into(), version.into())).or_insert(stanza);
            }
        }
        wanted
            .into_iter()
            .map(|key| found.remove(&key).with_context(|| format!("the index lacks {} {}", key.0, key.1)))
            .collect()
    }

    /// Apt's refusal in words: a name that does not exist is the spec's mistake.
    fn unsolved(&self, request: &Request, error: anyhow::Error) -> anyhow::Error {
        let words = format!("{error:#}");
        let unknown: Vec<&str> = words
            .lines()
            // The first line begins with the command that failed.
            .filter_map(|line| Some(line.split_once("E: ")?.1.trim()))
            .filter_map(|words| {
                words
                    .strip_prefix("Unable to locate package ")
                    .or_else(|| words.strip_prefix("Package '")?.strip_suffix("' has no installation candidate"))
            })
            .collect();
        let release = format!("{} {}", self.base.distribution, self.base.release);
        if unknown.is_empty() {
            return Failure::new(
                Fault::Usage,
                format!("the packages of layer {} do not go together on {release}", request.layer),
            )
            .because(error)
            .into();
        }
        Failure::new(Fault::Usage, format!("layer {}: {release} has no package {}", request.layer, unknown.join(", ")))
            .remedy(format!("look at [packages] in layers/{}/layer.toml", request.layer))
            .into()
    }

    fn package(&self, stanza: &Stanza) -> Result<Package> {
        let field = |name: &str| {
            stanza.field(name).map(str::to_owned).with_context(|| {
                format!("the index has no {name} for package {}", stanza.field("Package").unwrap_or("?"))
            })
        };
        let sha256 = field("SHA256")?;
        let filename = field("Filename")?;
        Ok(Package {
            name: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture")?,
            sha256: Digest::parse(&sha256).with_context(|| format!("{sha256:?} is no SHA-256"))?,
            size: field("Size")?.parse().context("a size that is no number")?,
            // Debian's security archive keeps its files in a directory of its own.
            security: self.archive.security.is_some() && filename.starts_with("pool/updates/"),
            filename,
        })
    }

    fn apt(&self, tool: Tool) -> Cmd {
        Cmd::new(tool).env("APT_CONFIG", self.root.join("apt.conf")).ends_with_us()
    }
}

/// The HTTP statuses that apt names: `E: Failed to fetch URL  404  Not Found [IP: …]`. Digits in a URL are none.
fn refusals(words: &str) -> Vec<u16> {
    let status = |line: &str| {
        let (_, rest) = line.split_once("Failed to fetch ")?;
        let status = rest.split_whitespace().nth(1)?;
        (status.len() == 3).then(|| status.parse().ok()).flatten()
    };
    words.lines().filter_map(status).collect()
}

#[cfg(test)]
mod tests {
    use super::refusals;

    #[test]
    fn a_status_is_no_part_of_a_url() {
        let gone =
            "E: Failed to fetch http://m/dists/x/InRelease  404  Not Found [IP: 10.0.0.1 80]\nE: Some index files";
        assert_eq!(refusals(gone), [404]);
        let slow = "E: Failed to fetch http://m/404/x  Could not connect to m:80 (10.0.0.1), connection timed out";
        assert!(refusals(slow).is_empty());
        assert_eq!(refusals("W: Failed to fetch http://m:404/x  503  Busy"), [503]);
        assert!(refusals("").is_empty());
    }
}
