//! `/api/v2.0/jobs`: core hands jobs to its own node's jobservice and asks it how they are.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use ureq::Agent;

use super::users::Gate;
use crate::env;
use crate::http::{self, Answer, Asked, text};

pub struct Jobs {
    agent: Agent,
    url: String,
    secret: String,
}

impl Jobs {
    pub fn from_environment() -> Result<Self> {
        let limit = Some(Duration::from_secs(30));
        let agent = Agent::config_builder().http_status_as_error(false).timeout_global(limit).build().new_agent();
        let (url, secret) = (env("JOBSERVICE_URL")?, format!("Harbor-Secret {}", env("CORE_SECRET")?));
        Ok(Self { agent, url: format!("{url}/api/v1/jobs"), secret })
    }

    /// `POST` with `{"repository", "tag", "seconds"}`, `GET /ID`, `GET /ID/log`.
    pub fn answer(&self, gate: &Gate, asked: &Asked, rest: &str, sent: &[u8]) -> Result<Answer> {
        let got = match (asked.method.as_str(), rest) {
            ("POST", "") => {
                let wish: Value = serde_json::from_slice(sent).context("a job is JSON")?;
                let wanted = |key: &str, other: Value| wish.get(key).cloned().unwrap_or(other);
                let job = json!({
                    "repository": wanted("repository", json!("")), "tag": wanted("tag", json!("latest")),
                    "seconds": wanted("seconds", json!(0)),
                });
                let request = self.agent.post(&self.url).header("Authorization", &self.secret);
                request.send(gate.sign_job(job).to_string())
            }
            ("GET", _) => self.agent.get(format!("{}{rest}", self.url)).header("Authorization", &self.secret).call(),
            _ => return Ok(text(405, "")),
        };
        let mut got = got.context("jobservice")?;
        let status = got.status().as_u16();
        Ok(http::with(text(status, &got.body_mut().read_to_string()?), "Content-Type", "application/json"))
    }
}
