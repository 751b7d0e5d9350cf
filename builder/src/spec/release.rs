//! The distributions and releases that habuild knows by name, and which of them this version bakes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use contract::strict::{Mistake, quoted};

/// A distribution whose images habuild bakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Ubuntu.
    Ubuntu,
    /// Debian.
    Debian,
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ubuntu => "ubuntu",
            Self::Debian => "debian",
        })
    }
}

impl FromStr for Distribution {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        match text {
            "ubuntu" => Ok(Self::Ubuntu),
            "debian" => Ok(Self::Debian),
            _ => Err(Mistake::unknown("distribution", text, ["ubuntu", "debian"])),
        }
    }
}

/// A release of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) distribution: Distribution,
    pub(crate) name: &'static str,
    /// Whether this version bakes it; the others answer "not in this version".
    pub(crate) first_class: bool,
}

/// Every release of the design, the first-class ones first.
const RELEASES: [Release; 8] = [
    Release { distribution: Distribution::Ubuntu, name: "noble", first_class: true },
    Release { distribution: Distribution::Debian, name: "bookworm", first_class: true },
    Release { distribution: Distribution::Ubuntu, name: "resolute", first_class: true },
    Release { distribution: Distribution::Debian, name: "trixie", first_class: true },
    Release { distribution: Distribution::Ubuntu, name: "jammy", first_class: true },
    Release { distribution: Distribution::Ubuntu, name: "focal", first_class: false },
    Release { distribution: Distribution::Ubuntu, name: "bionic", first_class: false },
    Release { distribution: Distribution::Ubuntu, name: "xenial", first_class: false },
];

/// The release of that name.
pub(crate) fn find(distribution: Distribution, name: &str) -> Result<Release, Mistake> {
    if let Some(release) = RELEASES.iter().find(|release| release.distribution == distribution && release.name == name)
    {
        return Ok(*release);
    }
    let mistake = Mistake::new(format!("unknown release {} of {distribution}", quoted(name)));
    if let Some(other) = distribution_of(name) {
        return Err(mistake.hint(format!("it is a release of {other}")));
    }
    let known = RELEASES.iter().filter(|release| release.distribution == distribution).map(|release| release.name);
    Err(mistake.did_you_mean(name, &known.collect::<Vec<_>>()))
}

/// The release of that name, if this version bakes it.
pub(crate) fn find_first_class(distribution: Distribution, name: &str) -> Result<Release, Mistake> {
    let release = find(distribution, name)?;
    if release.first_class {
        return Ok(release);
    }
    let supported = |distribution| {
        let baked = RELEASES.iter().filter(|release| release.first_class && release.distribution == distribution);
        let names: Vec<&str> = baked.map(|release| release.name).collect();
        format!("{distribution} {}", names.join(", "))
    };
    Err(Mistake::not_in_this_version(format_args!("{distribution} {name}")).hint(format!(
        "this version bakes {} and {}",
        supported(Distribution::Ubuntu),
        supported(Distribution::Debian)
    )))
}

/// The distribution that has a release of that name.
pub(crate) fn distribution_of(name: &str) -> Option<Distribution> {
    RELEASES.iter().find(|release| release.name == name).map(|release| release.distribution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_first_class_releases_are_baked() {
        assert!(find_first_class(Distribution::Ubuntu, "noble").is_ok());
        assert!(find_first_class(Distribution::Debian, "trixie").is_ok());
        let said = find_first_class(Distribution::Ubuntu, "focal").expect_err("focal comes later").to_string();
        assert_eq!(
            said,
            "ubuntu focal: not in this version (this version bakes ubuntu noble, resolute, jammy and debian bookworm, trixie)"
        );
    }

    #[test]
    fn an_unknown_release_lists_those_of_its_distribution() {
        let said = find(Distribution::Debian, "woody").expect_err("woody is unknown").to_string();
        assert_eq!(said, r#"unknown release "woody" of debian (known: bookworm, trixie)"#);
    }
}
