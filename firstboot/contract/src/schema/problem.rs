//! What is wrong with a node config, and where.
//!
//! Invariant: no problem repeats a value that may be a secret, and none holds a control character, so that it can go
//! to a console as it is.

use std::collections::BTreeMap;
use std::fmt;

/// A place in the text. `line` 0 stands for the text as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Where each key of a node config was given, by dotted key path.
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
    pub(super) fn new(place: Place, key: &str, wrong: impl Into<Wrong>) -> Self {
        let Wrong { message, hint } = wrong.into();
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

/// What is wrong with a value, before it is known where the value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// Something wrong, with nothing to advise.
pub(super) fn wrong(message: impl Into<String>) -> Wrong {
    Wrong { message: message.into(), hint: None }
}

impl Wrong {
    /// Adds what to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the name that was probably meant; without one, all of them.
    pub(super) fn did_you_mean(self, given: &str, known: &[&str]) -> Self {
        match nearest(given, known) {
            Some(name) => self.hint(format!("did you mean {name}?")),
            None => self.hint(format!("known: {}", known.join(", "))),
        }
    }
}

impl From<&str> for Wrong {
    fn from(message: &str) -> Self {
        wrong(message)
    }
}

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        wrong(message)
    }
}

/// The known name that `given` is a slip of, if there is one.
pub(super) fn nearest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    // A long word is no slip of a key, and the distance costs its square.
    if given.len() > 64 {
        return None;
    }
    let lower = given.to_lowercase();
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, name), *name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// A word of the user's as messages may repeat it: short, and of harmless characters. Anything else may be a secret
/// that slipped into the wrong place (`{password:hunter2}` is a key), so only its length is told.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-+".contains(c);
    if !word.is_empty() && word.len() <= 32 && word.chars().all(plain) {
        format!("\"{word}\"")
    } else {
        format!("({} characters)", word.chars().count())
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_only() {
        let known = ["monitors", "path", "mountpoint", "ca"];
        let cases = [
            ("monitor", Some("monitors")),
            ("Path", Some("path")),
            ("mount_point", Some("mountpoint")),
            ("volume", None),
            ("", None),
            ("cb", Some("ca")),
        ];
        for (given, expected) in cases {
            assert_eq!(nearest(given, &known), expected, "{given}");
        }
    }

    #[test]
    fn words_that_may_be_secret_are_not_repeated() {
        assert_eq!(quoted("mysqll"), "\"mysqll\"");
        assert_eq!(quoted("password:hunter2"), "(16 characters)");
        assert_eq!(quoted(&"a".repeat(40)), "(40 characters)");
        assert_eq!(quoted("a\u{1b}[2J"), "(5 characters)");
    }

    #[test]
    fn control_characters_never_reach_a_console() {
        let problem = Problem::new(Place { line: 1, column: 2 }, "a\u{1b}b", "x\ny");
        assert_eq!(problem.to_string(), "1:2: a\u{fffd}b: x\u{fffd}y");
    }
}
