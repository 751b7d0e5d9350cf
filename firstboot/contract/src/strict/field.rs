//! Values with the paths that lead to them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Node, Place, Value};

/// A value, its dotted key path and where its key stands.
#[derive(Debug, Clone)]
pub struct Field<'t> {
    /// The path from the root, such as `disk.var.size` or `layers[2]`.
    pub key: String,
    /// Where the key stands; of an item, where the item does.
    pub at: Place,
    /// The value.
    pub node: &'t Node,
}

impl<'t> Field<'t> {
    /// The root of a tree.
    #[must_use]
    pub fn root(node: &'t Node) -> Self {
        Self { key: String::new(), at: node.place, node }
    }

    /// The text of a scalar, without a word when it is none: for a second look at a value.
    #[must_use]
    pub fn quietly(&self) -> Option<&'t str> {
        match &self.node.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The entries of one map.
#[derive(Debug)]
pub struct Fields<'t> {
    pub(super) key: String,
    pub(super) at: Place,
    pub(super) entries: BTreeMap<&'t str, Field<'t>>,
    /// Known keys that an unknown one was probably meant to be: told already.
    pub(super) misspelt: BTreeSet<&'static str>,
}

impl<'t> Fields<'t> {
    /// The dotted path of a key in this map.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        join(&self.key, name)
    }

    /// Whether the key was given, right or wrong.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// What was given for the key.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Field<'t>> {
        self.entries.get(name)
    }

    /// Where the map's own key stands.
    #[must_use]
    pub fn at(&self) -> Place {
        self.at
    }
}

/// The path of a key below another.
pub(super) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}
