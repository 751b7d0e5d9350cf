//! The small words of a spec, parsed once at the edge: sizes, releases, modes, paths.
//!
//! Invariant: a value of these types is well formed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::release;
pub use super::release::Distribution;
use contract::strict::{Mistake, quoted};

/// A size in bytes; written `8GiB`, `512MiB`, `4KiB` or a plain number of bytes. Binary units only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// One mebibyte.
    pub const MIB: Self = Self(1 << 20);
    /// One gibibyte.
    pub const GIB: Self = Self(1 << 30);
    /// One tebibyte.
    pub const TIB: Self = Self(1 << 40);

    /// The units, largest first.
    const UNITS: [(&str, u64); 4] =
        [("TiB", Self::TIB.0), ("GiB", Self::GIB.0), ("MiB", Self::MIB.0), ("KiB", 1 << 10)];
}

impl fmt::Display for ByteSize {
    /// The largest unit that divides it, so that what is written can be read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes)) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let (number, factor) = Self::UNITS
            .iter()
            .find_map(|(unit, bytes)| text.strip_suffix(unit).map(|number| (number, *bytes)))
            .unwrap_or((text, 1));
        // `parse` alone would take a leading `+`.
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Mistake::new(format!("{} is not a size", quoted(text)))
                .hint("write a whole number with KiB, MiB, GiB or TiB, such as \"8GiB\""));
        }
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| Mistake::new(format!("{} is too large for a size", quoted(text))))
    }
}

/// Which releases a line of a layer is for: `default`, `debian`, or `debian:bookworm`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// Every release that no narrower selector names.
    Default,
    /// Every release of a distribution that no narrower selector names.
    Distribution(Distribution),
    /// One release.
    Release(Distribution, String),
}

impl Selector {
    /// Whether this selector covers a release.
    #[must_use]
    pub fn matches(&self, distribution: Distribution, release: &str) -> bool {
        match self {
            Self::Default => true,
            Self::Distribution(own) => *own == distribution,
            Self::Release(own, name) => *own == distribution && name == release,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Distribution(distribution) => write!(f, "{distribution}"),
            Self::Release(distribution, release) => write!(f, "{distribution}:{release}"),
        }
    }
}

impl FromStr for Selector {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        if let Some((distribution, name)) = text.split_once(':') {
            let distribution = distribution.parse()?;
            release::find(distribution, name)?;
            return Ok(Self::Release(distribution, name.to_owned()));
        }
        match text {
            "default" => Ok(Self::Default),
            _ => text.parse().map(Self::Distribution).map_err(|_| {
                // A bare release name is the likeliest slip: `bookworm` for `debian:bookworm`.
                match release::distribution_of(text) {
                    Some(distribution) => Mistake::new(format!("unknown selector {}", quoted(text)))
                        .hint(format!("did you mean \"{distribution}:{text}\"?")),
                    None => Mistake::unknown("selector", text, ["default", "ubuntu", "debian"]),
                }
            }),
        }
    }
}

impl TryFrom<String> for Selector {
    type Error = Mistake;

    fn try_from(text: String) -> Result<Self, Mistake> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

/// Checks the name of an image or a layer: it becomes a directory, a file name and a part of a cache key.
pub fn parse_name(text: &str) -> Result<String, Mistake> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty() || text.len() > 63 || !text.bytes().all(allowed) || text.starts_with('-') || text.ends_with('-')
    {
        return Err(Mistake::new(format!("{} is not a name", quoted(text)))
            .hint("1 to 63 lower-case letters, digits and hyphens, no hyphen at either end"));
    }
    Ok(text.to_owned())
}

/// Parses permission bits such as `0644`: three or four octal digits.
pub fn parse_mode(text: &str) -> Result<u32, Mistake> {
    let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    octal.then(|| u32::from_str_radix(text, 8).ok()).flatten().ok_or_else(|| {
        Mistake::new(format!("{} is not a mode", quoted(text))).hint("three or four octal digits, such as \"0644\"")
    })
}

/// Checks a path in the image: absolute, and with one spelling only.
pub fn parse_absolute_path(text: &str) -> Result<String, Mistake> {
    let Some(below) = text.strip_prefix('/') else {
        return Err(Mistake::new(format!("{} is not an absolute path", quoted(text)))
            .hint("paths in the image start with a slash"));
    };
    if !below.is_empty() {
        clean(below, text)?;
    }
    Ok(text.to_owned())
}

/// Checks a path below a layer's directory: relative, and it cannot climb out.
pub fn parse_relative_path(text: &str) -> Result<String, Mistake> {
    if text.starts_with('/') {
        return Err(Mistake::new(format!("{} is absolute", quoted(text)))
            .hint("sources are named from the layer's directory, such as \"files/motd\""));
    }
    clean(text, text)?;
    Ok(text.to_owned())
}

