//! `/v2/`: the registry, behind the core, which checks who may do what and tells the database what was pushed.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tiny_http::{Header, Request, Response, StatusCode};
use ureq::http::Response as Got;
use ureq::{Agent, Body, SendBody};

use super::users::{Gate, KEY, Who};
use crate::http::{self, Answer, Asked, with};
use crate::{env, token};

/// Headers that belong to one connection, or that this proxy writes itself.
const OWN: [&str; 6] = ["authorization", "connection", "expect", "transfer-encoding", "keep-alive", "te"];

pub struct Proxy {
    agent: Agent,
    url: String,
    login: String,
}

/// A repository and what is to be done with it.
struct Wanted {
    name: String,
    action: &'static str,
    is_manifest: bool,
}

impl Proxy {
    pub fn from_environment() -> Result<Self> {
        let (user, password) = (env("REGISTRY_CREDENTIAL_USERNAME")?, env("REGISTRY_CREDENTIAL_PASSWORD")?);
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .build()
            .new_agent();
        let login = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Ok(Self { agent, url: env("REGISTRY_URL")?, login })
    }

    /// Answers one request. Nothing limits how long the registry may take.
    pub fn handle(&self, gate: &Gate, asked: &Asked, mut request: Request) -> Result<()> {
        let wanted = wanted(asked);
        match refused(gate, asked, wanted.as_ref()) {
            Ok(None) => {}
            Ok(Some(answer)) => return Ok(request.respond(answer)?),
            Err(error) => {
                eprintln!("[ERROR] {} {}: {error:#}", asked.method, asked.path);
                return Ok(request.respond(failed(500, "INTERNAL", "internal server error"))?);
            }
        }
        let got = match self.forward(asked, &mut request) {
            Ok(got) => got,
            Err(error) => {
                eprintln!("[ERROR] {} {}: {error:#}", asked.method, asked.path);
                return Ok(request.respond(http::text(502, ""))?);
            }
        };
        let pushed = wanted.filter(|w| w.is_manifest && asked.method == "PUT" && got.status() == 201);
        if let Some(Err(error)) = pushed.map(|wanted| gate.database.add_repository(&wanted.name)) {
            eprintln!("[ERROR] {} {}: {error:#}", asked.method, asked.path);
            return Ok(request.respond(failed(500, "INTERNAL", "internal server error"))?);
        }
        Ok(request.respond(answer(got)?)?)
    }

    fn forward(&self, asked: &Asked, request: &mut Request) -> Result<Got<Body>> {
        let url = format!("{}{}", self.url, request.url());
        let mut outgoing = ureq::http::Request::builder().method(asked.method.as_str()).uri(url);
        // Not those of `asked`: it knows one of a name, and clients send several `Accept`.
        for header in request.headers() {
            let name = header.field.as_str().as_str().to_ascii_lowercase();
            if !OWN.contains(&name.as_str()) {
                outgoing = outgoing.header(name, header.value.as_str());
            }
        }
        outgoing = outgoing.header("authorization", &self.login);
        if ["POST", "PUT", "PATCH"].contains(&asked.method.as_str()) {
            let reader: &mut dyn Read = request.as_reader();
            return self.agent.run(outgoing.body(SendBody::from_reader(&mut { reader }))?).context("registry");
        }
        self.agent.run(outgoing.body(())?).context("registry")
    }
}

/// The registry's answer, its body as it comes.
fn answer(got: Got<Body>) -> Result<Response<Box<dyn Read + Send>>> {
    let (parts, body) = got.into_parts();
    let mut headers = Vec::new();
    for (name, value) in &parts.headers {
        if !OWN.contains(&name.as_str()) && name != "content-length" {
            headers.extend(Header::from_bytes(name.as_str(), value.as_bytes()));
        }
    }
    let length = parts.headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let reader: Box<dyn Read + Send> = Box::new(body.into_reader());
    let status = StatusCode(parts.status.as_u16());
    Ok(Response::new(status, headers, reader, length, None).with_chunked_threshold(usize::MAX))
}

/// `/v2/NAME/manifests/…`, `/v2/NAME/blobs/…`, `/v2/NAME/tags/list`.
fn wanted(asked: &Asked) -> Option<Wanted> {
    let rest = asked.path.strip_prefix("/v2/")?;
    let kind =
        ["/manifests/", "/blobs/", "/tags/"].into_iter().filter_map(|kind| rest.rfind(kind).map(|at| (at, kind)));
    let (at, kind) = kind.max()?;
    let action = match asked.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "push",
    };
    Some(Wanted { name: rest[..at].to_owned(), action, is_manifest: kind == "/manifests/" })
}

/// The answer to who may not. The database is asked first, so that nothing is pushed while it is down.
fn refused(gate: &Gate, asked: &Asked, wanted: Option<&Wanted>) -> Result<Option<Answer>> {
    let claims = bearer(asked);
    let Some(Wanted { name, action, .. }) = wanted else {
        let known = claims.is_some() || matches!(gate.by_header(asked)?, Some(Who::Admin | Who::Jobservice));
        let challenge = gate.challenge(asked, "");
        return Ok((!known).then(|| with(failed(401, "UNAUTHORIZED", "unauthorized"), "Www-Authenticate", &challenge)));
    };
    let project = name.split('/').next().unwrap_or_default();
    let Some(public) = gate.database.is_public(project)? else {
        return Ok(Some(failed(404, "NOT_FOUND", &format!("project {project} not found"))));
    };
    if public && *action == "pull" || claims.is_some_and(|claims| allows(&claims, name, action)) {
        return Ok(None);
    }
    if matches!(gate.by_header(asked)?, Some(Who::Admin | Who::Jobservice)) {
        return Ok(None);
    }
    let message = format!("unauthorized to access repository: {name}, action: {action}");
    let scope = format!("repository:{name}:{}", if *action == "push" { "pull,push" } else { action });
    let answer = failed(401, "UNAUTHORIZED", &format!("{message}: {message}"));
    Ok(Some(with(answer, "Www-Authenticate", &gate.challenge(asked, &scope))))
}

/// What the request's token says. One that another key signed counts as none.
fn bearer(asked: &Asked) -> Option<Value> {
    let token = asked.header("authorization").strip_prefix("Bearer ")?;
    let claims = token::claims(KEY, token);
    claims.inspect_err(|error| eprintln!("[ERROR] parse token error, {error:#}")).ok()
}

fn allows(claims: &Value, name: &str, action: &str) -> bool {
    let access = claims.get("access").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut of_name = access.iter().filter(|one| one.get("name").and_then(Value::as_str) == Some(name));
    of_name.any(|one| {
        let actions = one.get("actions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        actions.iter().any(|word| word == action || word == "*")
    })
}

fn failed(status: u16, code: &str, message: &str) -> Answer {
    http::json(status, &json!({"errors": [{"code": code, "message": message}]}))
}
