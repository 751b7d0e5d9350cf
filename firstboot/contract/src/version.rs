//! A version of Harbor, and the way in which it is configured.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a version of Harbor is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// `harbor.cfg`, with a compose file in the bundle: 1.1 to 1.7.
    Cfg,
    /// `harbor.yml`: 1.8 and later.
    Yml,
}

/// A version such as `v1.1.2` or `v1.1.2-rc1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    text: String,
    numbers: (u32, u32, u32),
}

impl Version {
    /// The newest whose files were looked at: a tag of goharbor/harbor.
    pub const NEWEST_KNOWN: &str = "v2.15.2";

    /// Whether it is of a later minor version than [`Version::NEWEST_KNOWN`].
    #[must_use]
    pub fn is_newer_than_known(&self) -> bool {
        let minor = |version: &Self| (version.numbers.0, version.numbers.1);
        Self::parse(Self::NEWEST_KNOWN).is_some_and(|newest| minor(self) > minor(&newest))
    }

    /// The version in the name of an image archive, `harbor.VERSION.tar.gz`.
    #[must_use]
    pub fn of_archive(name: &str) -> Option<Self> {
        Self::parse(name.strip_prefix("harbor.")?.strip_suffix(".tar.gz")?)
    }

    /// A version as Harbor writes it: `vX.Y.Z`, with or without a suffix behind a hyphen.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (numbers, suffix) =
            text.strip_prefix('v').map(|text| text.split_once('-').map_or((text, None), |(n, s)| (n, Some(s))))?;
        let suffix_is_good = suffix.is_none_or(|suffix| {
            !suffix.is_empty() && suffix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        });
        let mut parts = numbers.split('.').map(|part| {
            let digits = !part.is_empty() && part.len() < 6 && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        });
        let numbers = (parts.next()??, parts.next()??, parts.next()??);
        (suffix_is_good && parts.next().is_none()).then(|| Self { text: text.to_owned(), numbers })
    }

    /// As Harbor writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Major, minor and patch.
    #[must_use]
    pub fn numbers(&self) -> (u32, u32, u32) {
        self.numbers
    }

    /// How it is configured; `None` for those older than any that habuild knows.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        match self.numbers {
            (0, ..) | (1, 0, _) => None,
            (1, 1..=7, _) => Some(Generation::Cfg),
            _ => Some(Generation::Yml),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no version of Harbor"))
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.text
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_nobody_looked_at() {
        for (version, newer) in
            [("v2.15.2", false), ("v2.15.9", false), ("v1.10.19", false), ("v2.16.0", true), ("v3.0.0-rc1", true)]
        {
            assert_eq!(Version::parse(version).unwrap().is_newer_than_known(), newer, "{version}");
        }
    }

    #[test]
    fn versions_and_generations() {
        let generation = |version: &str| {
            Version::of_archive(&format!("harbor.{version}.tar.gz")).map(|found| {
                assert_eq!(found.to_string(), version);
                found.generation()
            })
        };
        for cfg in ["v1.1.0", "v1.1.2-stand-in", "v1.7.8", "v1.6.0-rc1.b_2"] {
            assert_eq!(generation(cfg), Some(Some(Generation::Cfg)), "{cfg}");
        }
        for yml in ["v1.8.0", "v1.10.19", "v2.15.2", "v3.0.0"] {
            assert_eq!(generation(yml), Some(Some(Generation::Yml)), "{yml}");
        }
        for old in ["v0.5.0", "v1.0.9"] {
            assert_eq!(generation(old), Some(None), "{old}");
        }
        for wrong in ["", "1.1.2", "v1.1", "v1.1.2.3", "v1.1.x", "v1.1.2-", "v1.1.2-a b", "v1.1.2-../x", "v1..2", "dev"]
        {
            assert_eq!(generation(wrong), None, "{wrong}");
        }
    }
}
