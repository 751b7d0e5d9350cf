//! Sessions in Redis, which nodes share.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use redis::{Client, Commands as _, Connection};

use crate::ui::pause;

/// How long a session lasts, in seconds.
const SESSION: u64 = 3600;
const TIME: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Sessions(Client);

impl Sessions {
    /// `redis://[USER]:PASSWORD@HOST:PORT/DB`.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self(client(url)?))
    }

    /// Waits for Redis, a minute.
    pub fn wait(&self) -> Result<()> {
        let begun = Instant::now();
        while let Err(error) = self.ping() {
            if begun.elapsed() >= PATIENCE {
                bail!("failed to initialize cache: retry timeout");
            }
            eprintln!("failed to ping redis, retry: {error:#}");
            pause(TIME);
        }
        Ok(())
    }

    pub fn ping(&self) -> Result<()> {
        redis::cmd("PING").query::<String>(&mut connect(&self.0)?).map(|_| ()).context("Redis")
    }

    /// Every request without a session begins one, as in Harbor.
    pub fn begin(&self, id: &str, user: &str) -> Result<()> {
        connect(&self.0)?.set_ex::<_, _, ()>(key(id), user, SESSION).context("Redis")
    }

    pub fn user(&self, id: &str) -> Result<Option<String>> {
        let user: Option<String> = connect(&self.0)?.get(key(id)).context("Redis")?;
        Ok(user.filter(|user| !user.is_empty()))
    }

    pub fn end(&self, id: &str) -> Result<()> {
        connect(&self.0)?.del::<_, ()>(key(id)).context("Redis")
    }
}

fn key(id: &str) -> String {
    format!("session:{id}")
}

pub fn client(url: &str) -> Result<Client> {
    Client::open(url).with_context(|| "a URL of Redis that is none".to_owned())
}

pub fn connect(client: &Client) -> Result<Connection> {
    let connection = client.get_connection_with_timeout(TIME).context("Redis")?;
    connection.set_read_timeout(Some(TIME))?;
    connection.set_write_timeout(Some(TIME))?;
    Ok(connection)
}
