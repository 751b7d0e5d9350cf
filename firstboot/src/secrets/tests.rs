//! Node configs resolved against files of a directory and an https server on loopback.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::*;
use crate::stores::MOST;
use crate::test_authority::Authority;

/// A store: answers by path, and remembers what it was asked.
struct Store {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Without TLS where there is no configuration.
    fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, ended) = (asked.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let Some(tls) = &tls else {
                    let _ = refuse(stream);
                    continue;
                };
                let connection = ServerConnection::new(tls.clone()).unwrap();
                let _ = serve(StreamOwned::new(connection, stream), port, &log);
            }
        });
        Self { port, asked, stop, thread: Some(thread) }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What a server of http says to a client that begins with TLS.
fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let _ = stream.read(&mut [0; 1024])?;
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
}

/// Answers one request and closes the connection.
fn serve(stream: impl Read + Write, port: u16, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut path, mut bearer) = (String::new(), false);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        bearer |= line.trim().eq_ignore_ascii_case("authorization: bearer t0ken");
        if let Some(rest) = line.strip_prefix("GET ") {
            path = rest.split(' ').next().unwrap_or_default().to_owned();
        }
    }
    log.lock().unwrap().push(path.clone());
    let to = |place: String| (302, format!("Location: {place}\r\n"), Vec::new());
    let ok = |body: &str| (200, String::new(), body.as_bytes().to_vec());
    let (status, headers, body) = match path.as_str() {
        "/line" => ok("s3cret\n"),
        "/json?v=1" => ok(r#"{"db":"s3cret-db","redis":{"password":"s3cret-redis"}}"#),
        "/guarded" if bearer => ok("s3cret"),
        "/guarded" => (401, String::new(), b"s3cret in a page".to_vec()),
        "/moved" => to("/line".into()),
        "/away" => to(format!("https://127.0.0.1:{}/line", port ^ 1)),
        "/plain" => to(format!("http://127.0.0.1:{port}/line")),
        "/round" => to("/round".into()),
        "/busy" => (429, String::new(), Vec::new()),
        "/down" => (503, String::new(), Vec::new()),
        "/large" => ok(&"x".repeat(MOST)),
        "/huge" => ok(&"x".repeat(MOST + 1)),
        "/empty" => ok(""),
        "/binary" => (200, String::new(), vec![0xff, 0xfe]),
        "/slow" => {
            // Says nothing until the client has gone.
            let _ = stream.read(&mut [0]);
            return Ok(());
        }
        _ => (404, String::new(), Vec::new()),
    };
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.get_mut().write_all(head.as_bytes())?;
    stream.get_mut().write_all(&body)?;
    stream.get_mut().flush()
}

/// A node: the database's password and Redis' are what the test gives.
struct Node {
    root: TempDir,
    authority: Authority,
}

