//! Mode `ui`: the core service. Sessions, tokens, and the repositories that the database knows.
//!
//! At its start it deletes from the database each repository that it does not see in the registry, as Harbor 1.1 to 1.5
//! do: what habuild must guard a cluster against.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::http::{self, Answer, Asked, text, with};
use super::store::{self, Sessions};
use super::{env, token};

/// As long as Harbor waits for what it needs.
const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "/etc/ui/private_key.pem";
const COOKIE: &str = "beegosessionID";
const PAGE: &str = "<!DOCTYPE html><title>Harbor (stand-in)</title><h1>Harbor (stand-in)</h1>\
    <form method=post action=/login>User <input name=principal> Password <input name=password type=password>\
    <button>Log in</button></form>";

struct Ui {
    settings: Value,
    sessions: Sessions,
}

pub fn run() -> Result<()> {
    println!("configuration /etc/ui/app.conf of {} bytes", std::fs::read("/etc/ui/app.conf")?.len());
    let settings = patiently(settings)?;
    let ui = Ui { settings, sessions: Sessions::new(env("_REDIS_URL").ok().as_deref())? };
    patiently(|| store::database(&ui.settings).map(|_| ()))?;
    patiently(|| ui.sync())?;
    http::serve(move |asked, body| ui.answer(asked, body))
}

fn patiently<T>(act: impl Fn() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match act() {
            Ok(done) => return Ok(done),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(error) => eprintln!("waiting: {error:#}"),
        }
        pause(Duration::from_secs(2));
    }
}

/// A pause before something is asked again.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn settings() -> Result<Value> {
    let secret = format!("Secret {}", env("UI_SECRET")?);
    let request = ureq::get("http://adminserver/api/configurations").header("Authorization", &secret);
    let text = request.call().context("adminserver")?.body_mut().read_to_string()?;
    Ok(serde_json::from_str(&text)?)
}

impl Ui {
    fn setting(&self, name: &str) -> String {
        self.settings.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn minutes(&self) -> u64 {
        self.settings.get("token_expiration").and_then(Value::as_u64).unwrap_or(30)
    }

    /// Makes the database agree with the registry.
    fn sync(&self) -> Result<()> {
        let token = token::make(KEY, "harbor-ui", &["registry:catalog:*".to_owned()], self.minutes())?;
        let request =
            ureq::get("http://registry:5000/v2/_catalog?n=1000").header("Authorization", format!("Bearer {token}"));
        let text = request.call().context("registry")?.body_mut().read_to_string()?;
        let catalog: Value = serde_json::from_str(&text)?;
        let list = catalog.get("repositories").and_then(Value::as_array).cloned().unwrap_or_default();
        let stored: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
        let mut database = store::database(&self.settings)?;
        let known = store::repositories(&mut database)?;
        for name in known.iter().filter(|name| !stored.contains(&name.as_str())) {
            println!("sync: {name} is not in the registry: deleted from the database");
            store::remove(&mut database, name)?;
        }
        for name in stored.iter().filter(|name| !known.iter().any(|known| known == *name)) {
            store::add(&mut database, name)?;
        }
        println!("sync: {} repositories", stored.len());
        Ok(())
    }

    fn answer(&self, asked: &Asked, body: &[u8]) -> Result<Answer> {
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/") => {
                self.sessions.ping()?;
                Ok(with(text(200, PAGE), "Content-Type", "text/html"))
            }
            ("POST", "/login") => self.login(body),
            ("GET", "/api/users/current") => {
                let id = asked.cookie(COOKIE).unwrap_or_default();
                Ok(match self.sessions.user(&id)? {
                    Some(user) => http::json(200, &json!({"username": user})),
                    None => text(401, "not logged in"),
                })
            }
            ("GET", "/api/systeminfo") => {
                let url = self.setting("ext_endpoint");
                let host = url.split("://").nth(1).unwrap_or(&url);
                Ok(http::json(200, &json!({"registry_url": host, "harbor_version": "v1.1.2-stand-in"})))
            }
            ("GET", "/api/repositories/top") => {
                let names = store::repositories(&mut store::database(&self.settings)?)?;
                Ok(http::json(200, &json!(names)))
            }
            ("GET", "/service/token") => self.token(asked),
            ("POST", "/service/notifications") => self.notified(body).map(|()| text(200, "")),
            _ => Ok(text(404, "not found")),
        }
    }

    fn is_admin(&self, user: &str, password: &str) -> bool {
        user == "admin" && password == self.setting("admin_initial_password")
    }

    fn login(&self, body: &[u8]) -> Result<Answer> {
        let form = http::form(std::str::from_utf8(body)?);
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let user = field("principal");
        if !self.is_admin(user, field("password")) {
            return Ok(text(401, "wrong user or password"));
        }
        let mut bytes = [0_u8; 16];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
        let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.sessions.begin(&id, user)?;
        Ok(with(text(200, "logged in"), "Set-Cookie", &format!("{COOKIE}={id}; Path=/; HttpOnly")))
    }

    fn token(&self, asked: &Asked) -> Result<Answer> {
        let Some((user, password)) = token::basic(asked.header("authorization")) else {
            return Ok(with(text(401, "who are you?"), "WWW-Authenticate", "Basic realm=\"harbor\""));
        };
        if !self.is_admin(&user, &password) {
            return Ok(text(401, "wrong user or password"));
        }
        let scopes = asked.query.iter().filter(|(key, _)| key == "scope").map(|(_, value)| value.clone());
        let token = token::make(KEY, &user, &scopes.collect::<Vec<_>>(), self.minutes())?;
        Ok(http::json(200, &json!({"token": token, "expires_in": self.minutes() * 60})))
    }

    /// The registry tells what was pushed.
    fn notified(&self, body: &[u8]) -> Result<()> {
        let envelope: Value = serde_json::from_slice(body)?;
        let Some(events) = envelope.get("events").and_then(Value::as_array) else { bail!("no events") };
        let mut database = store::database(&self.settings)?;
        for event in events.iter().filter(|event| event.get("action") == Some(&json!("push"))) {
            if let Some(name) = event.pointer("/target/repository").and_then(Value::as_str) {
                store::add(&mut database, name)?;
            }
        }
        Ok(())
    }
}
