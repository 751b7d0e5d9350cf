//! A layer definition, `layers/NAME/layer.toml`: packages and a closed set of actions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::names::Selector;
use crate::sys::digest::Digest;

/// A layer definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// The directory's name.
    pub name: String,
    /// The directory that holds `layer.toml`, `files/` and `templates/`.
    pub directory: PathBuf,
    /// One sentence for people.
    pub description: String,
    /// Packages by release; the narrowest selector wins (`debian:bookworm` over `debian` over `default`).
    pub packages: BTreeMap<Selector, Vec<String>>,
    /// What else to do, in order, after the packages are installed.
    pub actions: Vec<ActionSpec>,
}

/// One `[[action]]` with the releases it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionSpec {
    /// `when = ["debian:bookworm", "ubuntu"]`; empty: always.
    pub when: Vec<Selector>,
    /// What to do.
    pub action: Action,
}

/// The closed set of things a layer can do. Paths in the image are absolute; sources are relative to the layer.
///
/// Those here have a source that the plan resolves; what is ready as it is written is an [`Operation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Copies a file, or a directory's content; an executable source becomes 0755, any other 0644, unless `mode` says.
    Copy {
        /// What is copied.
        from: CopyFrom,
        /// Destination in the image.
        to: String,
        /// Permission bits.
        mode: Option<u32>,
    },
    /// Renders a tera template with the image's own facts (`image`, `base`, `layer`).
    Render {
        /// Template below the layer's directory.
        from: String,
        /// Destination in the image.
        to: String,
        /// Permission bits, 0644 unless given.
        mode: Option<u32>,
    },
    /// Fetches a file pinned by its digest.
    Fetch {
        /// An https URL.
        url: String,
        /// What it must hash to.
        sha256: Digest,
        /// Destination in the image.
        to: String,
        /// Permission bits, 0644 unless given.
        mode: Option<u32>,
    },
    /// Unpacks the image's Harbor bundle and puts its container images into Docker's store.
    Bundle {},
    /// Anything that needs no source.
    Operation(Operation),
}

/// What a copy copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFrom {
    /// A file below the layer's directory.
    File(String),
    /// The content of a directory below the layer's directory.
    Directory(String),
    /// What lies in no layer's directory: a program that the builder provides.
    Artifact(Artifact),
}

/// A program of this project's, for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Artifact {
    /// `habuild-firstboot`, the agent.
    Firstboot,
    /// `habuild-init`, process 1 of the initrd.
    Init,
}

/// An action that is ready as it is written: it goes through the plan unchanged, and its text there is its key's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Operation {
    /// Runs a command in the sandbox: no network, no services.
    Run {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// Enables a systemd unit.
    Enable {
        /// Unit name.
        unit: String,
    },
    /// Masks systemd units.
    Mask {
        /// Unit names.
        units: Vec<String>,
    },
    /// Adds a system user with a group of the same name.
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
    /// Makes a directory.
    Directory {
        /// Where.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// Makes a symbolic link at `path` (replacing what is there).
    Link {
        /// Where.
        path: String,
        /// What it points to.
        target: String,
    },
    /// Removes files or directories that are there.
    Remove {
        /// Absolute paths.
        paths: Vec<String>,
    },
}
