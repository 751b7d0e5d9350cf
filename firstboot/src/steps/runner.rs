//! Runs steps: tries again what may pass, and tells status, journal and consoles how far it is.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::bundle::Bundle;
use crate::host::Host;
use crate::host::journal;
use crate::status::{State, Status, StepState};
use crate::trouble::Trouble;
use contract::schema::{NodeConfig, Storage};

/// Between two attempts, at most.
const LONGEST: Duration = Duration::from_secs(30);
/// The consoles repeat what a step waits for at least that often.
const REMIND: Duration = Duration::from_secs(120);

/// Why a boot's work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Harbor is ready, or there is nothing to do.
    Done,
    /// Something must be corrected first.
    Failed,
}

pub(super) struct Runner<'h> {
    host: &'h Host,
    status: Status,
    begun: Instant,
}

impl<'h> Runner<'h> {
    pub(super) fn new(host: &'h Host) -> Self {
        let runner = Self { host, status: Status::default(), begun: Instant::now() };
        runner.status.write(host);
        runner
    }

    /// Begins anew, with the steps' records gone.
    pub(super) fn again(&mut self) {
        self.status = Status::default();
        self.begun = Instant::now();
        self.status.write(self.host);
    }

    /// Says a line on the consoles and in the journal.
    fn say(&self, line: &str) {
        journal::say(line);
        self.host.announce(&format!("habuild: {line}"));
    }

    /// What the node is, for the status; warnings go to the journal.
    pub(super) fn known(&mut self, instance: &str, config: &NodeConfig, bundle: &Bundle, warnings: Vec<String>) {
        self.status.instance = Some(instance.to_owned());
        self.status.cluster = Some(config.cluster.clone());
        self.status.harbor = Some(bundle.version.to_string());
        for warning in &warnings {
            journal::say(&format!("warning: {warning}"));
        }
        self.status.warnings = warnings;
        if matches!(config.storage, Storage::Local(_)) {
            self.say(
                "WARNING: storage.local: THIS NODE CANNOT SHARE its images with others: for trying things out only",
            );
        }
        self.status.write(self.host);
    }

    /// What is not as it should be, though Harbor can run.
    pub(super) fn degraded(&mut self, reasons: &[String]) {
        for reason in reasons {
            self.say(&format!("degraded: {reason}"));
        }
        self.status.warnings.extend(reasons.iter().map(|reason| format!("degraded: {reason}")));
    }

    /// Carries out a step until it succeeds; `act` gets the time that the step has taken so far.
    pub(super) fn step<T>(&mut self, name: &str, act: impl Fn(Duration) -> Result<T, Trouble>) -> Result<T, Ended> {
        let begun = Instant::now();
        let mut pause = Duration::from_secs(1);
        let mut told: Option<(String, Instant)> = None;
        loop {
            self.record(name, StepState::Running, begun, None);
            match act(begun.elapsed()) {
                Ok(done) => {
                    self.record(name, StepState::Ok, begun, None);
                    self.say(&format!("step {name} ok {:.1}s", begun.elapsed().as_secs_f64()));
                    return Ok(done);
                }
                Err(trouble) if !trouble.passing => {
                    self.record(name, StepState::Failed, begun, Some(&trouble));
                    self.status.state = State::Failed;
                    self.status.write(self.host);
                    self.say(&format!("failed step={name}: {trouble}"));
                    return Err(Ended::Failed);
                }
                Err(trouble) => {
                    let text = trouble.to_string();
                    self.record(name, StepState::Retrying, begun, Some(&trouble));
                    let new = told.as_ref().is_none_or(|(before, at)| *before != text || at.elapsed() >= REMIND);
                    // The first seconds of a healthy start are no news.
                    if new && (name != "ready" || begun.elapsed() >= LONGEST) {
                        self.say(&format!("waiting step={name}: {text}"));
                        told = Some((text, Instant::now()));
                    }
                    thread::sleep(pause);
                    pause = (pause * 2).min(if name == "ready" { Duration::from_secs(2) } else { LONGEST });
                }
            }
        }
    }

    fn record(&mut self, name: &str, state: StepState, begun: Instant, trouble: Option<&Trouble>) {
        let began = self.host.now().saturating_sub(begun.elapsed()).as_secs();
        if let Some(step) = self.status.step(name) {
            step.since.get_or_insert(began);
            if state == StepState::Running {
                step.attempts += 1;
                // Until this attempt has ended too, the step is still retrying, for the reason that is known.
                if step.state == StepState::Retrying {
                    return;
                }
            }
            step.state = state;
            step.seconds = (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
            step.message = trouble.map(ToString::to_string);
        }
        self.status.write(self.host);
    }

    /// There is no node config.
    pub(super) fn idle(&mut self, path: &Path) -> Ended {
        self.status.state = State::Idle;
        self.status.write(self.host);
        self.say(&format!(
            "no node config at {}: this node stays as it is (if its user-data should have made one: cloud-init status --long)",
            path.display()
        ));
        Ended::Done
    }

    /// The disk was another instance's, and the machine starts anew.
    pub(super) fn copied(&self, other: &str, instance: &str) -> Ended {
        self.say(&format!(
            "this disk was copied from instance {other}: starting anew, once, as {instance} with a machine id of its own"
        ));
        Ended::Done
    }

    /// Harbor is ready.
    pub(super) fn finish(&mut self, state: State, config: &NodeConfig) {
        let degraded = self.status.warnings.iter().any(|warning| warning.starts_with("degraded: "));
        self.status.state = if degraded { State::Degraded } else { state };
        self.status.write(self.host);
        let version = self.status.harbor.clone().unwrap_or_default();
        self.say(&format!(
            "ready: Harbor {version} of cluster {} at {} after {:.1}s",
            config.cluster,
            config.harbor.external_url,
            self.begun.elapsed().as_secs_f64()
        ));
    }
}
