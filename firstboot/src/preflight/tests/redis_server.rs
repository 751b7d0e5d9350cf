//! Redis: logins, and writing.

use super::servers::Server;
use super::*;
use crate::preflight::redis::check;
use crate::preflight::resp::{Answer, Client};
use crate::test_authority::Authority;

fn look(server: &Server, more: &str) -> Result<RedisState, Fault> {
    look_at("127.0.0.1", server.port, more)
}

fn look_at(host: &str, port: u16, more: &str) -> Result<RedisState, Fault> {
    let (config, secrets) = config("host: x, user: u, password: x", &format!("host: {host}, port: {port}{more}"));
    check(&nowhere(), config.redis.external().unwrap(), &secrets, "i-1", patience())
}

const PASSWORD: &str = ", password: s3cret-redis";

#[test]
fn redis_is_logged_in_to_and_written() {
    let directory = tempfile::tempdir().unwrap();
    let acl = "user default on >s3cret-redis ~* &* +@all\nuser harbor on >s3cret-harbor ~* &* +@all -info\nuser reader on \
               >s3cret-reader ~* &* +@all -set\nuser narrow on >s3cret-narrow ~sessions:* &* +@all\n";
    std::fs::write(directory.path().join("users.acl"), acl).unwrap();
    let users = format!("--port {{port}} --aclfile {}/users.acl", directory.path().display());
    let server = Server::redis(directory, &users);
    let state = look(&server, PASSWORD).unwrap();
    assert!(state.version.as_deref().is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())));
    let user = |name: &str| format!(", username: {name}, password: s3cret-{name}");
    assert_eq!(look(&server, &(user("harbor") + ", db: 5")).unwrap(), RedisState { version: None });
    for (more, words) in [
        (String::new(), "it wants a password: give redis.password"),
        (", password: s3cret-wrong".to_owned(), "access denied for user default: check redis.username"),
        (user("nobody"), "access denied for user nobody"),
        (user("reader"), "user reader may not use SET"),
        (user("narrow"), "user narrow may not use SET"),
        (format!("{PASSWORD}, db: 16"), "it has no database 16: check redis.db"),
    ] {
        said(look(&server, &more), Side::Config, false, words);
    }

    let mut admin = Client::new(dial::connect("127.0.0.1", server.port, patience()).unwrap());
    let ok = Answer::Text("OK".to_owned());
    assert_eq!(admin.ask(&["AUTH", "s3cret-redis"]).unwrap(), ok);
    assert_eq!(admin.ask(&["DBSIZE"]).unwrap(), Answer::Text("0".to_owned()), "no key is left");
    for (set, unset, words) in [
        (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"], "it is out of memory"),
        (
            ["CONFIG", "SET", "min-replicas-to-write", "1"],
            ["CONFIG", "SET", "min-replicas-to-write", "0"],
            "too few replicas",
        ),
        (["CONFIG", "SET", "maxclients", "1"], ["CONFIG", "SET", "maxclients", "100"], "it has too many clients"),
    ] {
        assert_eq!(admin.ask(&set).unwrap(), ok);
        said(look(&server, PASSWORD), Side::Server, true, words);
        assert_eq!(admin.ask(&unset).unwrap(), ok);
    }
    // A replica of nobody who can be reached.
    assert_eq!(admin.ask(&["REPLICAOF", "127.0.0.1", "1"]).unwrap(), ok);
    said(look(&server, PASSWORD), Side::Server, true, "it is a replica, which cannot be written to: use the primary");
    assert_eq!(admin.ask(&["REPLICAOF", "NO", "ONE"]).unwrap(), ok);
    assert!(look(&server, PASSWORD).is_ok());
    let with_tls = format!("{PASSWORD}, tls: verify, ca: {}", quoted(&Authority::new().pem()));
    let short = Patience { total: Duration::from_secs(2), ..patience() };
    let (config, secrets) =
        config("host: x, user: u, password: x", &format!("host: 127.0.0.1, port: {}{with_tls}", server.port));
    let outcome = check(&nowhere(), config.redis.external().unwrap(), &secrets, "i-1", short);
    assert!(outcome.is_err(), "TLS to a server without: {outcome:?}");
}

#[test]
fn a_server_without_password_or_in_a_cluster_is_told() {
    let server = Server::redis(tempfile::tempdir().unwrap(), "--port {port}");
    assert!(look(&server, "").is_ok());
    said(look(&server, PASSWORD), Side::Config, false, "it has no password, but one is given");
    let server = Server::redis(tempfile::tempdir().unwrap(), "--port {port} --cluster-enabled yes --cluster-port 0");
    said(look(&server, ", db: 1"), Side::Config, false, "it is a Redis Cluster, which Harbor cannot use");
}

#[test]
fn tls_is_verified() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (certificate, key) = authority.issue("127.0.0.1").write(directory.path());
    let options = format!(
        "--port 0 --tls-port {{port}} --tls-auth-clients no --tls-cert-file {0} --tls-key-file {1} --tls-ca-cert-file {0}",
        certificate.display(),
        key.display()
    );
    let server = Server::redis(directory, &options);
    assert!(server.directory().join("server.key").is_file());
    let ca = |authority: &Authority| format!(", tls: verify, ca: {}", quoted(&authority.pem()));
    assert!(look(&server, &ca(&authority)).is_ok());
    said(look(&server, &ca(&Authority::new())), Side::Config, false, "give the authority that signed it: redis.ca");
    said(look_at("localhost", server.port, &ca(&authority)), Side::Config, false, "is for another name");
    let clear = look(&server, "").unwrap_err();
    assert!(clear.to_string().contains("speaks TLS only") || clear.to_string().contains("closed"), "{clear}");
}
