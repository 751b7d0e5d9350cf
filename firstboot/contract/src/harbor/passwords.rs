//! Passwords that a version of Harbor hands on whole. It puts them into URLs, lists with commas, YAML and texts of
//! `key=value` pairs, and quotes them in few of these places.
//!
//! Facts are from goharbor/harbor at the tags v1.1.2 to v2.15.2: `src/common/dao/pgsql.go`, `make/prepare`,
//! `make/photon/prepare/utils/configs.py`, and the registry's `config.yml`. Invariant: no message holds a password.

use super::Version;
use crate::strict::Mistake;

/// Whether this version hands the database's password on whole. MySQL's driver finds it between the first colon and the last
/// at sign, whatever it holds.
///
/// # Errors
/// What the password holds, and what to do.
pub(super) fn check_database_password(version: &Version, password: &str) -> Result<(), Mistake> {
    let numbers = version.numbers();
    if numbers < (1, 6, 0) {
        return Ok(());
    }
    let refused = |what: &str| {
        let message = format!("database.password: {what}, at which Harbor {version} would cut or misread it");
        Err(Mistake::new(message).hint("give the database's user a password of letters, digits and - . _ ~"))
    };
    if password.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return refused("holds a blank");
    }
    if password.starts_with('\'') {
        return refused("begins with a quote");
    }
    // As the driver reads them: lib/pq up to 2.4, pgx since.
    let backslash = if numbers < (2, 5, 0) {
        password.contains('\\')
    } else {
        password.contains(r"\\") || password.contains(r"\'") || password.ends_with('\\')
    };
    if backslash {
        return refused("holds a backslash");
    }
    // Up to 1.8 it becomes a part of a URL too, for the migration.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=@".contains(c);
    if numbers < (1, 9, 0) && !password.chars().all(plain) {
        return refused("holds a sign that a URL cannot hold");
    }
    Ok(())
}

/// Whether this version hands Redis' password on whole.
///
/// # Errors
/// What the password holds, and what to do.
pub(super) fn check_redis_password(version: &Version, password: &str) -> Result<(), Mistake> {
    let numbers = version.numbers();
    let refused = |what: &str| {
        let message = format!("redis.password: holds {what} at which Harbor {version} would cut or misread it");
        Err(Mistake::new(message).hint("give Redis a password of letters, digits and - . _ ~"))
    };
    if numbers < (1, 5, 0) {
        return if password.contains(',') { refused("a comma,") } else { Ok(()) };
    }
    // Quoted for URLs from 2.7.2 on, but for 2.8.0, which came before.
    let quoted = numbers >= (2, 7, 2) && numbers != (2, 8, 0);
    let signs = if numbers < (2, 1, 0) { "-._~$+;=" } else { "-._~!$&'()*+,;=" };
    if !quoted && !password.chars().all(|c| c.is_ascii_alphanumeric() || signs.contains(c)) {
        return refused("a comma, a blank or another sign");
    }
    // It stands unquoted in the registry's YAML, in every version.
    let begins = !password.starts_with(|c: char| "-?:,[]{}#&*!|>'\"%@`".contains(c));
    let plain = password.chars().all(|c| c.is_ascii_graphic()) && !password.ends_with(':');
    if !begins || !plain || ["~", "null", "Null", "NULL"].contains(&password) {
        return refused("a blank or a sign of YAML's,");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_databases() {
        for (password, from) in [
            ("s3cret-Aa.~!", Some("v1.6.0")),
            ("s3cret@/:#%", Some("v1.9.0")),
            ("s3'cret$", Some("v1.6.0")),
            (r"s3\cret", Some("v2.5.0")),
            (r"s3\\cret", None),
            (r"s3cret\", None),
            ("'s3cret", None),
            ("s3 cret", None),
            ("s3cret\n", None),
        ] {
            assert_eq!(check_database_password(&Version::parse("v1.5.4").unwrap(), password), Ok(()), "{password}");
            for harbor in ["v1.6.0", "v1.8.6", "v1.9.0", "v2.4.3", "v2.5.0", "v2.15.2"] {
                let version = |text: &str| Version::parse(text).unwrap();
                let outcome = check_database_password(&version(harbor), password);
                let good = from.is_some_and(|from| version(harbor).numbers() >= version(from).numbers());
                assert_eq!(outcome.is_ok(), good, "{password} {harbor} {outcome:?}");
                assert!(!outcome.err().is_some_and(|mistake| mistake.message.contains("cret")), "{password}");
            }
        }
    }

    #[test]
    fn redis() {
        for (version, password, good) in [
            ("v1.4.1", "a/b @#:%", true),
            ("v1.4.1", "a,b", false),
            ("v1.5.4", "Aa0-._~$+;=", true),
            ("v1.8.6", "a@b", false),
            ("v2.0.6", "a,b", false),
            ("v2.5.6", "a,b", true),
            ("v2.5.6", "a@b", false),
            ("v2.7.1", "a/b", false),
            ("v2.7.2", "a/b", true),
            ("v2.8.0", "a/b", false),
            ("v2.8.1", "a/b:c@d#e%f", true),
            ("v2.15.2", "#ab", false),
            ("v2.15.2", "a #b", false),
            ("v2.15.2", "ab:", false),
            ("v2.15.2", "~", false),
            ("v2.15.2", "aé", false),
        ] {
            let outcome = check_redis_password(&Version::parse(version).unwrap(), password);
            assert_eq!(outcome.is_ok(), good, "{version} {password} {outcome:?}");
        }
    }
}
