//! Harbor's bundle as it lies in the image: where, and which version.

use std::path::Path;

use serde::Deserialize;

use crate::host::Host;
use crate::trouble::Trouble;

/// The bundle's files, without its container images.
pub(crate) const DIRECTORY: &str = "/usr/share/habuild/bundle";
/// What the bake found out about the bundle.
pub(crate) const FACTS: &str = "/usr/share/habuild/bundle.json";

/// What the bake found out about the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bundle {
    schema: u32,
    /// `vX.Y.Z`, with a suffix if the bundle's own has one.
    pub(crate) version: String,
    /// How this version is configured.
    pub(crate) generation: Generation,
    /// The container images in Docker's store.
    #[serde(default)]
    pub(crate) images: Vec<String>,
}

/// How a version of Harbor is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Generation {
    /// 1.1 to 1.7: `harbor.cfg` and templates.
    Cfg,
    /// 1.8 and later: `harbor.yml` and the bundle's own `prepare`.
    Yml,
}

impl Bundle {
    /// Reads what the image says about its bundle.
    ///
    /// # Errors
    /// The image has no bundle, or is of another version of habuild.
    pub(crate) fn find(host: &Host) -> Result<Self, Trouble> {
        let content = host.read(Path::new(FACTS)).map_err(|error| {
            Trouble::lasting(format!("this image holds no Harbor bundle: {FACTS}: {error}"))
                .hint("bake it with harbor.bundle set and the layer harbor")
        })?;
        let bundle: Self = serde_json::from_slice(&content.bytes)
            .map_err(|error| Trouble::lasting(format!("{FACTS}: {error}")).hint("bake the image again"))?;
        if bundle.schema != 1 {
            let message = format!("{FACTS}: schema {} is not known to this version of habuild", bundle.schema);
            return Err(Trouble::lasting(message).hint("bake the image again"));
        }
        Ok(bundle)
    }

    /// Major, minor and patch.
    pub(crate) fn numbers(&self) -> (u16, u16, u16) {
        let plain = self.version.trim_start_matches('v').split('-').next().unwrap_or_default();
        let mut parts = plain.split('.').map(|part| part.parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next())
    }

    /// A file of the bundle.
    pub(crate) fn file(&self, host: &Host, path: &str) -> Result<String, Trouble> {
        let path = format!("{DIRECTORY}/{path}");
        let content = host.read(Path::new(&path)).map_err(|error| broken(&path, &error.to_string()))?;
        String::from_utf8(content.bytes).map_err(|_| broken(&path, "is not UTF-8"))
    }
}

/// A file of the bundle that is not as this version of Harbor has it.
pub(crate) fn broken(path: &str, what: &str) -> Trouble {
    Trouble::lasting(format!("{path}: {what}")).hint("the bundle is damaged or of an unknown kind: bake the image anew")
}
