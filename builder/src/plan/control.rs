//! Debian's control text: stanzas of an index, a Release file's date, apt's simulation. Pure.

use jiff::civil::DateTime;
use jiff::tz::Offset;

/// One stanza of a `Packages` file: field names and values, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stanza {
    text: String,
}

impl Stanza {
    /// The stanzas of a text, in order.
    #[must_use]
    pub(crate) fn all(text: &str) -> Vec<Self> {
        text.split("\n\n")
            .map(str::trim_end)
            .filter(|part| !part.trim().is_empty())
            .map(|part| Self { text: format!("{}\n", part.trim_start_matches('\n')) })
            .collect()
    }

    /// The first line of a field's value.
    #[must_use]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.eq_ignore_ascii_case(name)).then(|| value.trim())
        })
    }

    /// The stanza as dpkg's database has it for an installed package.
    #[must_use]
    pub(crate) fn installed(&self) -> String {
        let mut text = String::new();
        for (i, line) in self.text.lines().enumerate() {
            text.push_str(line);
            text.push('\n');
            if i == 0 {
                text.push_str("Status: install ok installed\n");
            }
        }
        text.push('\n');
        text
    }
}

/// What `apt-get --simulate install` would install: names and versions, in its order.
#[must_use]
pub(crate) fn simulated_installs(output: &str) -> Vec<(String, String)> {
    output
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("Inst ")?;
            let (name, rest) = rest.split_once(' ')?;
            let version = rest.split_once('(')?.1.split([' ', ')']).next()?;
            Some((name.split(':').next().unwrap_or(name).to_owned(), version.to_owned()))
        })
        .collect()
}

/// The `Date` of a Release or InRelease file, in seconds since 1970.
#[must_use]
pub(crate) fn date_of_release(text: &str) -> Option<i64> {
    let value = text.lines().find_map(|line| line.strip_prefix("Date:"))?;
    parse_date(value.trim())
}

/// `Thu, 25 Apr 2024 15:10:33 UTC`, the form of RFC 5322 that archives use.
fn parse_date(text: &str) -> Option<i64> {
    let (moment, zone) = text.rsplit_once(' ')?;
    let moment = DateTime::strptime("%a, %d %b %Y %H:%M:%S", moment).ok()?;
    let utc = matches!(zone, "UTC" | "GMT" | "+0000");
    utc.then(|| Offset::UTC.to_timestamp(moment).ok().map(|moment| moment.as_second()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates_of_release_files() {
        assert_eq!(date_of_release("Suite: noble\nDate: Thu, 25 Apr 2024 15:10:33 UTC\n"), Some(1_714_057_833));
        assert_eq!(parse_date("Sat, 29 Feb 2020 00:00:00 +0000"), Some(1_582_934_400));
        assert_eq!(parse_date("Thu, 01 Jan 1970 00:00:00 UTC"), Some(0));
        assert_eq!(parse_date("yesterday"), None);
        assert_eq!(parse_date("Thu, 25 Apr 2024 15:10:33 CEST"), None);
    }

    #[test]
    fn reads_what_apt_would_install() {
        let output = "Reading…\nInst libc6 (2.39-0ubuntu8 Ubuntu:24.04/noble [amd64])\n\
                      Inst gcc:amd64 [1] (2 Ubuntu:24.04/noble [amd64]) []\nConf libc6 (2.39-0ubuntu8 Ubuntu [amd64])\n";
        let expected = [("libc6", "2.39-0ubuntu8"), ("gcc", "2")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(simulated_installs(output), expected);
    }

    #[test]
    fn splits_stanzas() {
        let all = Stanza::all("Package: a\nVersion: 1\nDescription: x\n y\n\nPackage: b\nSHA256: 00\n\n\n");
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].field("version"), Some("1"));
        assert_eq!(all[1].installed(), "Package: b\nStatus: install ok installed\nSHA256: 00\n\n");
    }
}
