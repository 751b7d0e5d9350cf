//! What answers on the port and is no PostgreSQL, or one in a state that no real server takes at command.

use super::pretenders::{brief, pretender};
use super::*;
use crate::preflight::database::{connect, inspect};
use crate::test_authority::Authority;

fn database(words: Vec<Vec<u8>>) -> (Result<DatabaseState, Fault>, Vec<u8>) {
    database_with("", patience(), words)
}

fn database_with(more: &str, patience: Patience, words: Vec<Vec<u8>>) -> (Result<DatabaseState, Fault>, Vec<u8>) {
    let (port, thread) = pretender(words);
    let login = format!("host: 127.0.0.1, port: {port}, user: harbor, password: s3cret{more}");
    let (config, secrets) = config_of("postgresql", &login, "host: x");
    let outcome =
        connect(&nowhere(), config.database.external().unwrap(), &secrets, patience).and_then(|mut c| inspect(&mut c));
    (outcome, thread.join().unwrap())
}

/// What is said once the client has begun.
fn answers(words: &[&[u8]]) -> Result<DatabaseState, Fault> {
    let words = words.iter().map(|words| words.to_vec());
    database(std::iter::once(Vec::new()).chain(words).collect()).0
}

/// A message of PostgreSQL's.
fn message(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
    [&[tag], length.as_slice(), content].concat()
}

/// A message about authentication.
fn authentication(kind: u8, content: &[u8]) -> Vec<u8> {
    message(b'R', &[&[0, 0, 0, kind], content].concat())
}

fn error(code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0C{code}\0M{text}\0\0").as_bytes())
}

/// Lets the client in.
fn welcome() -> Vec<u8> {
    [authentication(0, &[]), message(b'Z', b"I")].concat()
}

#[test]
fn what_is_no_postgresql_is_told() {
    let not_it = "what answers there is not PostgreSQL: check database.port";
    for words in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.2\r\n", b"-ERR unknown command\r\n"] {
        said(answers(&[words]), Side::Config, false, not_it);
    }
    // MySQL greets by itself; the length that its greeting begins with may be one of PostgreSQL's letters.
    for length in *b"JRE" {
        let greeting = [&[length, 0, 0, 0, 10], b"8.0.36\0".as_slice(), &[1; 90]].concat();
        said(database(vec![greeting]).0, Side::Config, false, not_it);
    }
    let (outcome, _) = database_with("", brief(), vec![Vec::new(), Vec::new()]);
    said(outcome, Side::Server, true, "it takes connections, but does not answer in time");
    let (outcome, _) = database_with("", brief(), vec![Vec::new(), authentication(5, b"salt"), Vec::new()]);
    said(outcome, Side::Server, true, "it takes connections, but does not answer in time");

    let (config, secrets) = config_of("postgresql", "host: 127.0.0.1, port: 1, user: u, password: s3cret", "host: x");
    let outcome = connect(&nowhere(), config.database.external().unwrap(), &secrets, patience());
    let words = "database 127.0.0.1:1: nobody listens there: start the server, or check database.host";
    said(outcome, Side::Network, true, words);
    let (config, secrets) = config_of("postgresql", "host: db.invalid, user: u, password: s3cret", "host: x");
    let outcome = connect(&nowhere(), config.database.external().unwrap(), &secrets, patience());
    said(outcome, Side::Network, true, "database db.invalid:5432: the name is not known: check database.host");
}

#[test]
fn what_answers_a_request_for_tls_is_told() {
    let authority = Authority::new();
    let more = format!(", tls: verify, ca: {}", quoted(&authority.pem()));
    let asked = |words: &[&[u8]]| {
        let words = words.iter().map(|words| words.to_vec());
        let (outcome, heard) = database_with(&more, brief(), std::iter::once(Vec::new()).chain(words).collect());
        assert!(!heard.windows(6).any(|part| part == b"harbor"), "it said more than that it wants TLS");
        outcome
    };
    said(asked(&[b"N"]), Side::Config, false, "it offers no TLS: turn it on there, or set tls: off");
    said(asked(&[b"E: out of memory\0"]), Side::Server, true, "it takes no connection over TLS now");
    said(asked(&[b"HTTP/1.1 400 Bad Request"]), Side::Config, false, "what answers there is not PostgreSQL");
    said(asked(&[b"SSH-2.0-OpenSSH_9.2\r\n"]), Side::Config, false, "it does not speak TLS on this port");
    said(asked(&[b""]), Side::Server, true, "does not answer in time");
    said(asked(&[b"S"]), Side::Server, true, "does not answer in time");
}

