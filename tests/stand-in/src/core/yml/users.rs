//! Who asks: by password, session, token or the secret that services of one node share. Pages and answers for people.

use anyhow::Result;
use serde_json::{Value, json};

use super::csrf::{self, Csrf};
use super::database::Database;
use super::secrets::word;
use super::sessions::Sessions;
use crate::http::{self, Answer, Asked, text, with};
use crate::{env, token};

pub const KEY: &str = "/etc/core/private_key.pem";
const COOKIE: &str = "sid";
const MINUTES: u64 = 30;

/// What every answer is decided by.
pub struct Gate {
    pub database: Database,
    pub sessions: Sessions,
    csrf: Csrf,
    jobservice_secret: String,
    /// The scheme of `EXT_ENDPOINT`: clients are told to fetch tokens by it.
    scheme: String,
}

/// Somebody, as far as this Harbor knows users.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Nobody,
    Admin,
    Jobservice,
}

impl Gate {
    pub fn from_environment() -> Result<Self> {
        let external = env("EXT_ENDPOINT")?;
        Ok(Self {
            database: Database::from_environment()?,
            sessions: Sessions::new(&env("_REDIS_URL_CORE")?)?,
            csrf: Csrf::new(&env("CSRF_KEY")?),
            jobservice_secret: env("JOBSERVICE_SECRET")?,
            scheme: external.split("://").next().unwrap_or("http").to_owned(),
        })
    }

    /// By the header `Authorization`; nothing where it names nobody. An error is the database's.
    pub fn by_header(&self, asked: &Asked) -> Result<Option<Who>> {
        let header = asked.header("authorization");
        if let Some(secret) = header.strip_prefix("Harbor-Secret ") {
            return Ok(Some(if secret == self.jobservice_secret { Who::Jobservice } else { Who::Nobody }));
        }
        let Some((user, password)) = token::basic(header) else { return Ok(None) };
        Ok(Some(if self.database.is_user(&user, &password)? { Who::Admin } else { Who::Nobody }))
    }

    pub fn who(&self, asked: &Asked) -> Result<Who> {
        if let Some(who) = self.by_header(asked)? {
            return Ok(who);
        }
        let Some(id) = asked.cookie(COOKIE) else { return Ok(Who::Nobody) };
        Ok(if self.sessions.user(&id)?.is_some() { Who::Admin } else { Who::Nobody })
    }

    /// Where clients fetch tokens: the scheme of `EXT_ENDPOINT` and the host that was asked, as in Harbor.
    pub fn challenge(&self, asked: &Asked, scope: &str) -> String {
        let realm = format!("{}://{}/service/token", self.scheme, asked.header("host"));
        let scope = if scope.is_empty() { String::new() } else { format!(",scope=\"{scope}\"") };
        format!("Bearer realm=\"{realm}\",service=\"harbor-registry\"{scope}")
    }

    /// `/service/token`. Whoever is not known gets a token that allows what everybody may, also with the database down.
    pub fn token(&self, asked: &Asked) -> Result<Answer> {
        let scopes = asked.query.iter().filter(|(key, _)| key == "scope").flat_map(|(_, value)| value.split(' '));
        let mut scopes: Vec<String> = scopes.map(str::to_owned).collect();
        let who = match self.by_header(asked) {
            Ok(Some(Who::Nobody)) => return Ok(unauthorized("unauthorized")),
            Ok(who) => who.unwrap_or(Who::Nobody),
            Err(error) => {
                eprintln!("[ERROR] {error:#}; the token is anonymous");
                Who::Nobody
            }
        };
        let name = match who {
            Who::Admin => "admin",
            Who::Jobservice => "harbor-jobservice",
            Who::Nobody => {
                scopes = scopes.iter().filter_map(|scope| self.public_part(scope)).collect();
                ""
            }
        };
        let token = token::make(KEY, name, &scopes, MINUTES)?;
        Ok(http::json(200, &json!({"token": token, "access_token": "", "expires_in": MINUTES * 60})))
    }

    /// What everybody may of a scope: pull from a public project.
    fn public_part(&self, scope: &str) -> Option<String> {
        let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
        let public = self.database.is_public(name.split('/').next()?).ok()??;
        (public && actions.split(',').any(|one| one == "pull")).then(|| format!("repository:{name}:pull"))
    }

    /// An answer to people: refused where a write may be forged, else with a session and a token for the next write.
    pub fn guarded(&self, asked: &Asked, answer: impl FnOnce() -> Result<Answer>) -> Result<Answer> {
        let (sid, sealed) = (asked.cookie(COOKIE), asked.cookie(csrf::COOKIE).unwrap_or_default());
        let reads = ["GET", "HEAD", "OPTIONS"].contains(&asked.method.as_str());
        let guarded = !reads && sid.is_some() && asked.header("authorization").is_empty();
        if guarded && !self.csrf.passes(&sealed, asked.header("x-harbor-csrf-token")) {
            return Ok(http::json(403, &json!({"errors": [{"code": "FORBIDDEN", "message": "CSRF token invalid"}]})));
        }
        let mut answer = answer()?;
        if sid.is_none() {
            // Harbor's sessions begin with any request; without Redis they do not, and nobody minds.
            let id = word(32)?;
            if self.sessions.begin(&id, "").is_ok() {
                answer = with(answer, "Set-Cookie", &cookie(COOKIE, &id));
            }
        } else if reads {
            let token = self.csrf.opened(&sealed).map_or_else(|| word(32), Ok)?;
            answer = with(answer, "Set-Cookie", &cookie(csrf::COOKIE, &self.csrf.sealed(&token)?));
            answer = with(answer, csrf::HEADER, &token);
        }
        Ok(answer)
    }

    /// `POST /c/login`.
    pub fn login(&self, asked: &Asked, body: &[u8]) -> Result<Answer> {
        let form = http::form(std::str::from_utf8(body)?);
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        if !self.database.is_user(field("principal"), field("password"))? {
            return Ok(unauthorized("wrong user or password"));
        }
        let Some(id) = asked.cookie(COOKIE) else { return Ok(unauthorized("no session: get a page first")) };
        self.sessions.begin(&id, field("principal"))?;
        Ok(text(200, ""))
    }

    /// `GET /c/log_out`.
    pub fn logout(&self, asked: &Asked) -> Result<Answer> {
        asked.cookie(COOKIE).map_or(Ok(()), |id| self.sessions.end(&id))?;
        Ok(text(200, ""))
    }

    pub fn is_internal(&self, asked: &Asked) -> bool {
        asked.header("authorization") == format!("Harbor-Secret {}", self.jobservice_secret)
    }

    /// A job carries the secret, which whoever runs it must have too.
    pub fn sign_job(&self, mut job: Value) -> Value {
        job["secret"] = json!(self.jobservice_secret);
        job
    }
}

pub fn unauthorized(message: &str) -> Answer {
    http::json(401, &json!({"errors": [{"code": "UNAUTHORIZED", "message": message}]}))
}

fn cookie(name: &str, value: &str) -> String {
    format!("{name}={value}; Path=/; HttpOnly")
}
