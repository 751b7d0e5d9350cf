//! The connections to the database, bounded.

use super::*;
use crate::harbor::{limits, pools};

fn node(connections: &str) -> String {
    NODE.replace("host: db,", &format!("host: db, {connections}"))
}

#[test]
fn the_bound_of_a_pool() {
    let bounded = yml("v2.15.2", &node("connections: 40,")).unwrap();
    assert_eq!(bounded["external_database"]["harbor"]["max_open_conns"], 40);
    let left_out = yml("v2.15.2", NODE).unwrap();
    assert_eq!(left_out["external_database"]["harbor"].get("max_open_conns"), None, "Harbor's own: no bound");
}

#[test]
fn versions_that_have_none() {
    for (version, config, bounds) in [
        ("v1.5.4", node("connections: 40,").replace("postgresql", "mysql"), false),
        ("v1.6.3", node("connections: 40,"), false),
        ("v1.8.6", node("connections: 40,"), false),
        ("v1.8.6", NODE.to_owned(), true),
        ("v1.9.0", node("connections: 40,"), true),
        ("v2.15.2", node("connections: 40,"), true),
    ] {
        let said = limits(&schema::parse(&config).unwrap(), &Version::parse(version).unwrap());
        let expected = format!("database.connections: Harbor {version} cannot bound its connections");
        assert_eq!(said.first().map(|mistake| mistake.message.clone()), (!bounds).then_some(expected), "{version}");
    }
}

#[test]
fn who_has_a_pool() {
    let of = |version: &str, options: &str| {
        let text = NODE.replace("admin_password", &format!("{options}admin_password"));
        pools(&schema::parse(&text).unwrap(), &Version::parse(version).unwrap())
    };
    assert_eq!(of("v2.15.2", ""), ["core", "jobservice"]);
    assert_eq!(of("v2.2.0", "metrics: {port: 9100}, "), ["core", "jobservice", "exporter"]);
}

#[test]
fn numbers_that_no_harbor_runs_with() {
    for (given, good) in [("10", true), ("10000", true), ("9", false), ("0", false), ("10001", false), ("many", false)]
    {
        let parsed = schema::parse(&node(&format!("connections: {given},")));
        let problems: Vec<String> =
            parsed.err().unwrap_or_default().iter().map(|problem| problem.to_string()).collect();
        assert_eq!(problems.is_empty(), good, "{given}: {problems:?}");
        assert!(
            good || problems[0].contains("database.connections: must be a whole number from 10 to 10000"),
            "{problems:?}"
        );
    }
}