#[test]
fn a_server_that_cannot_answer_now_is_told() {
    for (code, text, side, recoverable, words) in [
        ("57P03", "the database system is starting up", Side::Server, true, "it takes no logins now (the database"),
        ("57P01", "terminating connection", Side::Server, true, "it is shutting down, or was told"),
        ("53300", "sorry, too many clients already", Side::Server, true, "raise max_connections there"),
        ("53100", "no space", Side::Server, true, "its disk is full"),
        ("08P01", "server login failed", Side::Server, true, "if that is a pooler: does it know the user"),
        ("25006", "read-only", Side::Server, true, "use the primary"),
        ("0A000", "unsupported frontend protocol 3.0", Side::Config, false, "it is too old for this node"),
        ("XX000", "odd \u{1b}[2J words", Side::Server, true, "error XX000: odd  [2J words"),
    ] {
        said(answers(&[&error(code, text)]), side, recoverable, words);
        // Some come once the password was shown, or in place of rows, and end the connection.
        said(answers(&[&authentication(5, b"salt"), &error(code, text)]), side, recoverable, words);
        let (outcome, heard) = database(vec![Vec::new(), welcome(), [error(code, text), message(b'Z', b"I")].concat()]);
        said(outcome, side, recoverable, words);
        assert!(heard.windows(5).any(|part| part == b"pg_is"), "{code}");
    }
}

#[test]
fn a_password_is_not_shown_to_anybody() {
    let unclear = "it wants the password in the clear, and the connection has no TLS: set database.tls: verify";
    let unproved = "it does not prove that it knows the password: is it the right server?";
    let unfit = "user harbor must log in with";
    let ask = authentication(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    for (words, side, recoverable, expected) in [
        (vec![authentication(3, &[])], Side::Config, false, unclear),
        (vec![authentication(7, &[])], Side::Config, false, unfit),
        (vec![authentication(10, b"SCRAM-SHA-512\0\0")], Side::Config, false, unfit),
        // It lets the node in, whatever the password is.
        (vec![ask.clone(), welcome()], Side::Config, false, unproved),
        (vec![ask.clone(), message(b'Z', b"I")], Side::Config, false, unproved),
        (vec![ask.clone(), authentication(12, b"v=AAAA")], Side::Config, false, unproved),
        (vec![ask.clone(), authentication(11, b"r=other,s=AAAA,i=4096")], Side::Server, true, "what no PostgreSQL"),
        (vec![ask, authentication(3, &[])], Side::Config, false, unclear),
        (vec![authentication(11, b"r=x,s=AAAA,i=1")], Side::Server, true, "what no PostgreSQL"),
        (vec![authentication(99, &[])], Side::Server, true, "what no PostgreSQL"),
    ] {
        let (outcome, heard) = database(std::iter::once(Vec::new()).chain(words).collect());
        said(outcome, side, recoverable, expected);
        assert!(!heard.windows(6).any(|part| part == b"s3cret"), "{expected}");
    }
}

#[test]
fn what_a_server_sends_is_bounded() {
    let odd = "it answers what no PostgreSQL server would";
    let notice = message(b'N', &[b"M".as_slice(), &vec![b'x'; 60_000], b"\0\0"].concat());
    for words in [
        // A length that is none, one that is too much, a text that does not end, fields that are not there.
        vec![b"R\0\0\0\x03".to_vec()],
        vec![b"R\0\xff\xff\xff".to_vec()],
        vec![message(b'E', b"C28P01\0Mx")],
        vec![message(b'E', b"\0")],
        vec![authentication(5, b"s")],
        vec![message(b'N', b"\0").repeat(300)],
        vec![notice.repeat(20)],
        vec![welcome(), notice.repeat(20)],
        vec![welcome(), message(b'D', b"\0\x01\0\0\0\x02a")],
        vec![welcome(), message(b'G', b"\0\0\0")],
        vec![welcome(), [message(b'C', b"SELECT 0\0"), message(b'Z', b"I")].concat()],
    ] {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        said(answers(&words), Side::Server, true, odd);
    }
}
