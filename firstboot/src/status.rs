//! How far this node is: `/run/habuild/status.json`, and what `habuild-firstboot status` makes of it.
//!
//! The file's schema (1), which monitoring may rely on:
//!
//! | key | what |
//! |---|---|
//! | `schema` | 1 |
//! | `state` | `starting`, `ready`, `degraded` (ready, but something needs a look), `failed` (will not try again), `idle` (no node config) |
//! | `instance` | cloud-init's instance id |
//! | `cluster`, `harbor` | the cluster's name; the bundle's version |
//! | `steps` | in order, each `name`, `state` (`running`, `ok`, `retrying`, `failed`), `since`, `seconds`, `attempts`, `message` |
//! | `warnings` | what an operator should know, one line each |
//!
//! Keys are added, never renamed. Nothing secret is in it: everybody on the node can read it.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::supervise::state;

const FILE: &str = "/run/habuild/status.json";

/// How far this node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) schema: u32,
    pub(crate) state: State,
    pub(crate) instance: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) harbor: Option<String>,
    pub(crate) steps: Vec<StepStatus>,
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// The node as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Starting,
    Ready,
    Degraded,
    Failed,
    Idle,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepStatus {
    pub(crate) name: String,
    pub(crate) state: StepState,
    /// When it began: seconds since 1970.
    #[serde(default)]
    pub(crate) since: Option<u64>,
    /// Wall time since the step began, all attempts together, when this was written.
    pub(crate) seconds: f64,
    pub(crate) attempts: u32,
    pub(crate) message: Option<String>,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepState {
    Running,
    Ok,
    Retrying,
    Failed,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            schema: 1,
            state: State::Starting,
            instance: None,
            cluster: None,
            harbor: None,
            steps: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl Status {
    /// Writes it for the others. That it cannot be written is no reason to stop.
    pub(crate) fn write(&self, host: &Host) {
        if let Ok(text) = serde_json::to_string_pretty(self) {
            let _ = host.make_directory(Path::new("/run/habuild"), 0o755);
            let _ = host.write(Path::new(FILE), (text + "\n").as_bytes(), 0o644);
        }
    }

    /// What the agent last wrote in this boot.
    pub(crate) fn read(host: &Host) -> Option<Self> {
        serde_json::from_slice(&host.read(Path::new(FILE)).ok()?.bytes).ok()
    }

    /// The step's entry, made if it is new.
    pub(crate) fn step(&mut self, name: &str) -> Option<&mut StepStatus> {
        if !self.steps.iter().any(|step| step.name == name) {
            let state = StepState::Running;
            let (name, message) = (name.to_owned(), None);
            self.steps.push(StepStatus { name, state, since: None, seconds: 0.0, attempts: 0, message });
        }
        self.steps.iter_mut().find(|step| step.name == name)
    }

    /// cloud-init's exit codes: 0 fine or under way, 1 failed for good, 2 something needs a look, be it that Harbor, once
    /// ready, waits for something now.
    pub(crate) fn exit_code(&self, harbor: Option<&state::State>) -> u8 {
        let retrying = self.steps.iter().any(|step| step.state == StepState::Retrying);
        // Once ready, the supervisor runs, waits for nothing, and has no container that keeps ending.
        let waits = harbor.is_none_or(|harbor| harbor.message.is_some() || harbor.containers.iter().any(keeps_ending));
        match self.state {
            State::Failed => 1,
            State::Degraded => 2,
            State::Starting if retrying => 2,
            State::Ready if waits => 2,
            State::Starting | State::Ready | State::Idle => 0,
        }
    }

    /// For people, at `now` (seconds since 1970), with `colours` or without.
    pub(crate) fn text(&self, harbor: Option<&state::State>, now: u64, colours: bool) -> String {
        let mut text = String::new();
        let word = match self.state {
            State::Starting => "starting",
            State::Ready if self.exit_code(harbor) != 0 => "ready, but see below",
            State::Ready => "ready",
            State::Degraded => "degraded: ready, but see below",
            State::Failed => "failed: correct what is said below, then systemctl restart habuild-firstboot",
            State::Idle => "idle: there is no node config; cloud-init status --long says what became of the user-data",
        };
        let paint = |code: u8, word: &str| match (colours, code) {
            (false, _) => word.to_owned(),
            (true, 0) => format!("\x1b[32m{word}\x1b[0m"),
            (true, 1) => format!("\x1b[31m{word}\x1b[0m"),
            (true, _) => format!("\x1b[33m{word}\x1b[0m"),
        };
        let word = paint(self.exit_code(harbor), word);
        let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".to_owned());
        let _ = writeln!(text, "state     {word}");
        let _ = writeln!(text, "cluster   {}", known(&self.cluster));
        let _ = writeln!(text, "harbor    {}", known(&self.harbor));
        let _ = writeln!(text, "instance  {}", known(&self.instance));
        for step in &self.steps {
            let (state, code) = match step.state {
                StepState::Running => ("running", 2),
                StepState::Ok => ("ok", 0),
                StepState::Retrying => ("retrying", 2),
                StepState::Failed => ("failed", 1),
            };
            let state = paint(code, &format!("{state:<9}"));
            // What is under way is as old as it is now, not as it was when it was last told.
            let seconds = match (step.state, step.since) {
                (StepState::Running | StepState::Retrying, Some(since)) => now.saturating_sub(since) as f64,
                _ => step.seconds,
            };
            let _ = write!(text, "step      {:<13}{state}{seconds:>6.1} s", step.name);
            if step.attempts > 1 {
                let _ = write!(text, "  {} attempts", step.attempts);
            }
            text.push('\n');
            if let Some(message) = step.message.as_ref().filter(|_| step.state != StepState::Ok) {
                let _ = writeln!(text, "          {message}");
            }
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning   {warning}");
        }
        if harbor.is_none() && matches!(self.state, State::Ready | State::Degraded) {
            let words = paint(1, "not running: systemctl status harbor, journalctl -b -u harbor");
            let _ = writeln!(text, "service   {words}");
        }
        if let Some(harbor) = harbor {
            let _ = writeln!(text, "service   {}", paint(if harbor.message.is_some() { 2 } else { 0 }, &harbor.state));
            if let Some(message) = &harbor.message {
                let _ = writeln!(text, "          {message}");
            }
            for member in &harbor.containers {
                let again =
                    if member.restarts > 0 { format!("  restarted {} times", member.restarts) } else { String::new() };
                let _ = writeln!(text, "container {:<20} {}{again}", member.name, member.state);
            }
        }
        text
    }
}

/// Whether a container is down, and not for the first time.
fn keeps_ending(container: &state::Member) -> bool {
    container.state != "running" && container.restarts > 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_cloud_inits() {
        let mut status = Status::default();
        assert_eq!(status.exit_code(None), 0);
        if let Some(step) = status.step("storage") {
            step.state = StepState::Retrying;
        }
        assert_eq!(status.exit_code(None), 2);
        for (state, code) in [(State::Ready, 2), (State::Degraded, 2), (State::Failed, 1), (State::Idle, 0)] {
            status.state = state;
            assert_eq!(status.exit_code(None), code);
        }
        let mut harbor = state::State::default();
        status.state = State::Ready;
        assert_eq!(status.exit_code(Some(&harbor)), 0);
        let (name, state) = ("ui".to_owned(), "exited".to_owned());
        harbor.containers = vec![state::Member { name, state, restarts: 2 }];
        assert_eq!(status.exit_code(Some(&harbor)), 0, "it may have been restarted");
        harbor.containers[0].restarts = 3;
        assert_eq!(status.exit_code(Some(&harbor)), 2);
        harbor.containers.clear();
        harbor.message = Some("the share does not answer".to_owned());
        assert_eq!(status.exit_code(Some(&harbor)), 2);
        assert!(status.text(None, 0, false).contains("service   not running: systemctl status harbor"));
    }

    #[test]
    fn for_people() {
        let mut status = Status { cluster: Some("hub".to_owned()), ..Status::default() };
        if let Some(step) = status.step("storage") {
            *step = StepStatus {
                name: "storage".to_owned(),
                state: StepState::Retrying,
                since: Some(1000),
                seconds: 61.25,
                attempts: 3,
                message: Some("cannot be mounted".to_owned()),
            };
        }
        let text = status.text(None, 1070, false);
        assert!(
            text.contains("step      storage      retrying   70.0 s  3 attempts\n          cannot be mounted\n"),
            "{text}"
        );
        assert!(status.text(None, 1070, true).contains("\u{1b}[33mretrying "));
        assert!(text.starts_with("state     starting\ncluster   hub\nharbor    ?\n"), "{text}");
    }
}
