//! `database.initialise: true`: Harbor's own schema script, run once on a database that has no table.
//!
//! The bundle's script begins with `drop database if exists registry`. What drops, makes or chooses a database is left
//! out; only the character set of its `create database` is carried over, since the script's columns are too long for
//! another one. What is not known to belong into such a script is refused before anything runs.
//!
//! Two nodes: the server's own lock lets one in at a time, and the second finds tables. The members of a Galera
//! cluster do not share that lock, but order `create table`: the second node's first one fails.

use std::time::Duration;

use super::Fault;
use super::mysql::{Connection, Error};

/// How long another node's load is waited for, in seconds.
const WAIT: u32 = 60;
/// How long a load may take.
const TIME: Duration = Duration::from_secs(300);

/// Runs a schema script, if the database has no table; `false` when it has some.
pub(crate) fn initialise(connection: &mut Connection, sql: &str) -> Result<bool, Fault> {
    let script = script(sql).map_err(|why| {
        let fault = connection.service().config(format!("the bundle's schema script is not run: {why}"));
        fault.advice("load the schema by hand, and set database.initialise: false")
    })?;
    alone(connection, |connection| load(connection, &script))
}

/// Does something while no other node loads the schema.
pub(super) fn alone<T>(
    connection: &mut Connection,
    act: impl FnOnce(&mut Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    connection.wire().allow(Duration::from_secs(u64::from(WAIT)) + TIME);
    // Its own statement for the name: lock names belong to the server, not to a database.
    let locked = connection.rows(&format!("SELECT GET_LOCK(CONCAT('habuild ', MD5(DATABASE())), {WAIT})"))?;
    if locked.first().and_then(|row| row.first()).and_then(Option::as_deref) != Some("1") {
        return Err(connection.service().server("another node is loading the schema"));
    }
    let outcome = act(connection);
    // The lock ends with the connection too.
    let _ = connection.ask("SELECT RELEASE_LOCK(CONCAT('habuild ', MD5(DATABASE())))");
    outcome
}

pub(super) fn load(connection: &mut Connection, script: &[String]) -> Result<bool, Fault> {
    let count = connection.rows("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()")?;
    if count.first().and_then(|row| row.first()).and_then(Option::as_deref) != Some("0") {
        return Ok(false);
    }
    let mut made = false;
    for (i, statement) in script.iter().enumerate() {
        match connection.ask(statement) {
            Ok(_) => made |= statement.to_lowercase().starts_with("create table"),
            // 1050: there is such a table.
            Err(Error::Server { code: 1050, .. }) if !made => {
                return Err(connection.service().server("another node is loading the schema"));
            }
            Err(error) if !made => return Err(connection.fault(error)),
            Err(error) => {
                let fault = connection.fault(error);
                let what = format!("loading the schema stopped at statement {}: {}", i + 1, fault.what);
                let advice = format!("drop the database {0} and create it again", connection.database());
                return Err(Fault { what, advice: Some(advice), recoverable: false, ..fault });
            }
        }
    }
    Ok(true)
}

/// What statements of a schema script may begin with.
const KNOWN: [&str; 12] = [
    "create table",
    "create index",
    "create unique index",
    "alter table",
    "insert into",
    "insert ignore into",
    "update",
    "set",
    "lock tables",
    "unlock tables",
    "start transaction",
    "commit",
];

/// The statements to run.
pub(super) fn script(sql: &str) -> Result<Vec<String>, String> {
    let mut script = Vec::new();
    for (i, statement) in statements(sql)?.into_iter().enumerate() {
        let words: Vec<String> = statement.split_whitespace().map(str::to_lowercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let begins = |start: &str| start.split(' ').enumerate().all(|(i, word)| words.get(i) == Some(&word));
        match words.as_slice() {
            ["drop", "database" | "schema", ..] | ["use", ..] => {}
            ["create", "database" | "schema", rest @ ..] => script.extend(character_set(rest)),
            _ if KNOWN.iter().any(|start| begins(start)) => script.push(statement),
            _ => {
                let start = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
                return Err(format!("statement {} begins with \"{}\"", i + 1, super::words(&start)));
            }
        }
    }
    if script.iter().any(|statement| statement.to_lowercase().starts_with("create table")) {
        Ok(script)
    } else {
        Err("it makes no table".to_owned())
    }
}

/// The character set that a `create database` names, for the database that is there.
fn character_set(words: &[&str]) -> Option<String> {
    let line = words.join(" ").replace('=', " ");
    let rest = line.split_once("charset ").or_else(|| line.split_once("character set "))?.1;
    let name = rest.split_whitespace().next()?;
    name.chars().all(|c| c.is_ascii_alphanumeric()).then(|| format!("ALTER DATABASE CHARACTER SET {name}"))
}

/// Splits a script at its semicolons, and takes comments out. Comments that servers execute (`/*!`) are refused: they
/// hide statements.
fn statements(sql: &str) -> Result<Vec<String>, String> {
    let (mut found, mut now) = (Vec::new(), String::new());
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let dashes =
            rest.strip_prefix("--").is_some_and(|after| after.is_empty() || after.starts_with(char::is_whitespace));
        let skip = if rest.starts_with("/*!") || rest.starts_with("/*M!") {
            return Err("it holds a comment that servers execute (/*!)".to_owned());
        } else if rest.starts_with("/*") {
            now.push(' ');
            rest.find("*/").ok_or("a comment is not closed")? + 2
        } else if c == '#' || dashes {
            rest.find('\n').unwrap_or(rest.len())
        } else if matches!(c, '\'' | '"' | '`') {
            let length = quoted(rest, c).ok_or("a quote is not closed")?;
            now.push_str(rest.get(..length).unwrap_or_default());
            length
        } else if c == ';' {
            found.push(std::mem::take(&mut now));
            1
        } else {
            now.push(c);
            c.len_utf8()
        };
        rest = rest.get(skip..).unwrap_or_default();
    }
    found.push(now);
    Ok(found.iter().map(|statement| statement.trim().to_owned()).filter(|statement| !statement.is_empty()).collect())
}

/// The length of a quoted text with its quotes. A doubled quote is read as two texts, which comes to the same.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return Some(i + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_database_is_dropped_made_or_chosen() {
        let sql = "drop database if exists registry;\ncreate database registry charset = utf8;\n\nuse registry;\n/* a; b \
                   */ create table a (b int -- c; 'd\n, e text # f;\n);\ninsert into a values (1, 'it''s; \\'x'), (2, \
                   \";`\");\nDROP SCHEMA x;";
        let expected = [
            "ALTER DATABASE CHARACTER SET utf8",
            "create table a (b int \n, e text \n)",
            "insert into a values (1, 'it''s; \\'x'), (2, \";`\")",
        ];
        assert_eq!(script(sql).unwrap(), expected);
        for (sql, why) in [
            ("/*!40000 drop database registry*/; create table a (b int);", "servers execute"),
            ("create table a (b int); /*M!100 drop database x */", "servers execute"),
            ("drop/**/database x; create table a (b int); drop table a;", "statement 3 begins with \"drop table\""),
            ("create table a (b int); grant all on *.* to x;", "statement 2 begins with \"grant all\""),
            ("create table a (b int); create trigger x;", "create trigger"),
            ("delimiter //\ncreate table a (b int)//", "delimiter //"),
            ("create table a (b 'int);", "a quote is not closed"),
            ("create table a /* (b int);", "a comment is not closed"),
            ("drop database registry;", "it makes no table"),
            ("", "it makes no table"),
        ] {
            assert!(script(sql).unwrap_err().contains(why), "{sql}: {:?}", script(sql));
        }
    }
}