/// Refuses components that are empty, `.` or `..`, and characters that no path in an image needs.
fn clean(components: &str, whole: &str) -> Result<(), Mistake> {
    if whole.len() > 1000 || whole.chars().any(char::is_control) {
        return Err(Mistake::new(format!("{} is not a path", quoted(whole)))
            .hint("at most 1000 bytes and no control characters"));
    }
    if components.split('/').any(|component| component.len() > 255) {
        return Err(Mistake::new(format!("{} has a component of more than 255 bytes", quoted(whole))));
    }
    match components.split('/').find(|component| matches!(*component, "" | "." | "..")) {
        None => Ok(()),
        Some("") => Err(Mistake::new(format!("{} is not a clean path", quoted(whole)))
            .hint("no doubled slash, and none at the end")),
        Some(dots) => Err(Mistake::new(format!("{} is not a clean path", quoted(whole)))
            .hint(format!("no {dots:?} between the slashes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T: fmt::Debug>(result: Result<T, Mistake>) -> String {
        result.expect_err("this must be refused").to_string()
    }

    #[test]
    fn sizes_read_back_what_they_write() {
        for (text, bytes) in [
            ("8GiB", 8 << 30),
            ("512MiB", 512 << 20),
            ("4KiB", 4096),
            ("2TiB", 2 << 40),
            ("1537", 1537),
            ("0", 0),
            ("1536MiB", 1536 << 20),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!("1024MiB".parse(), Ok(ByteSize::GIB));
    }

    #[test]
    fn other_sizes_are_refused() {
        for text in ["", "GiB", "8GB", "8G", "8 GiB", "-1", "+1", "1.5GiB", "8gib", "0x10", "８GiB"] {
            assert!(said(text.parse::<ByteSize>()).contains("is not a size (write a whole number"), "{text}");
        }
        for text in ["99999999999999999999", "16777216TiB"] {
            assert!(said(text.parse::<ByteSize>()).contains("too large"), "{text}");
        }
    }

    #[test]
    fn selectors_read_back_what_they_write() {
        for text in ["default", "debian", "ubuntu", "debian:bookworm", "ubuntu:xenial"] {
            let selector: Selector = text.parse().expect(text);
            assert_eq!(selector.to_string(), text);
            assert_eq!(serde_json::to_string(&selector).expect(text), format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Selector>(&format!("{text:?}")).expect(text), selector);
        }
    }

    #[test]
    fn a_selector_that_is_none_says_what_was_meant() {
        for (text, expected) in [
            ("bookworm", r#"unknown selector "bookworm" (did you mean "debian:bookworm"?)"#),
            ("debain", r#"unknown selector "debain" (did you mean "debian"?)"#),
            ("debain:bookworm", r#"unknown distribution "debain" (did you mean "debian"?)"#),
            ("debian:bookwrom", r#"unknown release "bookwrom" of debian (did you mean "bookworm"?)"#),
            ("ubuntu:bookworm", r#"unknown release "bookworm" of ubuntu (it is a release of debian)"#),
            ("", r#"unknown selector "" (known: default, ubuntu, debian)"#),
        ] {
            assert_eq!(said(text.parse::<Selector>()), expected);
        }
    }

    #[test]
    fn names_are_narrow() {
        for text in ["a", "harbor-node", "n1", &"x".repeat(63)] {
            assert_eq!(parse_name(text).as_deref(), Ok(text));
        }
        for text in ["", "-a", "a-", "A", "a_b", "a b", "a/b", "..", "é", &"x".repeat(64)] {
            assert!(said(parse_name(text)).contains("is not a name"), "{text}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("0644"), Ok(0o644));
        assert_eq!(parse_mode("644"), Ok(0o644));
        assert_eq!(parse_mode("4755"), Ok(0o4755));
        for text in ["", "0", "0888", "00644", "+644", "0o644", "rw-"] {
            assert!(said(parse_mode(text)).contains("is not a mode"), "{text}");
        }
    }

    #[test]
    fn paths_have_one_spelling() {
        for text in ["/", "/etc", "/etc/docker/daemon.json", "/a..b/...", "/é"] {
            assert_eq!(parse_absolute_path(text).as_deref(), Ok(text));
        }
        for text in ["", "etc", "//", "/etc/", "/etc//x", "/./x", "/etc/..", "/a\nb", "/a\0b"] {
            assert!(parse_absolute_path(text).is_err(), "{text:?}");
        }
        for text in ["files/x", "x", "a..b"] {
            assert_eq!(parse_relative_path(text).as_deref(), Ok(text));
        }
        for text in ["", "/x", "../x", "files/../../x", "./x", "x/", "files//x", "a\u{1b}b"] {
            assert!(parse_relative_path(text).is_err(), "{text:?}");
        }
    }
}
