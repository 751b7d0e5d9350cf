//! The share's `.habuild/`: the cluster's secrets and its stamps. No container sees it.
//!
//! Any number of nodes may come at once, and each may end at any moment: every file is published once, complete; a node
//! looks, decides, does one thing, and looks again. So all end with the winner's secrets.

mod adopt;
pub(crate) mod backup;
mod decide;
pub(crate) mod nodes;
mod openssl;
mod own;
mod publish;
mod secrets;
mod stamp;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use decide::Used;
use decide::{Decision, Seen, Told, decide};
pub(crate) use openssl::belong_together;
pub(crate) use secrets::{SharedSecrets, sha256};
pub(crate) use stamp::Stamp;

use crate::host::Host;
use crate::trouble::Trouble;

/// The length of the token key, as Harbor's own `prepare` makes it.
pub(crate) const TOKEN_KEY_BITS: u32 = 4096;

const DIRECTORY: &str = ".habuild";
const SECRETS: &str = "secrets.json";
/// Where the registry has a directory for each repository, below its own (distribution's storage, version 2).
const REPOSITORIES: &str = "docker/registry/v2/repositories";
/// More looks than any sequence of decisions takes: secrets, stamp, an upgrade's stamp, with a lost race at each.
const LOOKS: u32 = 12;

/// What a node brings to the share.
#[derive(Debug)]
pub(crate) struct Node<'n> {
    /// Where the share is mounted, as a path of the machine.
    pub(crate) share: &'n str,
    pub(crate) cluster: &'n str,
    /// The version of Harbor in the image.
    pub(crate) harbor: &'n str,
    pub(crate) instance: &'n str,
    pub(crate) adopt: bool,
    pub(crate) upgrade_from: Option<&'n str>,
    pub(crate) database: Used,
    /// The secrets, where the node config gives them.
    pub(crate) given: Option<SharedSecrets>,
    /// The length of a new token key.
    pub(crate) bits: u32,
}

/// The secrets that this node shares with the others, and how it came by them.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) secrets: SharedSecrets,
    /// For the journal.
    pub(crate) how: Vec<&'static str>,
}

/// Comes to terms with the share, whatever is on it.
pub(crate) fn settle(host: &Host, node: &Node<'_>) -> Result<Settled, Trouble> {
    let directory = host.below(Path::new(node.share)).join(DIRECTORY);
    let failed = |error: io::Error| own::trouble(&format!("{}/{DIRECTORY}", node.share), &error);
    own::directory(&directory).map_err(failed)?;
    let mut how = Vec::new();
    for _ in 0..LOOKS {
        let found = match &node.given {
            Some(given) => Some(given.clone()),
            None => read(&directory, node.share)?,
        };
        let stamp = stamp::highest(&directory).map_err(failed)?;
        let stamp = stamp.map_err(|what| damaged_stamp(&format!("{}/{DIRECTORY}/{what}", node.share)))?;
        let digest = found.as_ref().map(SharedSecrets::digest).transpose()?;
        let registry = PathBuf::from(node.share).join("data/registry");
        let empty =
            |path: &Path| host.is_empty(path).map_err(|error| Trouble::passing(format!("{}: {error}", path.display())));
        let seen = Seen {
            stamp: stamp.as_ref(),
            secrets: digest.as_deref(),
            given: node.given.is_some(),
            database: node.database,
            registry_used: !empty(&registry)?,
            images: !empty(&registry.join(REPOSITORIES))?,
        };
        let told = Told {
            cluster: node.cluster,
            harbor: node.harbor,
            adopt: node.adopt,
            upgrade_from: node.upgrade_from,
            share: node.share,
        };
        let publish = |secrets: &SharedSecrets| {
            publish::publish(&directory, SECRETS, secrets.text()?.as_bytes(), node.instance).map_err(failed)
        };
        match (decide(&seen, &told)?, found, digest) {
            (Decision::Adopt, Some(secrets), _) => {
                if how.is_empty() {
                    how.push("adopted the cluster's secrets");
                }
                return Ok(Settled { secrets, how });
            }
            (Decision::Stamp(number), _, Some(digest)) => {
                let stamp = Stamp::new(node.cluster, node.harbor, node.instance, &digest);
                if stamp.publish(&directory, number).map_err(failed)? {
                    how.push("stamped the share");
                }
            }
            (Decision::TakeOver, ..) => {
                if publish(&adopt::take_over(host, node.share)?)? {
                    how.push("took over the secrets of a cluster made by hand");
                }
            }
            (Decision::Generate, ..) => {
                how.push(match publish(&SharedSecrets::generate(host, node.bits)?)? {
                    true => "made the cluster's secrets",
                    false => "made secrets, and took those of a node that was quicker",
                });
            }
            (Decision::Adopt | Decision::Stamp(_), ..) => {
                return Err(Trouble::lasting(format!("{}: decided on secrets that are not there", node.share)));
            }
        }
    }
    Err(Trouble::passing(format!("{}/{DIRECTORY}: changes each time it is looked at", node.share)))
}

/// The share's highest stamp; the inner error says what is wrong with it.
pub(crate) fn stamp(share: &Path) -> io::Result<Result<Option<Stamp>, String>> {
    let highest = stamp::highest(&share.join(DIRECTORY))?;
    Ok(highest.map(|found| found.map(|(_, stamp)| stamp)).map_err(|what| format!("{DIRECTORY}/{what}")))
}

/// SHA-256 over the secrets' text, by which nodes can be compared without telling a secret.
pub(crate) fn digest(secrets: &SharedSecrets) -> Result<String, Trouble> {
    secrets.digest()
}

/// A stamp that cannot be read, which no backup holds.
pub(crate) fn damaged_stamp(what: &str) -> Trouble {
    Trouble::lasting(what)
        .hint("docs/share.md says how to look at it; with a newer schema, boot an image of a newer habuild")
}

fn read(directory: &Path, share: &str) -> Result<Option<SharedSecrets>, Trouble> {
    let shown = format!("{share}/{DIRECTORY}/{SECRETS}");
    let (bytes, was_open) = match own::read_private(&directory.join(SECRETS)) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(own::trouble(&shown, &error)),
    };
    if was_open {
        crate::host::journal::say("warning: the share's secrets.json could be read by others; its mode is 0600 again");
    }
    let parsed = SharedSecrets::parse(&bytes);
    parsed.map(Some).map_err(|what| Trouble::lasting(format!("{shown}: {what}")).hint("restore it from a backup"))
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
