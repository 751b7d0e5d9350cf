//! Which schema each Harbor ends with, and whether one can use a database as it is.

use crate::preflight::state::{DatabaseState, Fit, Schema};
use contract::schema::Database;

use super::login::SCRAM;
use super::refusal::name;

type Version = (u32, u32, u32);

/// Harbor's migrations and the version that brought each: the numbers of the files in `make/migrations/postgresql`, as
/// every tag up to v2.15.2 has them.
#[rustfmt::skip]
const MIGRATIONS: [(i64, Version); 37] = [
    (1, (1, 6, 0)), (2, (1, 7, 0)), (3, (1, 7, 0)), (4, (1, 8, 0)), (5, (1, 8, 2)), (10, (1, 9, 0)), (11, (1, 9, 1)),
    (12, (1, 9, 4)), (15, (1, 10, 0)), (30, (2, 0, 0)), (31, (2, 0, 3)), (40, (2, 1, 0)), (41, (2, 1, 4)),
    (50, (2, 2, 0)), (51, (2, 2, 1)), (52, (2, 2, 2)), (53, (2, 2, 3)), (60, (2, 3, 0)), (61, (2, 3, 4)),
    (70, (2, 4, 0)), (71, (2, 4, 2)), (80, (2, 5, 0)), (81, (2, 5, 2)), (82, (2, 5, 3)), (90, (2, 6, 0)),
    (91, (2, 6, 2)), (100, (2, 7, 0)), (110, (2, 8, 0)), (111, (2, 8, 1)), (120, (2, 9, 0)), (130, (2, 10, 0)),
    (140, (2, 11, 0)), (150, (2, 12, 0)), (160, (2, 13, 0)), (170, (2, 14, 0)), (171, (2, 14, 1)), (180, (2, 15, 0)),
];

/// The one version that lacks a migration below its last: it came out before 2.1.4, which brought that.
const LACKS: (Version, i64) = ((2, 2, 0), 41);

/// The newest tag of each minor version that may get another.
const NEWEST: [Version; 3] = [(2, 13, 5), (2, 14, 4), (2, 15, 2)];

/// Whether a Harbor can use a database; says why not.
pub(in crate::preflight) fn fits(
    harbor: Version,
    named: &str,
    database: &Database,
    state: &DatabaseState,
) -> Result<Fit, String> {
    let user = &database.user;
    if state.method == SCRAM && harbor < (1, 9, 0) {
        return Err(format!(
            "Harbor {named} cannot log in with {SCRAM} (1.9 and later can): there, SET password_encryption = 'md5', then \
             ALTER ROLE {} PASSWORD … anew, and md5 in pg_hba.conf",
            name(user)
        ));
    }
    let least = if harbor >= (2, 9, 0) { (120_000, "12") } else { (90_600, "9.6") };
    if state.release < least.0 {
        return Err(format!("Harbor {named} needs PostgreSQL {} or later, the server is {}", least.1, state.server));
    }
    let version = match &state.schema {
        Schema::Empty => return changed(state, None),
        Schema::Foreign => {
            return Err(
                "the database has tables, but not Harbor's: another program uses it, or it was restored in part \
                        (give Harbor a database of its own)"
                    .to_owned(),
            );
        }
        Schema::Dirty { version } => return Err(dirty(version)),
        Schema::Harbor { version } => version,
    };
    let differs = |why: String| format!("the database's schema is {}, {why}", said(version));
    let Ok(found) = version.parse::<i64>() else { return Err(differs("which no Harbor knows".to_owned())) };
    let brought = MIGRATIONS.iter().find(|(number, _)| *number == found).map(|(_, version)| *version);
    let last = MIGRATIONS.iter().filter(|(_, since)| *since <= harbor).map(|(number, _)| *number).max().unwrap_or(0);
    let known = is_known(harbor);
    match brought {
        Some(since) if since > harbor => {
            return Err(differs(format!("Harbor {named} is older: use an image of the schema's version")));
        }
        None if known && found > last => {
            return Err(differs(format!("Harbor {named} is older: use an image of the schema's version")));
        }
        None if found < last => return Err(differs("which no Harbor has: what made it?".to_owned())),
        _ if (harbor, found) == LACKS => {
            return Err(differs(format!("which Harbor {named} does not know: use 2.2.1 or later")));
        }
        _ => {}
    }
    // `src/migration/migration.go`: 2.0 and 2.1 to 2.8 refuse, later ones no longer carry data of 1.x over.
    let start = match (harbor.0, harbor.1) {
        (0 | 1, _) => None,
        (2, 0) => Some((10, "1.9")),
        (2, 1..=8) => Some((15, "1.10")),
        _ => Some((30, "a version from 2.1 to 2.8")),
    };
    if let Some((_, first)) = start.filter(|(least, _)| found < *least) {
        return Err(differs(format!("too old for Harbor {named}: migrate it with {first} first")));
    }
    let mut fit = if found < last {
        changed(state, Some(format!("{} to {}", said(version), said(&last.to_string()))))?
    } else {
        Fit::default()
    };
    if !known {
        fit.doubt = Some(format!(
            "this version of habuild does not know Harbor {named}: if the database's schema, {}, is newer than its own, \
             core does not start",
            said(version)
        ));
    }
    Ok(fit)
}

/// A fit in which Harbor's core makes or changes the tables.
fn changed(state: &DatabaseState, way: Option<String>) -> Result<Fit, String> {
    if let Some(why) = &state.unchangeable {
        return Err(why.clone());
    }
    let note = way.map(|way| {
        format!(
            "Harbor will migrate the database's schema from {way}; a node with the older Harbor will not start again"
        )
    });
    Ok(Fit { note, doubt: None })
}

/// What to do about a migration that was cut off: core refuses to start (`Dirty database version`). PostgreSQL does all
/// of a script or nothing: none of Harbor's holds a `COMMIT`.
fn dirty(version: &str) -> String {
    let number = version.parse::<i64>().ok();
    let before = number.and_then(|number| MIGRATIONS.iter().map(|(n, _)| *n).filter(|n| *n < number).max());
    let again = match before {
        Some(before) => format!("UPDATE schema_migrations SET version = {before}, dirty = false"),
        None => "DELETE FROM schema_migrations".to_owned(),
    };
    let file = number.map_or_else(|| version.to_owned(), |number| format!("{number:04}"));
    format!(
        "the migration of the database's schema to {} was cut off, and Harbor will not start on it: back the database up; \
         look in it for what {file}_*.up.sql of Harbor's make/migrations/postgresql changes; if that is not there, {again}; if \
         it is, UPDATE schema_migrations SET dirty = false",
        said(version)
    )
}

/// A schema's number and whose it is.
fn said(version: &str) -> String {
    let found = MIGRATIONS.iter().find(|(number, _)| number.to_string() == version);
    found.map_or_else(
        || version.to_owned(),
        |(number, (major, minor, patch))| format!("{number} (Harbor {major}.{minor}.{patch})"),
    )
}

/// Whether this version's migrations are all in the table.
fn is_known(harbor: Version) -> bool {
    let newest = NEWEST.iter().find(|newest| (newest.0, newest.1) == (harbor.0, harbor.1));
    newest.map_or(harbor < (2, 15, 0), |newest| harbor <= *newest)
}

#[cfg(test)]
#[path = "schemas_tests.rs"]
mod tests;
