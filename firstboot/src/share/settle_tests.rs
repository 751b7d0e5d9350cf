//! A node and a share: what it leaves there, and what it says of one that is broken.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;
use secrets::tests::sample;

fn node(share: &str) -> Node<'_> {
    Node {
        share,
        cluster: "hub",
        harbor: "v1.1.2",
        instance: "i-1",
        adopt: false,
        upgrade_from: None,
        database: Used::No,
        given: None,
        bits: 1024,
    }
}

fn host() -> Host {
    Host::new(Path::new("/"))
}

#[test]
fn the_first_makes_what_the_second_adopts() {
    let dir = tempfile::tempdir().unwrap();
    let share = dir.path().to_str().unwrap();
    let first = settle(&host(), &node(share)).unwrap();
    assert_eq!(first.how, ["made the cluster's secrets", "stamped the share"]);
    first.secrets.check().unwrap();
    let used = || Node { instance: "i-2", database: Used::Yes, ..node(share) };
    // Harbor has run, and nothing of it is here: not even the stamp makes this the right share.
    let lost = settle(&host(), &used()).unwrap_err();
    assert!(lost.message.contains("holds no images"), "{lost}");
    fs::create_dir_all(dir.path().join("data/registry").join(REPOSITORIES).join("library")).unwrap();
    let second = settle(&host(), &used()).unwrap();
    assert_eq!(second.how, ["adopted the cluster's secrets"]);
    assert!(first.secrets == second.secrets);
    assert_eq!(stamp(dir.path()).unwrap().unwrap().unwrap().cluster, "hub");
    let mut names: Vec<_> =
        fs::read_dir(dir.path().join(DIRECTORY)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["cluster-0001.json", "secrets.json"]);
    let upgrade = Node { harbor: "v1.2.0", upgrade_from: Some("v1.1.2"), ..node(share) };
    assert_eq!(settle(&host(), &upgrade).unwrap().how, ["stamped the share"]);
    let left_behind = settle(&host(), &node(share)).unwrap_err();
    assert!(left_behind.message.contains("runs Harbor v1.2.0, and this image holds v1.1.2"), "{left_behind}");
}

#[test]
fn secrets_without_a_stamp_are_stamped() {
    let dir = tempfile::tempdir().unwrap();
    let share = dir.path().to_str().unwrap();
    own::directory(&dir.path().join(DIRECTORY)).unwrap();
    let secrets = sample("0123456789abcdef");
    let path = dir.path().join(DIRECTORY).join(SECRETS);
    fs::write(&path, secrets.text().unwrap()).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let settled = settle(&host(), &node(share)).unwrap();
    assert_eq!(settled.how, ["stamped the share"]);
    assert!(settled.secrets == secrets);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn given_secrets_are_the_clusters_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let share = dir.path().to_str().unwrap();
    let given = || Node { given: Some(sample("0123456789abcdef")), ..node(share) };
    let first = given();
    let settled = settle(&host(), &first).unwrap();
    assert!(Some(settled.secrets) == first.given);
    assert!(!dir.path().join(DIRECTORY).join(SECRETS).exists(), "they are not copied to the share");
    let other = settle(&host(), &given()).unwrap_err();
    assert!(other.message.starts_with("shared_secrets: are not those"), "{other}");
}

#[test]
fn a_torn_share_is_refused_and_left_alone() {
    let cases = [
        (SECRETS, "", "secrets.json: is empty"),
        (SECRETS, "{\"schema\": 9}", "has schema 9"),
        ("cluster-0001.json", "", "cluster-0001.json: is empty"),
        ("cluster-0002.json", "x", "cluster-0002.json: is not JSON"),
    ];
    for (name, text, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        own::directory(&dir.path().join(DIRECTORY)).unwrap();
        let path = dir.path().join(DIRECTORY).join(name);
        fs::write(&path, text).unwrap();
        let trouble = settle(&host(), &node(dir.path().to_str().unwrap())).unwrap_err();
        assert!(trouble.message.contains(expected) && !trouble.passing, "{trouble}");
        assert_eq!(fs::read_to_string(path).unwrap(), text);
        assert_eq!(fs::read_dir(dir.path().join(DIRECTORY)).unwrap().count(), 1);
    }
}

#[test]
fn a_used_database_and_an_empty_share_do_not_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let share = dir.path().to_str().unwrap();
    let trouble = settle(&host(), &Node { database: Used::Yes, ..node(share) }).unwrap_err();
    assert!(trouble.message.contains("holds no images, but the database knows some"), "{trouble}");
    assert_eq!(fs::read_dir(dir.path().join(DIRECTORY)).unwrap().count(), 0);
}
