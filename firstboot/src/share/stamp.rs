//! Stamps: which cluster and which version of Harbor live on a share. They are only ever added; the highest counts.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::own;
use super::publish::publish;
use crate::trouble::Trouble;

const SCHEMA: u32 = 1;

/// One stamp, `cluster-NNNN.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stamp {
    schema: u32,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The version of Harbor that its database has.
    pub(crate) harbor: String,
    /// Who wrote it.
    pub(crate) instance: String,
    /// SHA-256 of the shared secrets' text.
    pub(crate) secrets: String,
}

impl Stamp {
    pub(crate) fn new(cluster: &str, harbor: &str, instance: &str, secrets: &str) -> Self {
        let [cluster, harbor, instance, secrets] = [cluster, harbor, instance, secrets].map(str::to_owned);
        Self { schema: SCHEMA, cluster, harbor, instance, secrets }
    }

    /// Refuses the stamp of another cluster than `cluster`, found on `share`.
    pub(crate) fn must_be_of(&self, cluster: &str, share: &str) -> Result<(), Trouble> {
        if self.cluster == cluster {
            return Ok(());
        }
        let message = format!("{share}: belongs to cluster {:?}, and this node to {cluster:?}", self.cluster);
        Err(Trouble::lasting(message).hint("check cluster and storage.cephfs.path in the node config"))
    }

    /// Publishes it with this number; `false` when another with this number was first.
    pub(super) fn publish(&self, directory: &Path, number: u32) -> io::Result<bool> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)? + "\n";
        publish(directory, &name(number), text.as_bytes(), &self.instance)
    }
}

fn name(number: u32) -> String {
    format!("cluster-{number:04}.json")
}

/// The highest stamp and its number, if there is one; the inner error says what is wrong with it.
pub(super) fn highest(directory: &Path) -> io::Result<Result<Option<(u32, Stamp)>, String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
        entries => entries?,
    };
    let mut highest = None;
    for entry in entries {
        let found = entry?.file_name().to_string_lossy().into_owned();
        let number = found.strip_prefix("cluster-").and_then(|rest| rest.strip_suffix(".json"));
        let number = number.and_then(|digits| digits.parse::<u32>().ok());
        // The one behind the last number could not be named.
        highest = highest.max(number.filter(|number| found == name(*number) && *number < u32::MAX));
    }
    let Some(number) = highest else { return Ok(Ok(None)) };
    let text = match own::read(&directory.join(name(number))) {
        // What is no file is damaged, as one is that holds something else.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory) => {
            return Ok(Err(format!("{}: {error}", name(number))));
        }
        text => text?,
    };
    Ok(parse(&text).map(|stamp| Some((number, stamp))).map_err(|what| format!("{}: {what}", name(number))))
}

fn parse(text: &[u8]) -> Result<Stamp, String> {
    if text.is_empty() {
        return Err("is empty: a node lost power while it was written".to_owned());
    }
    let object: serde_json::Value = serde_json::from_slice(text).map_err(|error| format!("is not JSON: {error}"))?;
    match object.get("schema").and_then(serde_json::Value::as_u64) {
        Some(1) => serde_json::from_value(object).map_err(|error| error.to_string()),
        Some(other) => Err(format!("has schema {other}, and this version of habuild reads {SCHEMA}")),
        None => Err("has no schema".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(highest(&dir.path().join("none")).unwrap(), Ok(None));
        assert_eq!(highest(dir.path()).unwrap(), Ok(None));
        let one = Stamp::new("hub", "v1.1.2", "i-1", "aa");
        assert!(one.publish(dir.path(), 1).unwrap());
        assert!(!Stamp::new("hub", "v1.1.2", "i-2", "bb").publish(dir.path(), 1).unwrap());
        assert_eq!(highest(dir.path()).unwrap(), Ok(Some((1, one))));
        let eleven = Stamp::new("hub", "v1.2.0", "i-2", "aa");
        eleven.publish(dir.path(), 11).unwrap();
        Stamp::new("hub", "v1.1.9", "i-3", "aa").publish(dir.path(), 2).unwrap();
        // What is no stamp's name is none.
        for name in ["cluster-99.json", "cluster-x.json", "cluster-0099.json.old", ".cluster-0099.json.draft-a.1"] {
            fs::write(dir.path().join(name), "{}").unwrap();
        }
        assert_eq!(highest(dir.path()).unwrap(), Ok(Some((11, eleven))));
    }

    #[test]
    fn what_is_wrong_with_one() {
        let dir = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("", "cluster-0001.json: is empty"),
            ("{", "cluster-0001.json: is not JSON"),
            ("{\"schema\": 2}", "has schema 2"),
            ("{\"schema\": 1}", "missing field"),
        ] {
            fs::write(dir.path().join("cluster-0001.json"), text).unwrap();
            let error = highest(dir.path()).unwrap().unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
