//! What is wrong with one value, before anyone knows where it stands; and the search for what was meant.

use std::fmt;

/// Why a value is refused and what to write instead. A problem adds the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// A lower-case fragment without a final period.
    pub message: String,
    /// What to do, where it is known.
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake that its message explains.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the name that was probably meant; without one, all of them.
    #[must_use]
    pub fn did_you_mean(self, given: &str, known: &[&str]) -> Self {
        match self.perhaps(given, known.iter().copied()) {
            Self { message, hint: None } if !known.is_empty() => {
                Self::new(message).hint(format!("known: {}", known.join(", ")))
            }
            mistake => mistake,
        }
    }

    /// Adds the name that was probably meant, if there is one.
    #[must_use]
    pub fn perhaps<'a>(self, given: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(given, known) {
            Some(name) => self.hint(format!("did you mean {name:?}?")),
            None => self,
        }
    }

    /// Something that the design has and this version cannot do yet.
    pub fn not_in_this_version(what: impl fmt::Display) -> Self {
        Self::new(format!("{what}: not in this version"))
    }

    /// A name that is none of `known`: with the one that was probably meant, else with all of them.
    pub fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        Self::new(format!("unknown {what} {}", quoted(name))).did_you_mean(name, &known)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for Mistake {}

impl From<&str> for Mistake {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for Mistake {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

/// A word of a text that may hold secrets, as messages may repeat it: short, and of harmless characters. Anything else
/// may be a secret that slipped into the wrong place (`{password:hunter2}` is a key), so only its length is told.
pub fn unless_secret(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-+".contains(c);
    if !word.is_empty() && word.len() <= 32 && word.chars().all(plain) {
        format!("\"{word}\"")
    } else {
        format!("({} characters)", word.chars().count())
    }
}

/// `text` as it may be shown on one line of a terminal: quoted, control characters escaped, not endless.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start:?}…")
}

/// The one of `known` that `name` was probably meant to be: at most a third of its letters differ.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of the lengths, and no name that is meant is this long.
    if name.len() > 100 {
        return None;
    }
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["base", "ceph", "docker", "firstboot"];
        assert_eq!(nearest("dokcer", known), Some("docker"));
        assert_eq!(nearest("DOCKER", known), Some("docker"));
        assert_eq!(nearest("fristboot", known), Some("firstboot"));
        assert_eq!(nearest("harbor", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }

    #[test]
    fn an_unknown_name_comes_with_what_was_meant_or_with_all_names() {
        let say = |name| Mistake::unknown("layer", name, ["base", "docker"]).to_string();
        assert_eq!(say("dokcer"), r#"unknown layer "dokcer" (did you mean "docker"?)"#);
        assert_eq!(say("harbor"), r#"unknown layer "harbor" (known: base, docker)"#);
        assert_eq!(say("\u{1b}[31m"), r#"unknown layer "\u{1b}[31m" (known: base, docker)"#);
        assert!(say(&"x".repeat(10_000)).len() < 200);
    }

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
            assert_eq!(nearest(given, known), expected, "{given}");
        }
    }

    #[test]
    fn words_that_may_be_secret_are_not_repeated() {
        assert_eq!(unless_secret("mysqll"), "\"mysqll\"");
        assert_eq!(unless_secret("password:hunter2"), "(16 characters)");
        assert_eq!(unless_secret(&"a".repeat(40)), "(40 characters)");
        assert_eq!(unless_secret("a\u{1b}[2J"), "(5 characters)");
    }
}
