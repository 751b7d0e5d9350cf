//! Harbor's bundle as it lies in the image: where, and which version.

use std::path::Path;

use contract::harbor::{Record, SCHEMA, Version, broken};
use contract::strict::Mistake;

use crate::host::Host;
use crate::trouble::Trouble;

/// The bundle's files, without its container images.
pub(crate) const DIRECTORY: &str = "/usr/share/habuild/bundle";
/// What the bake found out about the bundle.
pub(crate) const FACTS: &str = "/usr/share/habuild/bundle.json";

/// What the image says of its bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bundle {
    pub(crate) version: Version,
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
        let record: Record = serde_json::from_slice(&content.bytes)
            .map_err(|error| Trouble::lasting(format!("{FACTS}: {error}")).hint("bake the image again"))?;
        if record.schema != SCHEMA {
            let message = format!("{FACTS}: schema {} is not known to this version of habuild", record.schema);
            return Err(Trouble::lasting(message).hint("bake the image again"));
        }
        Ok(Self { version: record.version })
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
