//! Where a release's packages come from: mirrors, suites, components, keys.
//!
//! No host of an archive stands in this repository: without `base.mirror`, the bootstrapping tool (debootstrap) is
//! asked for its own default.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::report::{Failure, Fault};
use crate::spec::image::Base;
use crate::spec::names::Distribution;

/// An archive as apt sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The mirror, without a final slash.
    pub mirror: String,
    /// The archive of security updates where it is one of its own (Debian), else `None`.
    pub security: Option<String>,
    /// The key ring that its Release files are signed with.
    pub keyring: PathBuf,
    /// Lines for apt's `sources.list`.
    pub sources: String,
}

/// The archive of `base`; key rings are files in `layers/base/keys/` below the project's `root`.
pub fn of(base: &Base, root: &Path) -> Result<Archive> {
    let mirror = match &base.mirror {
        Some(mirror) => mirror.trim_end_matches('/').to_owned(),
        None => default_mirror(base.distribution)?,
    };
    let keyring = root.join(format!("layers/base/keys/{}.gpg", base.distribution));
    let keyring = std::path::absolute(&keyring).unwrap_or(keyring);
    if !keyring.is_file() {
        return Err(Failure::new(Fault::Usage, format!("there is no key ring {}", keyring.display())).into());
    }
    let (security, components) = match base.distribution {
        // The archive's own pocket holds the security updates too.
        Distribution::Ubuntu => (None, "main universe"),
        // Debian keeps them beside the archive: `…/debian` and `…/debian-security`.
        Distribution::Debian => (Some(format!("{mirror}-security")), "main"),
    };
    let release = &base.release;
    // The key ring is no option here: apt splits a line at blanks, which the project's path may hold.
    let option = format!("[arch={}]", base.architecture);
    let mut sources = String::new();
    for suite in [release.clone(), format!("{release}-updates")] {
        sources.push_str(&format!("deb {option} {mirror} {suite} {components}\n"));
    }
    let updates = security.as_deref().unwrap_or(&mirror);
    sources.push_str(&format!("deb {option} {updates} {release}-security {components}\n"));
    Ok(Archive { mirror, security, keyring, sources })
}

/// The default of debootstrap's scripts, read from the tool that is installed.
fn default_mirror(distribution: Distribution) -> Result<String> {
    // Ubuntu's releases share the script of their oldest one; Debian's default stands in the program itself.
    let (file, before) = match distribution {
        Distribution::Ubuntu => ("/usr/share/debootstrap/scripts/gutsy", "default_mirror "),
        Distribution::Debian => ("/usr/sbin/debootstrap", "DEF_MIRROR="),
    };
    let text = fs::read_to_string(file).map_err(|error| {
        Failure::new(Fault::Environment, format!("failed to read {file}"))
            .because(error)
            .remedy("install package debootstrap: apt-get install debootstrap; or set base.mirror")
    })?;
    mirror_in(&text, before).ok_or_else(|| {
        Failure::new(Fault::Environment, format!("{file} names no default mirror")).remedy("set base.mirror").into()
    })
}

/// The URL after `before` that is meant for amd64 (not the archive of old releases, nor the one of other ports).
fn mirror_in(text: &str, before: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let url = line.trim().strip_prefix(before)?.trim_matches('"');
        let usable = url.starts_with("http") && !url.contains("old-releases") && !url.contains("ports");
        usable.then(|| url.trim_end_matches('/').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn reads_the_default_from_the_tool() {
        let script = "case $ARCH in\n amd64)\n\tdefault_mirror http://old-releases.example/ubuntu\n\tdefault_mirror http://a.example/ubuntu\n";
        assert_eq!(mirror_in(script, "default_mirror "), Some("http://a.example/ubuntu".into()));
        assert_eq!(
            mirror_in("DEF_MIRROR=\"http://d.example/debian/\"\n", "DEF_MIRROR="),
            Some("http://d.example/debian".into())
        );
        assert_eq!(mirror_in("", "DEF_MIRROR="), None);
    }
}
