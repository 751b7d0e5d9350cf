//! What nodes share besides images: repositories in the database, sessions in Redis.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder};
use redis::Commands as _;
use serde_json::Value;

/// How long a session lasts, in seconds.
const SESSION: u64 = 3600;
const TIME: Duration = Duration::from_secs(5);

/// Connects to the database that the settings name.
pub fn database(settings: &Value) -> Result<Conn> {
    let text = |key: &str| settings.get(key).and_then(Value::as_str).map(str::to_owned);
    let port = settings.get("mysql_port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let options = OptsBuilder::new()
        .ip_or_hostname(text("mysql_host"))
        .tcp_port(port.unwrap_or(3306))
        .user(text("mysql_username"))
        .pass(text("mysql_password"))
        .db_name(text("mysql_database"))
        .tcp_connect_timeout(Some(TIME))
        .read_timeout(Some(TIME))
        .prefer_socket(false);
    Conn::new(options).context("the database")
}

/// The repositories that the database knows.
pub fn repositories(database: &mut Conn) -> Result<Vec<String>> {
    database.query("select name from repository order by name").context("table repository")
}

pub fn add(database: &mut Conn, name: &str) -> Result<()> {
    let statement = "insert ignore into repository (name, project_id, owner_id, creation_time) values (?, 1, 1, now())";
    database.exec_drop(statement, (name,)).context("table repository")
}

pub fn remove(database: &mut Conn, name: &str) -> Result<()> {
    database.exec_drop("delete from repository where name = ?", (name,)).context("table repository")
}

/// Sessions: in Redis, which nodes share, or in memory without one, as Harbor 1.1 has it.
pub enum Sessions {
    Redis(redis::Client),
    Memory(Mutex<BTreeMap<String, String>>),
}

impl Sessions {
    /// `url` is `HOST:PORT,POOL,PASSWORD,DB`, as the web framework of Harbor splits it.
    pub fn new(url: Option<&str>) -> Result<Self> {
        let Some(url) = url else { return Ok(Self::Memory(Mutex::default())) };
        let parts: Vec<&str> = url.split(',').collect();
        let address = parts.first().copied().unwrap_or_default();
        let (host, port) = address.rsplit_once(':').context("_REDIS_URL has no port")?;
        let part = |i: usize| parts.get(i).copied().unwrap_or_default();
        let info = redis::ConnectionInfo {
            addr: redis::ConnectionAddr::Tcp(host.to_owned(), port.parse()?),
            redis: redis::RedisConnectionInfo {
                db: part(3).parse().unwrap_or(0),
                password: Some(part(2).to_owned()).filter(|password| !password.is_empty()),
                ..Default::default()
            },
        };
        Ok(Self::Redis(redis::Client::open(info)?))
    }

    pub fn ping(&self) -> Result<()> {
        let Self::Redis(redis) = self else { return Ok(()) };
        redis::cmd("PING").query::<String>(&mut connect(redis)?).map(|_| ()).context("Redis")
    }

    pub fn begin(&self, id: &str, user: &str) -> Result<()> {
        match self {
            Self::Redis(redis) => {
                connect(redis)?.set_ex::<_, _, ()>(format!("session-{id}"), user, SESSION).context("Redis")
            }
            Self::Memory(sessions) => {
                sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), user.to_owned());
                Ok(())
            }
        }
    }

    pub fn user(&self, id: &str) -> Result<Option<String>> {
        match self {
            Self::Redis(redis) => connect(redis)?.get(format!("session-{id}")).context("Redis"),
            Self::Memory(sessions) => Ok(sessions.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()),
        }
    }
}

fn connect(redis: &redis::Client) -> Result<redis::Connection> {
    redis.get_connection_with_timeout(TIME).context("Redis")
}
