//! Redis: logged in to, and written to.

use std::io;

use super::resp::{Answer, Client};
use super::{Fault, Service, Side, secret, words};
use crate::host::Host;
use crate::host::dial::{Failure, Patience};
use crate::secrets::Resolved;
use contract::schema::Redis;

/// How long the key stays that proves writing, should this node die before it removes it; in seconds.
const EXPIRY: &str = "60";

/// What a login to Redis showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RedisState {
    /// The server's version; none: this user may not ask for it.
    pub(crate) version: Option<String>,
}

/// Logs in as Harbor will, and writes, reads and removes a key of this instance's.
pub(crate) fn check(
    host: &Host,
    config: &Redis,
    secrets: &Resolved,
    instance: &str,
    patience: Patience,
) -> Result<RedisState, Fault> {
    let service =
        Service { key: "redis", kind: "Redis", host: config.host.clone(), port: config.port, tls: None, patience };
    let service = service.guarded(host, config.tls, secrets.get("redis.ca"))?;
    let mut wire = service.connect()?;
    if let Some(client) = service.tls.clone() {
        wire = wire.secure(client, &service.host).map_err(|error| service.failed(Failure::from(&error)))?;
    }
    let mut login = Login { service: &service, config, client: Client::new(wire) };
    if config.password.is_some() {
        let password = secret(&service, secrets, "redis.password")?.expose();
        match config.username.as_str() {
            "" => login.tell(&["AUTH", password])?,
            user => login.tell(&["AUTH", user, password])?,
        };
    }
    login.tell(&["SELECT", &config.db.to_string()])?;
    login.tell(&["PING"])?;
    login.write(instance)?;
    Ok(RedisState { version: login.version() })
}

struct Login<'s> {
    service: &'s Service,
    config: &'s Redis,
    client: Client,
}

impl Login<'_> {
    /// A command that must not be refused.
    fn tell(&mut self, command: &[&str]) -> Result<Answer, Fault> {
        match self.client.ask(command) {
            Ok(Answer::Refused(said)) => Err(self.refused(command[0], &said)),
            Ok(answer) => Ok(answer),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(match self.service.tls {
                // What a server of TLS sends to a client that speaks in the clear is not Redis' protocol either.
                None => {
                    let fault = self.service.config("what answers there is not Redis, or speaks TLS only");
                    fault.advice("check redis.port, or set redis.tls: verify")
                }
                Some(_) => self.service.not_it(),
            }),
            Err(error) => Err(self.service.failed(Failure::from(&error))),
        }
    }

    /// The process's own key: two looks at a time do not meet.
    fn write(&mut self, instance: &str) -> Result<(), Fault> {
        let key = format!("habuild:preflight:{instance}:{}", std::process::id());
        self.tell(&["SET", &key, instance, "EX", EXPIRY])?;
        let read = self.tell(&["GET", &key])?;
        self.tell(&["DEL", &key])?;
        if read != Answer::Text(instance.to_owned()) {
            return Err(self
                .service
                .server("it forgets at once what is written to it")
                .advice("look at maxmemory there"));
        }
        Ok(())
    }

    fn version(&mut self) -> Option<String> {
        let Ok(Answer::Text(info)) = self.client.ask(&["INFO", "server"]) else { return None };
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"))?;
        Some(words(version))
    }

    /// What a refusal means, told by its first word, which Redis keeps from version to version.
    fn refused(&self, command: &str, said: &str) -> Fault {
        let (service, db) = (self.service, self.config.db);
        let user = if self.config.username.is_empty() { "default" } else { &self.config.username };
        let said = words(said);
        let lower = said.to_lowercase();
        match said.split_whitespace().next().unwrap_or_default() {
            "NOAUTH" => service.config("it wants a password").advice("give redis.password"),
            "WRONGPASS" => service
                .config(format!("access denied for user {user}"))
                .advice("check redis.username and redis.password"),
            "NOPERM" => service
                .config(format!("user {user} may not use {command}, as Harbor's sessions do"))
                .advice("let the user use all keys and commands there: ACL SETUSER NAME ~* +@all"),
            "DENIED" => service
                .config("it takes logins from its own machine only (protected mode)")
                .advice("set a password there"),
            "READONLY" => service.server("it is a replica, which cannot be written to").advice("use the primary"),
            "LOADING" => service.server("it is still loading its data"),
            "OOM" => service.server("it is out of memory").advice("raise maxmemory there, or let it evict keys"),
            "MISCONF" => {
                service.server("it cannot save its data, and takes no writes").advice("look at its disk and its log")
            }
            "NOREPLICAS" => service.server("it has too few replicas to take writes"),
            "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" | "TRYAGAIN" => {
                service.server(format!("it cannot answer now ({said})"))
            }
            "MOVED" | "ASK" | "CROSSSLOT" => cluster(service),
            _ if lower.contains("cluster mode") => cluster(service),
            _ if lower.contains("db index") => {
                service.config(format!("it has no database {db}")).advice("check redis.db, or raise databases there")
            }
            _ if lower.contains("max number of clients") => {
                service.server("it has too many clients").advice("raise maxclients there")
            }
            // Before Redis 6: passwords only.
            _ if command == "AUTH" && lower.contains("invalid password") => {
                service.config("access denied").advice("check redis.password")
            }
            _ if command == "AUTH" && (lower.contains("no password") || lower.contains("without any password")) => {
                service
                    .config("it has no password, but one is given")
                    .advice("set it there (requirepass), or leave redis.password out")
            }
            _ if command == "AUTH" && lower.contains("wrong number") => {
                service.config("it knows no user names (before Redis 6)").advice("leave redis.username out")
            }
            _ => service.fault(Side::Server, true, format!("it refuses {command}: {said}")),
        }
    }
}

fn cluster(service: &Service) -> Fault {
    service.config("it is a Redis Cluster, which Harbor cannot use").advice("use a single server, or one with replicas")
}
