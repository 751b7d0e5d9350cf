//! `/api/v2.0/health`: what the components said when they were last asked, always with status 200.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::users::Gate;
use crate::env;
use crate::ui::pause;

const EVERY: Duration = Duration::from_secs(10);
/// How long a component may take to answer, before it counts as unhealthy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Each component's last word: an error, if it is not healthy.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Option<String>>>>);

impl Health {
    /// Asks each component every 10 seconds, each in a thread of its own. `core` is always healthy.
    pub fn watch(gate: &Arc<Gate>) -> Result<Self> {
        let health = Self::default();
        health.set("core", None);
        let usual = [
            ("jobservice", "JOBSERVICE_URL", "/api/v1/stats"),
            ("portal", "PORTAL_URL", "/"),
            ("registry", "REGISTRY_URL", "/"),
            ("registryctl", "REGISTRY_CONTROLLER_URL", "/api/health"),
        ];
        let trivy = (env("WITH_TRIVY")? == "True").then_some(("trivy", "TRIVY_ADAPTER_URL", "/probe/healthy"));
        for (name, variable, path) in usual.into_iter().chain(trivy) {
            let url = format!("{}{path}", env(variable)?);
            let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().new_agent();
            health.ask(name, move || agent.get(&url).call().map(|_| ()).context(url.clone()));
        }
        let (database, redis) = (gate.clone(), gate.clone());
        health.ask("database", move || database.database.connect().map(|_| ()));
        health.ask("redis", move || redis.sessions.ping());
        Ok(health)
    }

    fn ask(&self, name: &'static str, check: impl Fn() -> Result<()> + Send + 'static) {
        self.set(name, Some("not asked yet".to_owned()));
        let health = self.clone();
        std::thread::spawn(move || {
            loop {
                health.set(name, check().err().map(|error| format!("{error:#}")));
                pause(EVERY);
            }
        });
    }

    fn set(&self, name: &'static str, error: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, error);
    }

    pub fn told(&self) -> Value {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let component = |(name, error): (&&str, &Option<String>)| match error {
            None => json!({"name": name, "status": "healthy"}),
            Some(error) => json!({"name": name, "status": "unhealthy", "error": error}),
        };
        let healthy = words.values().all(Option::is_none);
        let components: Vec<Value> = words.iter().map(component).collect();
        json!({"components": components, "status": if healthy { "healthy" } else { "unhealthy" }})
    }
}
