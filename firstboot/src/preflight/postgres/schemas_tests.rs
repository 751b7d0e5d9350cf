//! Which Harbor can use which database.

use super::*;
use contract::schema::{self, DatabaseKind};

fn database() -> Database {
    let text = "version: 1\ncluster: hub\nharbor: {external_url: http://hub, admin_password: x}\nstorage: {local: {path: \
                /var/lib/harbor/share}}\ndatabase: {kind: postgresql, host: db, user: harbor, password: x}\nredis: {host: \
                x}\n";
    schema::parse(text).unwrap().database.external().unwrap().clone()
}

fn state(schema: Schema) -> DatabaseState {
    DatabaseState {
        kind: DatabaseKind::Postgresql,
        server: "15.18".into(),
        release: 150_018,
        schema,
        unchangeable: None,
        in_use: false,
        method: "md5".to_owned(),
        clock: 0,
    }
}

fn at(version: &str) -> Schema {
    Schema::Harbor { version: version.to_owned() }
}

fn fits_at(harbor: Version, state: &DatabaseState) -> Result<Fit, String> {
    let (major, minor, patch) = harbor;
    fits(harbor, &format!("v{major}.{minor}.{patch}"), &database(), state)
}

#[test]
fn schemas_fit_as_core_migrates_them() {
    for (harbor, found) in [((2, 15, 2), "180"), ((2, 14, 4), "171"), ((2, 14, 0), "170"), ((1, 10, 19), "15")] {
        assert_eq!(fits_at(harbor, &state(at(found))), Ok(Fit::default()), "{harbor:?} {found}");
    }
    let migrated = |from, harbor| fits_at(harbor, &state(at(from))).unwrap();
    let fit = migrated("171", (2, 15, 2));
    let note = fit.note.unwrap();
    assert!(note.contains("from 171 (Harbor 2.14.1) to 180 (Harbor 2.15.0); a node with the older Harbor"), "{note}");
    assert_eq!(fit.doubt, None);
    for (harbor, from) in [((2, 0, 0), "10"), ((2, 1, 0), "15"), ((2, 8, 0), "15"), ((2, 9, 0), "30"), ((1, 8, 0), "1")]
    {
        assert!(migrated(from, harbor).note.is_some(), "{harbor:?} {from}");
    }
    for (harbor, found, words) in [
        ((2, 14, 4), "180", "180 (Harbor 2.15.0), Harbor v2.14.4 is older: use an image of the schema's version"),
        ((2, 14, 0), "171", "171 (Harbor 2.14.1), Harbor v2.14.0 is older"),
        ((2, 15, 2), "190", "schema is 190, Harbor v2.15.2 is older"),
        ((2, 2, 0), "41", "which Harbor v2.2.0 does not know: use 2.2.1 or later"),
        ((2, 15, 2), "45", "45, which no Harbor has"),
        ((2, 15, 2), "x", "x, which no Harbor knows"),
        ((2, 0, 6), "5", "5 (Harbor 1.8.2), too old for Harbor v2.0.6: migrate it with 1.9 first"),
        ((2, 1, 0), "12", "migrate it with 1.10 first"),
        ((2, 8, 6), "12", "migrate it with 1.10 first"),
        ((2, 9, 0), "15", "migrate it with a version from 2.1 to 2.8 first"),
    ] {
        let said = fits_at(harbor, &state(at(found))).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
    assert!(fits_at((2, 2, 1), &state(at("41"))).is_ok());
}

#[test]
fn a_harbor_that_is_newer_than_the_table_is_doubted() {
    for (harbor, found) in [((2, 16, 0), "180"), ((2, 16, 0), "190"), ((2, 15, 3), "181"), ((2, 13, 6), "160")] {
        let fit = fits_at(harbor, &state(at(found))).unwrap();
        assert!(fit.doubt.unwrap().contains("this version of habuild does not know Harbor"), "{harbor:?} {found}");
    }
    assert!(fits_at((2, 14, 9), &state(at("180"))).is_err(), "that one came with a later version, for certain");
    assert!(is_known((2, 12, 99)) && is_known((2, 13, 5)) && !is_known((3, 0, 0)));
    assert!(MIGRATIONS.is_sorted(), "numbers and versions rise together");
}

#[test]
fn a_database_that_is_in_no_order_is_told() {
    let dirty = |version: &str| {
        let schema = Schema::Dirty { version: version.to_owned() };
        fits_at((2, 15, 2), &state(schema)).unwrap_err()
    };
    let said = dirty("53");
    assert!(said.contains("schema to 53 (Harbor 2.2.3) was cut off") && said.contains("0053_*.up.sql"), "{said}");
    assert!(said.contains("UPDATE schema_migrations SET version = 52, dirty = false; if it is, UPDATE"), "{said}");
    assert!(dirty("1").contains("if that is not there, DELETE FROM schema_migrations; if"), "{}", dirty("1"));
    assert!(fits_at((2, 15, 2), &state(Schema::Foreign)).unwrap_err().contains("another program uses it"));
    assert_eq!(fits_at((2, 15, 2), &state(Schema::Empty)), Ok(Fit::default()));

    // Who may not change tables is told where some are to be made or changed.
    let stuck = |schema| DatabaseState { unchangeable: Some("user harbor may not".into()), ..state(schema) };
    for (schema, good) in [(Schema::Empty, false), (at("171"), false), (at("180"), true)] {
        assert_eq!(fits_at((2, 15, 2), &stuck(schema)).is_ok(), good);
    }
}

#[test]
fn servers_and_methods_fit_the_version() {
    let release = |release| DatabaseState { release, ..state(Schema::Empty) };
    for (harbor, number, good) in [
        ((2, 15, 2), 120_000, true),
        ((2, 9, 0), 110_022, false),
        ((2, 8, 6), 110_022, true),
        ((1, 10, 0), 90_600, true),
        ((1, 10, 0), 90_524, false),
    ] {
        assert_eq!(fits_at(harbor, &release(number)).is_ok(), good, "{harbor:?} {number}");
    }
    let scram = DatabaseState { method: SCRAM.to_owned(), ..state(Schema::Empty) };
    let said = fits_at((1, 8, 6), &scram).unwrap_err();
    assert!(said.contains("v1.8.6 cannot log in with scram-sha-256 (1.9 and later can)"), "{said}");
    assert!(fits_at((1, 8, 6), &state(Schema::Empty)).is_ok() && fits_at((1, 9, 0), &scram).is_ok());
}
