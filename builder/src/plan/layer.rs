//! A layer with everything resolved, and its key.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use contract::harbor::{Defaults, HarborOption};
use serde::{Deserialize, Serialize};

use super::lock::Package;
use crate::spec::image::{Base, Chosen};
use crate::spec::layer::Operation;
use crate::sys::digest::Digest;

/// A layer that is ready to be baked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedLayer {
    /// Its directory in `layers/`.
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
    /// The Harbor bundle, to be unpacked.
    Bundle(PlannedBundle),
    /// Anything that needs no source.
    Operation(Operation),
}

/// A Harbor bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedBundle {
    /// What it must hash to.
    pub sha256: Digest,
    /// Where it is.
    pub from: BundleSource,
    /// Which of its container images are baked.
    pub images: Chosen,
    /// Defaults for Harbor's own settings.
    pub settings: Defaults,
}

impl PlannedBundle {
    /// One of which everything is baked that a node can run.
    #[must_use]
    pub fn whole(sha256: Digest, from: BundleSource) -> Self {
        Self { sha256, from, images: Chosen::default(), settings: Defaults::default() }
    }

    /// Its digest, what is left out, and what is set.
    fn line(&self) -> String {
        let mut words = vec![self.sha256.to_string()];
        if let Some(options) = &self.images.options {
            words.push("options".into());
            words.extend(HarborOption::ALL.iter().filter(|o| options.contains(o)).map(|o| o.name().to_owned()));
        }
        if !self.images.bundled {
            words.push("external".into());
        }
        if !self.settings.is_empty() {
            words.extend(["settings".into(), self.settings.line()]);
        }
        line("bundle", words)
    }
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
    /// A file to be fetched.
    Url {
        /// An https URL.
        url: String,
        /// What it must hash to.
        sha256: Digest,
    },
}

impl Source {
    /// The content's digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Self::File { digest, .. } => *digest,
            Self::Text(text) => Digest::of(text.as_bytes()),
            Self::Url { sha256, .. } => *sha256,
        }
    }
}

/// What [`PlannedLayer::freeze`] takes.
#[derive(Debug)]
pub struct Frozen<'a> {
    /// See [`PlannedLayer::name`].
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
    pub fn freeze(frozen: Frozen<'_>) -> Result<Self> {
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
        for step in &steps {
            lines.push(step.line()?);
        }
        let mut inputs = lines.join("\n");
        inputs.push('\n');
        Ok(Self {
            name: name.into(),
            key: Digest::of(inputs.as_bytes()),
            inputs,
            request: request.into(),
            packages: packages.into(),
            steps,
        })
    }
}

/// The format version of the layer store (`bake::store` writes it); an input of every key.
pub const STORE_FORMAT: u32 = 1;

impl Step {
    /// The step as an input: everything that decides bits and nothing else (where a file lies on this host does not).
    fn line(&self) -> Result<String> {
        Ok(match self {
            Self::File(PlannedFile { to, mode, source }) => {
                line("file", [to, &format!("{mode:04o}"), &source.digest().to_string()])
            }
            Self::Bundle(bundle) => bundle.line(),
            // JSON escapes newlines and quotes, so that it is one line and no other operation's.
            Self::Operation(operation) => {
                format!(
                    "operation {}",
                    serde_json::to_string(operation).context("an operation that cannot be written")?
                )
            }
        })
    }
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
