//! Harbor's bundle as it lies in the image: where, and which version.

use std::path::Path;

use contract::harbor::{self, Baked, Defaults, Record, SCHEMA, Version, broken};
use contract::schema::NodeConfig;
use contract::strict::Mistake;
use serde::de::DeserializeOwned;

use crate::host::{Host, journal};
use crate::trouble::Trouble;

/// The bundle's files, without its container images.
pub(crate) const DIRECTORY: &str = "/usr/share/habuild/bundle";
/// What the bake found out about the bundle.
pub(crate) const FACTS: &str = "/usr/share/habuild/bundle.json";

/// What the bake wrote into the image at `path`, about a `what`.
///
/// # Errors
/// The image was baked without one, or by another version of habuild.
pub(crate) fn baked<T: DeserializeOwned>(
    host: &Host,
    path: &str,
    what: &str,
    schema: impl Fn(&T) -> u32,
) -> Result<T, Trouble> {
    let content = host.read(Path::new(path)).map_err(|error| {
        Trouble::lasting(format!("this image holds no {what}: {path}: {error}"))
            .hint("bake it with harbor.bundle set and the layer harbor")
    })?;
    let record: T = serde_json::from_slice(&content.bytes)
        .map_err(|error| Trouble::lasting(format!("{path}: {error}")).hint("bake the image again"))?;
    match schema(&record) {
        SCHEMA => Ok(record),
        other => {
            let message = format!("{path}: schema {other} is not known to this version of habuild");
            Err(Trouble::lasting(message).hint("bake the image again"))
        }
    }
}

/// What the image says of its bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bundle {
    pub(crate) version: Version,
    /// The image that renders the configuration, from 1.8 on.
    pub(crate) prepare: Option<String>,
    /// The container images in Docker's store, by name and tag.
    pub(crate) images: Vec<String>,
    /// The image's defaults for Harbor's own settings.
    pub(crate) settings: Defaults,
}

impl Bundle {
    /// Reads what the image says about its bundle.
    ///
    /// # Errors
    /// The image has no bundle, or is of another version of habuild.
    pub(crate) fn find(host: &Host) -> Result<Self, Trouble> {
        let record: Record = baked(host, FACTS, "Harbor bundle", |record: &Record| record.schema)?;
        let prepare = record.images.iter().find(|image| image.starts_with("goharbor/prepare:")).cloned();
        Ok(Self { version: record.version, prepare, images: record.images, settings: record.settings })
    }

    /// What this image cannot do for a node config, as far as its secrets are known: all of it goes to the journal.
    ///
    /// # Errors
    /// The first of it.
    pub(crate) fn fits(
        &self,
        host: &Host,
        config: &NodeConfig,
        secret: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Trouble> {
        let file = |path: &str| Self::file(host, path);
        let Self { version, images, settings, .. } = self;
        let baked = Baked { version, images, of_bundle: None, settings, file: &file };
        let found = harbor::misfits(config, &baked, secret);
        for mistake in found.iter().skip(1) {
            journal::say(&mistake.to_string());
        }
        found.into_iter().next().map_or(Ok(()), |first| Err(first.into()))
    }

    /// A text file of the bundle, by its path there.
    ///
    /// # Errors
    /// It is not there, or no text.
    pub(crate) fn file(host: &Host, path: &str) -> Result<String, Mistake> {
        let content = host.read(Path::new(&format!("{DIRECTORY}/{path}")));
        let content = content.map_err(|error| broken(path, &error.to_string()))?;
        String::from_utf8(content.bytes).map_err(|_| broken(path, "is not UTF-8"))
    }
}
