//! How each version is told of Redis: sessions, and from 1.5 on jobs, and from 1.6 on the registry's cache.
//!
//! Facts are from goharbor/harbor at the tags v1.1.2 to v1.7.8: `make/prepare`, `make/common/templates`,
//! `src/jobservice/config` and beego's session store.

use super::super::{Inputs, check_redis_password};
use super::bracketed;
use crate::schema::Redis;
use crate::strict::Mistake;

/// What the templates say of Redis.
#[derive(Debug, Default)]
pub(super) struct Address {
    /// Variables.
    pub(super) values: Vec<(&'static str, String)>,
    /// `redis_url` of the job service's configuration, from 1.5 on.
    pub(super) jobs: Option<String>,
}

impl Address {
    /// `indexes` is `redis_db_index` of `harbor.cfg`, from 1.6 on: registry, jobs, charts.
    pub(super) fn of(inputs: &Inputs<'_>, indexes: Option<&str>) -> Result<Self, Mistake> {
        let numbers = inputs.version.numbers();
        let external = inputs.config.redis.external();
        let password = match external {
            Some(redis) => password(redis, inputs)?,
            None => String::new(),
        };
        if numbers < (1, 6, 0) {
            let list = sessions(inputs)?;
            let jobs = match external {
                // Harbor 1.5 means to make this of the list, but leaves a list alone whose host is a name, and then looks for
                // a port `6379,100,…` (`src/jobservice/config/config.go`).
                Some(redis) => url(redis, "arbitrary_username", &password, &redis.db.to_string()),
                None => BUNDLED.to_owned(),
            };
            // 1.5 brings a Redis; before it, sessions are in the core's memory.
            let bundled = if numbers < (1, 5, 0) { "" } else { BUNDLED };
            let values = vec![("redis_url", list.unwrap_or_else(|| bundled.to_owned()))];
            return Ok(Self { values, jobs: (numbers >= (1, 5, 0)).then_some(jobs) });
        }
        let indexes: Vec<&str> = indexes.unwrap_or("1,2,3").split(',').map(str::trim).collect();
        let [registry, jobs, _] = indexes.as_slice() else {
            return Err(super::broken("harbor.cfg", "redis_db_index is not three numbers"));
        };
        let of = |index: &str| match external {
            Some(redis) => url(redis, "anonymous", &password, index),
            None => format!("redis://{BUNDLED}/{index}"),
        };
        let (host, port) = external.map_or(("redis".into(), 6379), |redis| (bracketed(&redis.host), redis.port));
        let values = vec![
            ("redis_host", host),
            ("redis_port", port.to_string()),
            ("redis_password", password.clone()),
            ("redis_db_index_reg", (*registry).to_owned()),
            ("redis_url_reg", of(registry)),
        ];
        Ok(Self { values, jobs: Some(of(jobs)) })
    }
}

/// The service of the bundle's compose file, from 1.5 on.
const BUNDLED: &str = "redis:6379";

/// `HOST:PORT,POOL,PASSWORD,DB`, as the web framework's session store splits it: at commas. Nothing without a Redis outside.
pub(super) fn sessions(inputs: &Inputs<'_>) -> Result<Option<String>, Mistake> {
    let Some(redis) = inputs.config.redis.external() else { return Ok(None) };
    let password = password(redis, inputs)?;
    Ok(Some(format!("{}:{},100,{password},{}", bracketed(&redis.host), redis.port, redis.db)))
}

fn url(redis: &Redis, user: &str, password: &str, index: &str) -> String {
    let login = if password.is_empty() { String::new() } else { format!("{user}:{password}@") };
    format!("redis://{login}{}:{}/{index}", bracketed(&redis.host), redis.port)
}

/// The password, if every place that this version puts it in leaves it whole.
fn password(redis: &Redis, inputs: &Inputs<'_>) -> Result<String, Mistake> {
    if redis.password.is_none() {
        return Ok(String::new());
    }
    let password = inputs.need("redis.password")?;
    check_redis_password(inputs.version, &password)?;
    Ok(password)
}
