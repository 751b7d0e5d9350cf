//! What is wrong with a text, and where.
//!
//! Invariant: no problem repeats a value that may be a secret, and none holds a control character, so that it can go
//! to a console as it is.

use std::collections::BTreeMap;
use std::fmt;

use super::Mistake;

/// A place in the text. `line` 0 stands for the text as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Where each key was given, by dotted key path.
pub type Places = BTreeMap<String, Place>;

/// One mistake, or one thing worth knowing.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line, from 1 (0: the text as a whole).
    pub line: usize,
    /// Column in characters, from 1 (0: the text as a whole).
    pub column: usize,
    /// Dotted key path such as `storage.cephfs.monitors[0]`; empty where no key is concerned.
    pub key: String,
    /// A lower-case fragment without a final period.
    pub message: String,
    /// What to do, where it is known.
    pub hint: Option<String>,
}

impl Problem {
    /// A mistake at its place; control characters are replaced.
    pub fn new(place: Place, key: &str, mistake: impl Into<Mistake>) -> Self {
        let Mistake { message, hint } = mistake.into();
        let Place { line, column } = place;
        Self { line, column, key: printable(key), message: printable(&message), hint: hint.as_deref().map(printable) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_a_console() {
        let problem = Problem::new(Place { line: 1, column: 2 }, "a\u{1b}b", "x\ny");
        assert_eq!(problem.to_string(), "1:2: a\u{fffd}b: x\u{fffd}y");
    }
}
