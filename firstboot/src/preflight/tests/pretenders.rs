//! What answers on the port and is no MySQL or Redis, or one in a state that no real server takes at command.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;
use crate::preflight::database::{connect, inspect};
use crate::preflight::redis::check;

/// A server for one connection: says its words in turn, each but the first after the client spoke; then waits until
/// the client has gone.
pub(super) fn pretender(words: Vec<Vec<u8>>) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        for (i, words) in words.iter().enumerate() {
            let mut buffer = [0; 4096];
            if i > 0 {
                let read = stream.read(&mut buffer).unwrap_or_default();
                heard.extend_from_slice(&buffer[..read]);
            }
            let _ = stream.write_all(words);
        }
        let _ = stream.read_to_end(&mut heard);
        heard
    });
    (port, thread)
}

/// For what never answers; a busy machine is slow to answer.
pub(super) fn brief() -> Patience {
    Patience { total: Duration::from_secs(1), ..patience() }
}

fn database(words: Vec<Vec<u8>>) -> (Result<DatabaseState, Fault>, Vec<u8>) {
    database_within(patience(), words)
}

fn database_within(patience: Patience, words: Vec<Vec<u8>>) -> (Result<DatabaseState, Fault>, Vec<u8>) {
    let (port, thread) = pretender(words);
    let (config, secrets) =
        config(&format!("host: 127.0.0.1, port: {port}, user: harbor, password: s3cret"), "host: x");
    let outcome =
        connect(&nowhere(), config.database.external().unwrap(), &secrets, patience).and_then(|mut c| inspect(&mut c));
    (outcome, thread.join().unwrap())
}

fn redis(patience: Patience, words: Vec<Vec<u8>>) -> Result<RedisState, Fault> {
    let (port, thread) = pretender(words);
    let (config, secrets) =
        config("host: x, user: u, password: x", &format!("host: 127.0.0.1, port: {port}, password: s3cret"));
    let outcome = check(&nowhere(), config.redis.external().unwrap(), &secrets, "i-1", patience);
    thread.join().unwrap();
    outcome
}

/// A message of MySQL's.
fn message(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    [&[length, 0, 0, number], content].concat()
}

fn greeting(method: &str) -> Vec<u8> {
    let able = 0x8a209_u32.to_le_bytes();
    let mut content = b"\x0a8.0.36\0\x01\0\0\0abcdefgh\0".to_vec();
    content.extend([able[0], able[1], 45, 2, 0, able[2], able[3], 21]);
    content.extend([0; 10]);
    content.extend(b"ijklmnopqrst\0");
    content.extend(method.as_bytes());
    content.push(0);
    message(0, &content)
}

fn error(number: u8, code: u16, text: &str) -> Vec<u8> {
    message(number, &[&[0xff], code.to_le_bytes().as_slice(), b"#08S01", text.as_bytes()].concat())
}

#[test]
fn what_is_no_database_is_told() {
    let not_mysql = "what answers there is not MySQL or MariaDB: check database.port";
    for words in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &message(0, b"\x09old\0")] {
        said(database(vec![words.to_vec()]).0, Side::Config, false, not_mysql);
    }
    said(database_within(brief(), vec![Vec::new()]).0, Side::Server, true, "it does not greet as MySQL does");
    said(
        database_within(brief(), vec![greeting("mysql_native_password")]).0,
        Side::Server,
        true,
        "does not answer in time",
    );
    let (config, secrets) = config("host: 127.0.0.1, port: 1, user: u, password: s3cret", "host: 127.0.0.1, port: 1");
    let outcome = connect(&nowhere(), config.database.external().unwrap(), &secrets, patience());
    said(
        outcome,
        Side::Network,
        true,
        "database 127.0.0.1:1: nobody listens there: start the server, or check database.host",
    );
    let outcome = check(&nowhere(), config.redis.external().unwrap(), &secrets, "i-1", patience());
    said(outcome, Side::Network, true, "redis 127.0.0.1:1: nobody listens there");
}

