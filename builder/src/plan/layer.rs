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
    /// Everything that can change the layer, one input a line, in words that cannot be mistaken for others.
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
            line("layer", [name]),
            line("builder", [env!("HABUILD_BAKE_ID")]),
            line("store", [&STORE_FORMAT.to_string()]),
            line("base", [&base.distribution.to_string(), &base.release, &base.architecture]),
            line("epoch", [&epoch.to_string()]),
        ];
        lines.extend(tool.map(|tool| line("tool", tool.split(' '))));
        lines.extend(parent.map(|parent| line("parent", [&parent.to_string()])));
        lines.push(line("request", request));
        for Package { name, version, architecture, sha256, .. } in packages {
            lines.push(line("package", [name, version, architecture, &sha256.to_string()]));
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
                line("file", [to, &octal(*mode), &super::digest_of(source).to_string()])
            }
            Self::Fetch { sha256, to, mode, url: _ } => line("file", [to, &octal(*mode), &sha256.to_string()]),
            Self::Run(command) => line("run", command),
            Self::Enable(unit) => line("enable", [unit]),
            Self::Mask(units) => line("mask", units),
            Self::User { name, id, home, shell } => line("user", [name, &id.to_string(), home, shell]),
            Self::Directory { path, mode } => line("directory", [path, &octal(*mode)]),
            Self::Link { path, target } => line("link", [path, target]),
            Self::Remove(paths) => line("remove", paths),
            Self::Bundle(bundle) => line("bundle", [&bundle.sha256.to_string()]),
        }
    }
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

/// One input: what it is, and its words. Different words never give the same line: a word that is empty or holds
/// anything but plain characters is quoted as JSON does it, which leaves no newline in it, and a plain one has no quote.
fn line<W: AsRef<str>>(kind: &str, words: impl IntoIterator<Item = W>) -> String {
    let mut line = kind.to_owned();
    for word in words {
        let word = word.as_ref();
        line.push(' ');
        if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
            line.push_str(word);
        } else {
            line.push_str(&serde_json::Value::from(word).to_string());
        }
    }
    line
}