impl Node {
    fn new() -> Self {
        let node = Self { root: tempfile::tempdir().unwrap(), authority: Authority::new() };
        node.write("/ca.pem", &node.authority.pem());
        node
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn store(&self) -> Store {
        Store::start(Some(self.authority.issue("127.0.0.1").server()))
    }

    fn attempt(&self, database: &str, redis: &str, answers: &Answers) -> Attempt {
        let text = format!(
            "version: 1\ncluster: hub\nharbor: {{external_url: http://hub, admin_password: s3cret-admin}}\nstorage: \
             {{local: {{path: /var/lib/harbor/share}}}}\ndatabase: {{kind: mysql, host: db, user: u, password: \
             \"{database}\"}}\nredis: {{host: redis, password: \"{redis}\"}}\n"
        );
        // Only what never answers is waited for briefly: a busy machine is slow to answer.
        let total = if database.contains("/slow") { Duration::from_secs(2) } else { Duration::from_secs(60) };
        let limits = Limits { connect: Duration::from_secs(30), total };
        let config = schema::parse(&text).unwrap();
        let attempt = resolve_within(&Host::new(self.root.path()), &config, answers, &limits);
        assert!(!format!("{attempt:?} {answers:?}").contains("s3cret"), "{attempt:?}");
        assert_eq!(attempt.resolved.get("harbor.admin_password"), Some(&Secret::new("s3cret-admin")));
        attempt
    }

    /// What a reference as the database's password comes to: the secret, or what is said and whether it may pass.
    fn one(&self, reference: &str) -> Result<String, (String, bool)> {
        let mut attempt = self.attempt(reference, "literal", &Answers::default());
        match attempt.errors.pop() {
            None => Ok(attempt.resolved.get("database.password").unwrap().expose().to_owned()),
            Some(error) => {
                assert_eq!(error.key, "database.password");
                assert!(error.to_string().starts_with("database.password: ref+"), "{error}");
                Err((error.to_string(), error.recoverable))
            }
        }
    }

    /// Fails unless a reference is refused with these words.
    fn refused(&self, reference: &str, words: &str, recoverable: bool) {
        let (said, passes) = self.one(reference).unwrap_err();
        assert!(said.contains(words), "{reference}: {said}");
        assert_eq!(passes, recoverable, "{said}");
    }
}

#[test]
fn files_are_read_and_judged() {
    let node = Node::new();
    node.write("/run/line", "s3cret\n");
    node.write("/run/crlf", "s3cret\r\n");
    node.write("/run/two", "s3cret\n\n");
    node.write("/run/blank", "\n");
    node.write("/run/empty", "");
    node.write("/run/all.yaml", "db: {password: 's3cret: x'}\nkeys: [s3cret]\n");
    node.write("/run/large", &"x".repeat(MOST));
    assert_eq!(node.one("ref+file:///run/line").as_deref(), Ok("s3cret"));
    assert_eq!(node.one("ref+file:///run/crlf").as_deref(), Ok("s3cret"));
    assert_eq!(node.one("ref+file:///run/all.yaml#/db/password").as_deref(), Ok("s3cret: x"));
    for (reference, words, recoverable) in [
        ("ref+file:///run/two", "what is kept there ends with a line break", false),
        ("ref+file:///run/blank", "is empty", false),
        ("ref+file:///run/empty", "/run/empty is empty", true),
        ("ref+file:///run/none", "there is no file /run/none", true),
        ("ref+file:///run", "/run is not a regular file", false),
        ("ref+file:///run/large", "1 MiB or more", false),
        ("ref+file:///run/all.yaml#/db/pasword", "has no /db/pasword (did you mean password?)", false),
        ("ref+file:///run/all.yaml#/db", "/db is a map or a list, must be one value", false),
        ("ref+file:///run/all.yaml", "what is kept there holds a line break", false),
        ("ref+file:///run/line#/x", "is one value, with no keys in it", false),
        ("ref+awsssm://harbor/db", "ref+awsssm:// is not in this version", false),
    ] {
        node.refused(reference, words, recoverable);
    }
    fs::set_permissions(node.root.path().join("run/line"), fs::Permissions::from_mode(0o640)).unwrap();
    let attempt = node.attempt("ref+file:///run/line", "ref+file:///run/line", &Answers::default());
    assert_eq!(attempt.warnings, ["/run/line: others may read this secret (chmod 600 /run/line)"]);
}

#[test]
fn what_is_resolved_obeys_the_rule_of_its_key() {
    let check = |key: &str, text: &str| {
        let SecretValue::Reference(reference) = &"ref+file:///x".to_owned().try_into_value() else { panic!() };
        value_of(key, reference, &Secret::new(text)).map(|secret| secret.expose().to_owned())
    };
    assert_eq!(check("shared_secrets.secretkey", "s3cret0123456789\n").as_deref(), Ok("s3cret0123456789"));
    assert!(check("shared_secrets.secretkey", "s3cret").unwrap_err().what.ends_with("exactly 16 characters, has 6"));
    let pem = Authority::new().pem();
    assert_eq!(check("database.ca", &pem), Ok(pem));
    assert!(check("tls.key", "s3cret").unwrap_err().what.contains("is not PEM"));
    assert_eq!(check("harbor.settings.email_password", "a\nb\n").as_deref(), Ok("a\nb\n"));
}

/// The schema makes values only from a node config.
trait TryIntoValue {
    fn try_into_value(self) -> SecretValue;
}

impl TryIntoValue for String {
    fn try_into_value(self) -> SecretValue {
        let text = format!(
            "version: 1\ncluster: hub\nharbor: {{external_url: http://hub, admin_password: \"{self}\"}}\nstorage: \
             {{local: {{path: /var/lib/harbor/share}}}}\ndatabase: {{kind: mysql, host: db, user: u, password: \
             x}}\nredis: {{host: redis}}\n"
        );
        schema::parse(&text).unwrap().harbor.admin_password
    }
}

#[test]
fn https_answers_are_taken_or_told_apart() {
    let node = Node::new();
    let store = node.store();
    node.write("/token", "t0ken\n");
    node.write("/odd", "two words\n");
    let at = |path: &str| format!("ref+https://127.0.0.1:{}{path}", store.port);
    assert_eq!(node.one(&at("/line?ca_file=/ca.pem")).as_deref(), Ok("s3cret"));
    assert_eq!(node.one(&at("/guarded?ca_file=/ca.pem&token_file=/token")).as_deref(), Ok("s3cret"));
    assert_eq!(node.one(&at("/moved?ca_file=/ca.pem")).as_deref(), Ok("s3cret"));
    assert_eq!(node.one(&at("/json?v=1&ca_file=/ca.pem#/redis/password")).as_deref(), Ok("s3cret-redis"));
    for (path, words, recoverable) in [
        ("/guarded", "answers 401: access refused (give a token", false),
        ("/none", "answers 404: there is nothing at this address", false),
        ("/busy", "answers 429", true),
        ("/down", "answers 503: the server has trouble", true),
        ("/slow", "no answer in time", true),
        ("/away", "redirects to another server (127.0.0.1)", false),
        ("/plain", "redirects to another server", false),
        ("/round", "redirects in circles", false),
        ("/huge", "more than 1 MiB", false),
        ("/large#/x", "larger than 256 KiB", false),
        ("/empty", "the answer is empty", false),
        ("/binary", "is not UTF-8 text", false),
        ("/line#/x", "is one value, with no keys in it", false),
    ] {
        let (path, keys) =
            path.split_once('#').map_or((path, String::new()), |(path, keys)| (path, format!("#{keys}")));
        node.refused(&at(&format!("{path}?ca_file=/ca.pem{keys}")), words, recoverable);
    }
    node.refused(&at("/line?ca_file=/none.pem"), "there is no file /none.pem", true);
    node.refused(&at("/line?ca_file=/token"), "/token holds no certificate", false);
    node.refused(&at("/line?ca_file=/ca.pem&token_file=/odd"), "/odd holds no token", false);
    node.refused(&at("/line"), "/etc/ssl/certs/ca-certificates.crt cannot be read", false);
    node.write("/etc/ssl/certs/ca-certificates.crt", &format!("# all\n{}", node.authority.pem()));
    assert_eq!(node.one(&at("/line")).as_deref(), Ok("s3cret"));
}

#[test]
fn only_trusted_servers_are_asked() {
    let node = Node::new();
    let stranger = Authority::new();
    for (tls, words, recoverable) in [
        (Some(stranger.issue("127.0.0.1")), "an authority that is not trusted here (give the authority", false),
        (Some(node.authority.issue("store.internal")), "its certificate is for another name", false),
        (Some(node.authority.issue_until("127.0.0.1", 2001)), "its certificate has expired", true),
        (None, "does not speak TLS", false),
    ] {
        let store = Store::start(tls.map(|issued| issued.server()));
        node.refused(&format!("ref+https://127.0.0.1:{}/line?ca_file=/ca.pem", store.port), words, recoverable);
        assert!(!store.asked().contains(&"/line".to_owned()), "{words}: asked {:?}", store.asked());
    }
}

#[test]
fn an_address_is_asked_once_a_boot() {
    let node = Node::new();
    let store = node.store();
    let at = |rest: &str| format!("ref+https://127.0.0.1:{}/{rest}", store.port);
    let answers = Answers::default();
    let json = at("json?v=1&ca_file=/ca.pem#/db");
    for _ in 0..2 {
        let attempt = node.attempt(&json, &at("json?v=1&ca_file=/ca.pem#/redis/password"), &answers);
        assert_eq!(attempt.resolved.get("database.password"), Some(&Secret::new("s3cret-db")));
        assert_eq!(attempt.resolved.get("redis.password"), Some(&Secret::new("s3cret-redis")));
    }
    assert_eq!(store.asked(), ["/json?v=1"]);
    let attempt = node.attempt(&json, &at("down?ca_file=/ca.pem"), &answers);
    assert_eq!(attempt.errors.iter().map(|error| error.key.as_str()).collect::<Vec<_>>(), ["redis.password"]);
    assert_eq!(store.asked(), ["/json?v=1", "/down"]);
}

#[test]
fn a_server_that_is_away_is_tried_once_an_attempt() {
    let node = Node::new();
    let store = node.store();
    let at = |path: &str| format!("ref+https://127.0.0.1:{}{path}?ca_file=/ca.pem", store.port);
    let attempt = node.attempt(&at("/slow"), &at("/line"), &Answers::default());
    assert_eq!(attempt.errors.len(), 2);
    assert!(attempt.errors.iter().all(|error| error.recoverable && error.what == "no answer in time"));
    assert!(!store.asked().contains(&"/line".to_owned()), "{:?}", store.asked());
    // A port that nobody listens on: the store's own, once it has ended.
    let gone = format!("ref+https://127.0.0.1:{}/line?ca_file=/ca.pem", node.store().port);
    node.refused(&gone, "connect", true);
}
