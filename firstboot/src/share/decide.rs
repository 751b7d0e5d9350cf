//! What a node does about what it sees on the share. Pure.
//!
//! The one thing that must never happen: Harbor 1.1 to 1.5, started on a directory that is not the cluster's share,
//! deletes every repository from the shared database. So whatever is not plainly right is refused.

use contract::harbor::Version;

use super::stamp::Stamp;
use crate::trouble::Trouble;

/// Whether Harbor's database knows repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Used {
    No,
    /// A database that runs with Harbor, and so cannot be asked before, has run.
    Perhaps,
    Yes,
}

impl From<bool> for Used {
    fn from(used: bool) -> Self {
        if used { Self::Yes } else { Self::No }
    }
}

/// What is on the share, and around it.
#[derive(Debug, Clone)]
pub(super) struct Seen<'s> {
    /// The highest stamp and its number.
    pub(super) stamp: Option<&'s (u32, Stamp)>,
    /// The digest of the secrets: those on the share, or those that the node config gives.
    pub(super) secrets: Option<&'s str>,
    /// Whether the node config gives the secrets.
    pub(super) given: bool,
    pub(super) database: Used,
    /// Whether a registry has ever run on the share.
    pub(super) registry_used: bool,
    /// Whether the share holds images.
    pub(super) images: bool,
}

/// What the node is told to be.
#[derive(Debug, Clone)]
pub(super) struct Told<'t> {
    pub(super) cluster: &'t str,
    /// The version of Harbor in the image.
    pub(super) harbor: &'t str,
    pub(super) adopt: bool,
    pub(super) upgrade_from: Option<&'t str>,
    /// The share, for messages.
    pub(super) share: &'t str,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Use the secrets as they are.
    Adopt,
    /// Publish this stamp, then look again.
    Stamp(u32),
    /// Make secrets and publish them, then look again.
    Generate,
    /// Take the secrets of a cluster made by hand and publish them, then look again.
    TakeOver,
}

/// Decides.
///
/// # Errors
/// A refusal: nothing that passes by itself.
pub(super) fn decide(seen: &Seen<'_>, told: &Told<'_>) -> Result<Decision, Trouble> {
    let share = told.share;
    if let Some((_, stamp)) = seen.stamp {
        stamp.must_be_of(told.cluster, share)?;
    }
    // Whatever else is there: once something was pushed, the registry has a directory for it.
    let known = seen.database == Used::Yes
        || (seen.database == Used::Perhaps && seen.stamp.is_none() && seen.secrets.is_none());
    if known && !seen.images {
        let message =
            format!("{share}: holds no images, but the database knows some: this is not the share of its cluster");
        return Err(Trouble::lasting(message).hint(
            "check storage.cephfs.path and the database, or restore data/: Harbor would delete what it does not see",
        ));
    }
    match (seen.stamp, seen.secrets) {
        (Some((number, stamp)), secrets) => stamped(*number, stamp, secrets, seen.given, told),
        (None, Some(_)) => Ok(Decision::Stamp(1)),
        (None, None) => match (seen.registry_used, told.adopt) {
            (false, false) => Ok(Decision::Generate),
            (true, true) => Ok(Decision::TakeOver),
            (false, true) => Err(Trouble::lasting(format!(
                "{share}: there is no cluster here whose secrets could be adopted: no registry has run"
            ))
            .hint("check storage.cephfs.path; for a new cluster take shared_secrets.adopt out")),
            (true, false) => Err(Trouble::lasting(format!(
                "{share}: a registry has run here, but there are no secrets of habuild's: a cluster made by hand, or another one's share"
            ))
            .hint("to take a cluster made by hand over, set shared_secrets.adopt: true; else check storage.cephfs.path")),
        },
    }
}

