//! What a look at a database showed, of whichever kind it is.

use contract::schema::DatabaseKind;

/// What a login to the database showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatabaseState {
    pub(crate) kind: DatabaseKind,
    /// The server's version, as it says it.
    pub(crate) server: String,
    /// The same as PostgreSQL counts, such as 150018; 0 with MySQL.
    pub(crate) release: u32,
    pub(crate) schema: Schema,
    /// Why this user cannot make or change Harbor's tables there, as Harbor does from 1.6 on, and what to do.
    pub(crate) unchangeable: Option<String>,
    /// Whether it holds what a new cluster would not: repositories, or targets of replication (whose passwords are
    /// encrypted with the cluster's secret key).
    pub(crate) in_use: bool,
    /// How the user's password is checked there, such as `mysql_native_password`.
    pub(crate) method: String,
    /// What its clock says: seconds since 1970.
    pub(crate) clock: u64,
}

/// Which tables are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Schema {
    /// None.
    Empty,
    /// Some, but not all that Harbor needs: another program's, or what a load that was cut off left.
    Foreign,
    /// Harbor's, of this version: up to 1.5 Harbor's own, from 1.6 on a number.
    Harbor { version: String },
    /// Harbor's, whose migration to this version was cut off.
    Dirty { version: String },
}

/// How a Harbor can use a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fit {
    /// What Harbor will do to it, if anything.
    pub(crate) note: Option<String>,
    /// What is no reason not to start, but to be told.
    pub(crate) doubt: Option<String>,
}
