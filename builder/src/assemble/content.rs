//! What a file system is made of: trees, mounted upon one another, and what no tree can hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::bake::docker::marks::Mark;

/// What a file system is made of.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Where in it, from `/` on, the content of which directory lies; one may be mounted upon a directory of another.
    pub trees: BTreeMap<PathBuf, PathBuf>,
    /// What no tree can hold; paths begin with `/`.
    pub marks: Vec<Mark>,
}

impl Content {
    /// The content of one directory.
    pub(crate) fn of(tree: &Path) -> Self {
        Self { trees: BTreeMap::from([("/".into(), tree.into())]), marks: Vec::new() }
    }

    /// Mounts the content of `from` upon the directory `at`.
    pub(crate) fn add(&mut self, at: &Path, from: &Path) {
        self.trees.insert(at.into(), from.into());
    }

    /// Where the source of `path` would lie.
    pub(crate) fn source_of(&self, path: &Path) -> Option<PathBuf> {
        let inside = |(at, from): (&PathBuf, &PathBuf)| Some(from.join(path.strip_prefix(at).ok()?));
        self.trees.iter().rev().find_map(inside)
    }
}
