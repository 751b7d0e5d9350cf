//! Mode `core2`: Harbor's core. Tokens, sessions, what was pushed; the registry behind it; how the components are.

use std::fs;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tiny_http::Request;

use super::compose::version;
use super::health::Health;
use super::jobs::Jobs;
use super::options;
use super::proxy::Proxy;
use super::users::{Gate, KEY, Who, unauthorized};
use crate::http::{self, Answer, Asked, body, text, with};
use crate::{env, token};

struct Core {
    gate: Arc<Gate>,
    proxy: Proxy,
    jobs: Jobs,
    health: Health,
    external_url: String,
}

/// Waits for database and Redis as Harbor does, migrates, serves.
pub fn run() -> Result<()> {
    println!("configuration {} of {} bytes", env("CONFIG_PATH")?, fs::read(env("CONFIG_PATH")?)?.len());
    let key = fs::read("/etc/core/key").context("/etc/core/key")?;
    ensure!(key.len() == 16, "crypto/aes: invalid key size {}", key.len());
    token::make(KEY, "", &[], 1)?;
    let gate = Arc::new(Gate::from_environment()?);
    gate.sessions.wait()?;
    gate.database.wait()?;
    gate.database.migrate()?;
    gate.database.set_admin(&env("HARBOR_ADMIN_PASSWORD")?)?;
    let core = Core {
        proxy: Proxy::from_environment()?,
        jobs: Jobs::from_environment()?,
        health: Health::watch(&gate)?,
        external_url: env("EXT_ENDPOINT")?,
        gate,
    };
    options::metrics()?;
    println!("serving on 8080");
    http::serve_each(8080, move |asked, request| {
        if let Err(error) = core.serve(&asked, request) {
            eprintln!("[ERROR] {} {}: {error:#}", asked.method, asked.path);
        }
    })
}

impl Core {
    fn serve(&self, asked: &Asked, mut request: Request) -> Result<()> {
        if asked.path == "/v2" || asked.path.starts_with("/v2/") {
            return self.proxy.handle(&self.gate, asked, request);
        }
        let sent = body(&mut request)?;
        let answer = match asked.path.as_str() {
            "/service/token" => self.gate.token(asked),
            _ => self.gate.guarded(asked, || self.answer(asked, &sent)),
        };
        let answer = answer.unwrap_or_else(|error| {
            eprintln!("[ERROR] {} {}: {error:#}", asked.method, asked.path);
            http::json(500, &json!({"errors": [{"code": "UNKNOWN", "message": "internal server error"}]}))
        });
        Ok(request.respond(answer)?)
    }

    fn answer(&self, asked: &Asked, sent: &[u8]) -> Result<Answer> {
        if let Some(rest) = asked.path.strip_prefix("/api/v2.0/jobs") {
            return match self.gate.who(asked)? {
                Who::Admin => self.jobs.answer(&self.gate, asked, rest, sent),
                _ => Ok(unauthorized("unauthorized")),
            };
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            (_, "/api/v2.0/ping") => Ok(with(text(200, "Pong"), "Content-Type", "text/plain")),
            (_, "/api/v2.0/health") => Ok(http::json(200, &self.health.told())),
            (_, "/api/version") => Ok(http::json(200, &json!({"version": "v2.0"}))),
            (_, "/api/v2.0/systeminfo") => Ok(http::json(200, &self.info(asked))),
            (_, "/api/internal/configurations") => Ok(if self.gate.is_internal(asked) {
                http::json(200, &json!({"token_expiration": 30, "auth_mode": "db_auth"}))
            } else {
                unauthorized("only internal service is allowed to call this API")
            }),
            ("POST", "/c/login") => self.gate.login(asked, sent),
            (_, "/c/log_out") => self.gate.logout(asked),
            ("GET", "/api/v2.0/users/current") => Ok(match self.gate.who(asked)? {
                Who::Admin => http::json(200, &json!({"user_id": 1, "username": "admin"})),
                _ => unauthorized("unauthorized"),
            }),
            ("GET", "/api/v2.0/repositories") => {
                let names = self.gate.database.repositories()?;
                Ok(http::json(200, &names.iter().map(|name| json!({"name": name})).collect()))
            }
            ("POST", "/api/v2.0/projects") => self.project(asked, sent),
            _ => Ok(http::json(404, &json!({"errors": [{"code": "NOT_FOUND", "message": "not found"}]}))),
        }
    }

    fn info(&self, asked: &Asked) -> Value {
        let host = self.external_url.split("://").nth(1).unwrap_or(&self.external_url);
        let mut info = json!({"auth_mode": "db_auth", "registry_url": host, "external_url": self.external_url});
        // Only whoever is known is told the version; the database may be down.
        if matches!(self.gate.who(asked), Ok(Who::Admin)) {
            info["harbor_version"] = json!(version());
        }
        info
    }

    fn project(&self, asked: &Asked, sent: &[u8]) -> Result<Answer> {
        if self.gate.who(asked)? != Who::Admin {
            return Ok(unauthorized("unauthorized"));
        }
        let wish: Value = serde_json::from_slice(sent)?;
        let name = wish.get("project_name").and_then(Value::as_str).context("project_name")?;
        let public = wish.pointer("/metadata/public").is_some_and(|value| value == "true");
        Ok(text(if self.gate.database.add_project(name, public)? { 201 } else { 409 }, ""))
    }
}