#[test]
fn a_database_that_cannot_answer_now_is_told() {
    let greeted = |answer: Vec<u8>| database(vec![greeting("mysql_native_password"), answer]).0;
    said(database(vec![error(0, 1040, "Too many connections")]).0, Side::Server, true, "too many connections");
    said(greeted(error(2, 1129, "Host is blocked")), Side::Server, true, "FLUSH HOSTS");
    said(greeted(error(2, 1130, "Host not allowed")), Side::Config, false, "from this node's address");
    let insecure = error(2, 3159, "Connections using insecure transport are prohibited");
    said(greeted(insecure), Side::Config, false, "set database.tls: verify");
    let wsrep = error(2, 1047, "WSREP has not yet prepared node for application use");
    said(greeted(wsrep), Side::Server, true, "not in a group that may answer");
    said(greeted(error(2, 9999, "odd \x1b[2J words")), Side::Server, true, "error 9999: odd  [2J words");
    said(greeted(vec![0xff, 0xff, 0xff, 0]), Side::Server, true, "it answers what no MySQL server would");
    let endless = |answer: Vec<u8>| vec![greeting("mysql_native_password"), message(2, &[0, 0, 0]), answer];
    said(database(endless(message(1, &[0xfb, b'x']))).0, Side::Server, true, "it answers what no MySQL server would");
    said(database_within(brief(), endless(message(1, &[0xfe; 9]))).0, Side::Server, true, "does not answer in time");
}

#[test]
fn methods_of_mysql_8_need_tls_when_the_password_is_not_remembered() {
    let method = "caching_sha2_password";
    let full = vec![greeting(method), message(2, &[1, 4])];
    let (outcome, heard) = database(full);
    said(
        outcome,
        Side::Config,
        false,
        "user harbor must log in with caching_sha2_password, which needs TLS: ALTER USER",
    );
    assert!(!heard.windows(6).any(|part| part == b"s3cret"), "the password went in the clear");
    // Remembered: it goes on to the first question.
    let (outcome, _) =
        database_within(brief(), vec![greeting(method), [message(2, &[1, 3]), message(3, &[0, 0, 0])].concat()]);
    said(outcome, Side::Server, true, "does not answer in time");
    // Whatever the server asks for, the password does not go in the clear.
    let switch = |name: &str| message(2, &[&[0xfe], name.as_bytes(), b"\0abcdefghijklmnopqrst\0"].concat());
    for name in ["mysql_clear_password", "sha256_password", "dialog", "client_ed25519"] {
        let (outcome, heard) = database(vec![greeting(method), switch(name)]);
        said(outcome, Side::Config, false, &format!("user harbor must log in with {name}"));
        assert!(!heard.windows(6).any(|part| part == b"s3cret"), "{name}");
    }
}

#[test]
fn what_is_no_redis_is_told() {
    let one = |words: &[u8]| redis(patience(), vec![Vec::new(), words.to_vec()]);
    said(one(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Side::Config, false, "is not Redis, or speaks TLS only");
    said(one(b"\x15\x03\x03\x00\x02"), Side::Config, false, "set redis.tls: verify");
    said(redis(brief(), vec![Vec::new(), Vec::new()]), Side::Server, true, "does not answer in time");
    for (words, side, recoverable, expected) in [
        ("-LOADING Redis is loading the dataset in memory", Side::Server, true, "it is still loading its data"),
        ("-MASTERDOWN Link with MASTER is down", Side::Server, true, "it cannot answer now"),
        ("-MISCONF Errors writing to disk", Side::Server, true, "it cannot save its data"),
        ("-DENIED Redis is running in protected mode", Side::Config, false, "protected mode"),
        ("-ERR invalid password", Side::Config, false, "access denied: check redis.password"),
        ("-ERR Client sent AUTH, but no password is set", Side::Config, false, "it has no password, but one is given"),
        ("-ERR wrong number of arguments for 'auth' command", Side::Config, false, "it knows no user names"),
        ("-ERR unknown command \x1b[2J", Side::Server, true, "it refuses AUTH: ERR unknown command  [2J"),
    ] {
        said(one(format!("{words}\r\n").as_bytes()), side, recoverable, expected);
    }
    let ok = b"+OK\r\n".to_vec();
    let forgets = vec![Vec::new(), ok.clone(), ok.clone(), b"+PONG\r\n".to_vec(), ok.clone(), b"$-1\r\n".to_vec(), ok];
    said(redis(patience(), forgets), Side::Server, true, "it forgets at once what is written to it");
}
