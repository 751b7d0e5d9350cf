//! A text's tree: every value with its place, whatever the format was.
//!
//! Invariant: whoever makes one bounds its depth, so that walking and dropping it cannot overflow the stack.

use super::Place;

/// A value and where it begins.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

impl Node {
    /// The entry of a map.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Whether it stands for nothing: YAML's null.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, kind: Kind::Plain } if matches!(text.as_str(), "" | "~" | "null"))
    }
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Value {
    /// A scalar.
    Scalar {
        /// As written; a whole number of TOML in decimal digits.
        text: String,
        /// What the format says of it.
        kind: Kind,
    },
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the text, duplicates included.
    Map(Vec<Entry>),
}

/// What a format says of a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: a YAML scalar without quotes, which is what its reader takes it for.
    Plain,
    /// Text: in quotes, or a block.
    Quoted,
    /// A whole number.
    Integer,
    /// A number with a fraction.
    Fraction,
    /// `true` or `false`.
    Boolean,
    /// A date or a time.
    Date,
}

/// One entry of a map.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where the key stands.
    pub place: Place,
    /// The key.
    pub key: String,
    /// The value.
    pub node: Node,
}
