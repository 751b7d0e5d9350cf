//! A layer with everything resolved, and its key.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lock::Package;
use crate::spec::image::Base;
use crate::sys::digest::Digest;

/// A layer that is ready to be baked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedLayer {
    /// Name.
    pub name: String,
    /// SHA-256 over [`Self::inputs`]: equal key, interchangeable layer.
    pub key: Digest,
    /// Everything that can change the layer, one input a line.
    pub inputs: String,
    /// The names that were asked for (apt marks the others as automatic).
    pub request: Vec<String>,
    /// What to install, sorted.
    pub packages: Vec<Package>,
    /// What else to do, in order.
    pub steps: Vec<Step>,
}

/// A ready action: no name is left to look up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Step {
    /// A file of the image.
    File(PlannedFile),
    /// A file to be fetched.
    Fetch {
        /// An https URL.
        url: String,
        /// What it must hash to.
        sha256: Digest,
        /// Where it goes.
        to: String,
        /// Permission bits.
        mode: u32,
    },
    /// A command to run in the sandbox.
    Run(Vec<String>),
    /// A unit to enable.
    Enable(String),
    /// Units to mask.
    Mask(Vec<String>),
    /// A system user.
    User {
        /// User name.
        name: String,
        /// User and group id.
        id: u32,
        /// Home directory.
        home: String,
        /// Login shell.
        shell: String,
    },
    /// A directory.
    Directory {
        /// Where.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Where.
        path: String,
        /// What it points to.
        target: String,
    },
    /// Paths to remove.
    Remove(Vec<String>),
    /// The Harbor bundle, to be unpacked.
    Bundle(PlannedBundle),
}

/// A Harbor bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedBundle {
    /// What it must hash to.
    pub sha256: Digest,
    /// Where it is.
    pub from: BundleSource,
}

/// Where a bundle is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum BundleSource {
    /// A file on this host, by its absolute path.
    File(PathBuf),
    /// An https URL.
    Url(String),
}

/// A file of the image and where its content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFile {
    /// Where it goes.
    pub to: String,
    /// Permission bits.
    pub mode: u32,
    /// Its content.
    pub source: Source,
}

/// The content of a planned file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Source {
    /// A file on this host, which must still have this digest when it is copied.
    File {
        /// Absolute path.
        path: PathBuf,
        /// Its digest when it was planned.
        digest: Digest,
        /// Its length in bytes when it was planned.
        length: u64,
    },
    /// A rendered text.
    Text(String),
}

/// What [`PlannedLayer::freeze`] takes.
#[derive(Debug)]
pub struct Frozen<'a> {
    /// Name.
    pub name: &'a str,
    /// Key of the layer below.
    pub parent: Option<Digest>,
    /// The image's `[base]`.
    pub base: &'a Base,
    /// The lock's epoch.
    pub epoch: i64,
    /// The host's bootstrapping tool and its version, for a layer that it makes.
    pub tool: Option<&'a str>,
    /// The names that were asked for.
    pub request: &'a [String],
    /// What they came to.
    pub packages: &'a [Package],
    /// Ready actions.
    pub steps: Vec<Step>,
}

impl PlannedLayer {
    /// Writes the inputs down and hashes them.
    #[must_use]
    pub fn freeze(frozen: Frozen<'_>) -> Self {
        let Frozen { name, parent, base, epoch, tool, request, packages, steps } = frozen;
        let mut lines = vec![
            format!("layer {name}"),
            format!("builder {}", env!("HABUILD_BAKE_ID")),
            format!("store {}", crate::plan::layer::STORE_FORMAT),
            format!("base {} {} {}", base.distribution, base.release, base.architecture),
            format!("epoch {epoch}"),
        ];
        lines.extend(tool.map(|tool| format!("tool {tool}")));
        lines.extend(parent.map(|parent| format!("parent {parent}")));
        lines.push(format!("request {}", request.join(" ")));
        for package in packages {
            lines.push(format!(
                "package {} {} {} {}",
                package.name, package.version, package.architecture, package.sha256
            ));
        }
        lines.extend(steps.iter().map(Step::line));
        let mut inputs = lines.join("\n");
        inputs.push('\n');
        Self {
            name: name.into(),
            key: Digest::of(inputs.as_bytes()),
            inputs,
            request: request.into(),
            packages: packages.into(),
            steps,
        }
    }
}

/// The format version of the layer store (`bake::store` writes it); an input of every key.
pub const STORE_FORMAT: u32 = 1;

impl Step {
    /// The step as an input: everything that decides bits and nothing else (where a file lies on this host does not).
    fn line(&self) -> String {
        match self {
            Self::File(PlannedFile { to, mode, source }) => {
                format!("file {to} {mode:04o} {}", super::digest_of(source))
            }
            Self::Fetch { sha256, to, mode, url: _ } => format!("file {to} {mode:04o} {sha256}"),
            Self::Run(command) => format!("run {command:?}"),
            Self::Enable(unit) => format!("enable {unit}"),
            Self::Mask(units) => format!("mask {}", units.join(" ")),
            Self::User { name, id, home, shell } => format!("user {name} {id} {home} {shell}"),
            Self::Directory { path, mode } => format!("directory {path} {mode:04o}"),
            Self::Link { path, target } => format!("link {path} {target}"),
            Self::Remove(paths) => format!("remove {}", paths.join(" ")),
            Self::Bundle(bundle) => format!("bundle {}", bundle.sha256),
        }
    }
}
