//! The queue of jobs in Redis, which every node's jobservice takes from; and jobs of a jobservice that died.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use redis::{Client, Commands as _, Connection};
use serde_json::{Value, json};

use super::secrets::word;
use super::sessions::{client, connect};

/// A jobservice that has not said for so long that it is alive is dead, in seconds.
const DEAD: u64 = 10;
/// How often a job is tried.
const TRIES: u64 = 4;
/// The pause before a job is tried again, in seconds.
const PAUSE: u64 = 30;

/// One jobservice's view of the queue.
pub struct Queue {
    client: Client,
    prefix: String,
    /// This jobservice, since its start.
    pool: String,
}

impl Queue {
    pub fn new(url: &str, namespace: &str) -> Result<Self> {
        Ok(Self { client: client(url)?, prefix: format!("{{{namespace}}}"), pool: word(16)? })
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    fn busy(&self, pool: &str) -> String {
        self.key(&format!("busy:{pool}"))
    }

    pub fn connect(&self) -> Result<Connection> {
        connect(&self.client)
    }

    pub fn ping(&self) -> Result<()> {
        redis::cmd("PING").query::<String>(&mut self.connect()?).map(|_| ()).context("Redis")
    }

    /// Says that this jobservice is alive.
    pub fn beat(&self) -> Result<()> {
        let mut redis = self.connect()?;
        redis.sadd::<_, _, ()>(self.key("pools"), &self.pool)?;
        Ok(redis.set_ex::<_, _, ()>(self.key(&format!("alive:{}", self.pool)), 1, DEAD)?)
    }

    pub fn add(&self, mut job: Value) -> Result<String> {
        let id = word(24)?;
        job["id"] = json!(id);
        let mut redis = self.connect()?;
        redis.hset_multiple::<_, _, _, ()>(
            self.key(&format!("job:{id}")),
            &[("job", job.to_string()), ("status", "Pending".into())],
        )?;
        redis.lpush::<_, _, ()>(self.key("jobs"), &id)?;
        Ok(id)
    }

    /// The next job, if one comes within a second. Until it is done it is in this jobservice's list.
    pub fn take(&self, redis: &mut Connection) -> Result<Option<Value>> {
        let id: Option<String> = redis.brpoplpush(self.key("jobs"), self.busy(&self.pool), 1.0)?;
        let Some(id) = id else { return Ok(None) };
        let job: String = redis.hget(self.key(&format!("job:{id}")), "job")?;
        self.set(redis, &id, "Running", "")?;
        Ok(Some(serde_json::from_str(&job)?))
    }

    fn set(&self, redis: &mut Connection, id: &str, status: &str, error: &str) -> Result<()> {
        let fields = [("status", status), ("error", error), ("pool", &self.pool)];
        Ok(redis.hset_multiple::<_, _, _, ()>(self.key(&format!("job:{id}")), &fields)?)
    }

    /// Says how a job ended. One that failed is tried again later, by whoever takes it then.
    pub fn end(&self, redis: &mut Connection, id: &str, error: Option<&str>) -> Result<()> {
        match error {
            None => self.set(redis, id, "Success", "")?,
            Some(error) => {
                let tries: u64 = redis.hincr(self.key(&format!("job:{id}")), "tries", 1)?;
                self.set(redis, id, if tries < TRIES { "Scheduled" } else { "Error" }, error)?;
                if tries < TRIES {
                    redis.zadd::<_, _, _, ()>(self.key("later"), id, now()? + PAUSE)?;
                }
            }
        }
        Ok(redis.lrem::<_, _, ()>(self.busy(&self.pool), 1, id)?)
    }

    /// Puts what waited long enough back into the queue.
    pub fn release(&self) -> Result<()> {
        let mut redis = self.connect()?;
        let due: Vec<String> = redis.zrangebyscore(self.key("later"), 0, now()?)?;
        for id in due {
            // Whoever removes it puts it back: once.
            if redis.zrem::<_, _, u64>(self.key("later"), &id)? == 1 {
                redis.lpush::<_, _, ()>(self.key("jobs"), &id)?;
            }
        }
        Ok(())
    }

    /// Puts the jobs of jobservices that died back into the queue.
    pub fn reap(&self) -> Result<()> {
        let mut redis = self.connect()?;
        let pools: Vec<String> = redis.smembers(self.key("pools"))?;
        for pool in pools {
            if redis.exists(self.key(&format!("alive:{pool}")))? {
                continue;
            }
            while let Some(id) = redis.rpoplpush::<_, _, Option<String>>(self.busy(&pool), self.key("jobs"))? {
                println!("Retrying job {id} of a jobservice that died");
            }
            redis.srem::<_, _, ()>(self.key("pools"), &pool)?;
        }
        Ok(())
    }

    /// What is known of a job, without its secret.
    pub fn told(&self, id: &str) -> Result<Option<Value>> {
        let mut redis = self.connect()?;
        let fields: std::collections::BTreeMap<String, String> = redis.hgetall(self.key(&format!("job:{id}")))?;
        let Some(status) = fields.get("status") else { return Ok(None) };
        let text = |key: &str| fields.get(key).cloned().unwrap_or_default();
        Ok(Some(
            json!({"id": id, "status": status, "error": text("error"), "tries": text("tries"), "run_by": text("pool")}),
        ))
    }
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