fn stamped(
    number: u32,
    stamp: &Stamp,
    secrets: Option<&str>,
    given: bool,
    told: &Told<'_>,
) -> Result<Decision, Trouble> {
    let share = told.share;
    if secrets != Some(stamp.secrets.as_str()) {
        return Err(match (secrets, given) {
            (_, true) => Trouble::lasting(format!(
                "shared_secrets: are not those of cluster {:?}, which its stamp {number} on {share} knows",
                told.cluster
            ))
            .hint("give every node the same"),
            (None, false) => Trouble::lasting(format!(
                "{share}/.habuild/secrets.json: is gone, and stamp {number} says that the cluster has secrets"
            ))
            .hint("restore it from a backup: without it, encrypted settings are lost"),
            (Some(_), false) => Trouble::lasting(format!(
                "{share}/.habuild/secrets.json: is not the one that stamp {number} was made with"
            ))
            .hint("restore it from a backup"),
        });
    }
    if stamp.harbor == told.harbor {
        return Ok(Decision::Adopt);
    }
    if told.upgrade_from == Some(stamp.harbor.as_str()) {
        return Ok(Decision::Stamp(number + 1));
    }
    let message = format!(
        "{share}: cluster {:?} runs Harbor {}, and this image holds {}",
        told.cluster, stamp.harbor, told.harbor
    );
    let numbers = |text: &str| Version::parse(text).map(|version| version.numbers());
    let back = numbers(told.harbor) < numbers(&stamp.harbor);
    let hint = format!("boot an image with Harbor {}", stamp.harbor);
    Err(Trouble::lasting(message).hint(if back {
        // Harbor has changed the database for the newer version; an older one must not come upon it by following a hint.
        format!("{hint}; docs/upgrade.md has the way back to {}, with the database's backup", told.harbor)
    } else {
        format!("{hint}, or upgrade the cluster: upgrade: {{from: {}}}", stamp.harbor)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "digest";

    fn stamp(cluster: &str, harbor: &str, secrets: &str) -> (u32, Stamp) {
        (3, Stamp::new(cluster, harbor, "i-1", secrets))
    }

    fn told() -> Told<'static> {
        Told { cluster: "hub", harbor: "v1.2.0", adopt: false, upgrade_from: None, share: "/s" }
    }

    fn seen<'s>(stamp: Option<&'s (u32, Stamp)>, secrets: Option<&'s str>, database: bool, registry: bool) -> Seen<'s> {
        Seen { stamp, secrets, given: false, database: database.into(), registry_used: registry, images: registry }
    }

    #[test]
    fn each_row_of_the_table() {
        let good = stamp("hub", "v1.2.0", OURS);
        let (other, older) = (stamp("lab", "v1.2.0", OURS), stamp("hub", "v1.1.2", OURS));
        let adopt = Told { adopt: true, ..told() };
        let upgrade = Told { upgrade_from: Some("v1.1.2"), ..told() };
        let wrong_upgrade = Told { upgrade_from: Some("v1.1.1"), ..told() };
        // A registry that has run, and nothing was ever pushed to it, or all of it is gone.
        let bare = |stamp, secrets, database| Seen { registry_used: true, ..seen(stamp, secrets, database, false) };
        let rows = [
            ("a bare registry", bare(None, None, false), told(), Err("a registry has run here")),
            ("a bare registry, adopt", bare(None, None, false), adopt.clone(), Ok(Decision::TakeOver)),
            ("a bare registry, database used, adopt", bare(None, None, true), adopt.clone(), Err("holds no images")),
            ("a bare registry, database used", bare(Some(&good), Some(OURS), true), told(), Err("holds no images")),
            ("stamp and matching secrets", seen(Some(&good), Some(OURS), true, true), told(), Ok(Decision::Adopt)),
            ("stamp without secrets", seen(Some(&good), None, false, false), told(), Err("secrets.json: is gone")),
            ("stamp, another digest", seen(Some(&good), Some("x"), false, false), told(), Err("is not the one")),
            ("secrets without stamp", seen(None, Some(OURS), true, true), told(), Ok(Decision::Stamp(1))),
            ("neither, nothing used", seen(None, None, false, false), told(), Ok(Decision::Generate)),
            ("neither, database used", seen(None, None, true, false), told(), Err("holds no images")),
            ("neither, registry used", seen(None, None, false, true), told(), Err("a registry has run here")),
            ("neither, both used", seen(None, None, true, true), told(), Err("a registry has run here")),
            ("neither, both used, adopt", seen(None, None, true, true), adopt.clone(), Ok(Decision::TakeOver)),
            ("neither, database used, adopt", seen(None, None, true, false), adopt.clone(), Err("holds no images")),
            ("neither, nothing used, adopt", seen(None, None, false, false), adopt, Err("no cluster here")),
            (
                "another cluster",
                seen(Some(&other), Some(OURS), false, false),
                told(),
                Err("belongs to cluster \"lab\""),
            ),
            ("another version", seen(Some(&older), Some(OURS), true, true), told(), Err("runs Harbor v1.1.2")),
            ("images that are gone", seen(Some(&good), Some(OURS), true, false), told(), Err("holds no images")),
            ("secrets alone, images gone", seen(None, Some(OURS), true, false), told(), Err("holds no images")),
            ("a wanted upgrade", seen(Some(&older), Some(OURS), true, true), upgrade.clone(), Ok(Decision::Stamp(4))),
            ("an upgrade that is done", seen(Some(&good), Some(OURS), true, true), upgrade, Ok(Decision::Adopt)),
            ("an upgrade from elsewhere", seen(Some(&older), Some(OURS), true, true), wrong_upgrade, Err("v1.1.2")),
        ];
        for (row, seen, told, expected) in rows {
            match (decide(&seen, &told), expected) {
                (Ok(decision), Ok(expected)) => assert_eq!(decision, expected, "{row}"),
                (Err(trouble), Err(expected)) => {
                    assert!(trouble.message.contains(expected), "{row}: {trouble}");
                    assert!(!trouble.passing && trouble.hint.is_some(), "{row}: {trouble:?}");
                }
                (decision, _) => panic!("{row}: {decision:?}"),
            }
        }
    }

    #[test]
    fn only_a_newer_image_is_told_how_to_upgrade() {
        for (runs, upgrade) in [("v1.1.2", true), ("v1.2.0-rc1", true), ("v1.10.0", false)] {
            let stamp = stamp("hub", runs, OURS);
            let refused = decide(&seen(Some(&stamp), Some(OURS), true, true), &told()).unwrap_err();
            let hint = refused.hint.unwrap();
            assert_eq!(
                (hint.contains("upgrade: {from:"), hint.contains("the way back")),
                (upgrade, !upgrade),
                "{hint}"
            );
        }
    }

    #[test]
    fn given_secrets() {
        let good = stamp("hub", "v1.2.0", OURS);
        let given = |seen: Seen<'static>| Seen { given: true, ..seen };
        assert_eq!(decide(&given(seen(None, Some(OURS), false, false)), &told()), Ok(Decision::Stamp(1)));
        assert_eq!(decide(&given(seen(None, Some(OURS), true, true)), &told()), Ok(Decision::Stamp(1)));
        assert!(decide(&given(seen(None, Some(OURS), true, false)), &told()).is_err());
        let stamped = Seen { given: true, ..seen(Some(&good), Some("x"), true, true) };
        assert!(decide(&stamped, &told()).unwrap_err().message.starts_with("shared_secrets: are not those"));
    }

    /// A database that runs with Harbor has run, and nothing was pushed yet.
    #[test]
    fn a_database_that_cannot_be_asked() {
        let good = stamp("hub", "v1.2.0", OURS);
        let perhaps = |seen: Seen<'static>| Seen { database: Used::Perhaps, ..seen };
        assert!(decide(&perhaps(seen(None, None, false, false)), &told()).is_err());
        assert_eq!(decide(&perhaps(seen(None, Some(OURS), false, false)), &told()), Ok(Decision::Stamp(1)));
        let stamped = Seen { database: Used::Perhaps, ..seen(Some(&good), Some(OURS), false, false) };
        assert_eq!(decide(&stamped, &told()), Ok(Decision::Adopt));
    }

    /// Over every input: what must never happen does not.
    #[test]
    fn whatever_is_seen() {
        let stamps = [
            None,
            Some(stamp("hub", "v1.2.0", OURS)),
            Some(stamp("hub", "v1.1.2", OURS)),
            Some(stamp("lab", "v1.2.0", OURS)),
        ];
        for (stamp, secrets) in stamps.iter().flat_map(|stamp| [None, Some(OURS), Some("x")].map(|s| (stamp, s))) {
            for bits in 0..16_u8 {
                let [given, database, registry, adopt] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
                let seen = Seen { given, ..self::seen(stamp.as_ref(), secrets, database, registry) };
                let decision = decide(&seen, &Told { adopt, ..told() });
                if stamp.as_ref().is_some_and(|(_, stamp)| stamp.cluster != "hub") {
                    assert!(decision.is_err(), "{seen:?}: another cluster's share");
                }
                if database && !registry {
                    assert!(decision.is_err(), "{seen:?}: Harbor would delete every repository");
                }
                if decision == Ok(Decision::Generate) {
                    assert!(!database && !registry && stamp.is_none() && secrets.is_none(), "{seen:?}");
                }
                if decision == Ok(Decision::TakeOver) {
                    assert!(adopt && registry && stamp.is_none() && secrets.is_none(), "{seen:?}");
                }
                if decision == Ok(Decision::Adopt) {
                    assert!(stamp.is_some() && secrets == Some(OURS), "{seen:?}");
                }
            }
        }
    }
}
