//! The version of a bundle, read from its image archive's name, and the way in which that version is configured.

use std::fmt;

use serde::Serialize;

/// How a version of Harbor is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// `harbor.cfg`, with a compose file in the bundle: 1.1 to 1.7.
    Cfg,
    /// `harbor.yml`: 1.8 and later.
    Yml,
}

/// A version such as `v1.1.2` or `v1.1.2-rc1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    text: String,
    numbers: (u32, u32, u32),
}

impl Version {
    /// The version in the name of an image archive, `harbor.VERSION.tar.gz`.
    #[must_use]
    pub fn of_archive(name: &str) -> Option<Self> {
        let text = name.strip_prefix("harbor.")?.strip_suffix(".tar.gz")?;
        let (numbers, suffix) =
            text.strip_prefix('v')?.split_once('-').map_or((&text[1..], None), |(n, s)| (n, Some(s)));
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

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
