//! The main process of `harbor.service`: starts Harbor's containers in order, starts again what ends, stops them in order.
//!
//! Docker itself never starts them (`restart: "no"`). The share is proved before each start: a container that starts on
//! the bare directory below an absent mount is what empties a cluster's database.

mod core;
mod front;
mod plan;
pub(crate) mod state;

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use serde_json::Value;

use contract::harbor;

use self::core::Core;
use crate::bundle::Bundle;
use crate::host::Host;
use crate::host::docker::{self, COMPOSE, Container, Grace};
use crate::host::journal;
use crate::steps::{proof, systemctl};
use crate::trouble::Trouble;
use plan::{Next, Plan};
use state::State;

/// How often the share is proved while nothing happens.
const PROOF: Duration = Duration::from_secs(30);
/// How often Docker is asked while nothing happens.
const LOOK: Duration = Duration::from_secs(15);
/// How often the core is asked whether it serves, while something waits for it.
const ASK: Duration = Duration::from_secs(2);
/// After that many proofs in a row that failed with what another mount helps against, the share is mounted anew.
const PATIENCE: u32 = 3;

/// The service that clients talk to, in every version's compose file.
const PROXY: &str = "proxy";
/// The services that its configuration names (goharbor/harbor v1.1.2 to v2.15.2, `nginx.http.conf`).
const BEHIND_PROXY: [&str; 4] = ["core", "portal", "registry", "ui"];
/// Those that it names besides where Harbor gives metrics: where there is the first of them.
const MEASURED: [&str; 2] = ["exporter", "jobservice"];

/// What wakes the supervisor.
enum Event {
    /// A container ended, or was removed.
    Docker,
    /// The service is to end.
    Stop,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Without a compose file, or when Compose cannot make the containers; systemd then starts the service again.
pub(crate) fn run(host: &Host) -> Result<(), Trouble> {
    let (events, wake) = mpsc::channel();
    send_signals(events.clone())?;
    let Described { order, proxy, behind_proxy, core, mountpoint } = described(host)?;
    let mut supervisor = Supervisor {
        host,
        wake,
        stopping: false,
        doubt: None,
        plan: Plan::new(order),
        proxy,
        behind_proxy,
        core,
        changed: true,
        share_is_good: true,
        begun: Instant::now(),
        proved: None,
        failed_proofs: 0,
        state: State::default(),
        mountpoint,
    };
    supervisor.create()?;
    watch(host, events.clone());
    while !supervisor.stopping {
        let pause = supervisor.turn();
        supervisor.wait(pause);
    }
    supervisor.stop();
    Ok(())
}

/// What is to be run.
struct Described {
    /// The containers in the order of their start.
    order: Vec<String>,
    proxy: String,
    /// The containers whose addresses the proxy looks up at its start.
    behind_proxy: Vec<String>,
    /// What the containers behind it wait for, where this version has it.
    core: Option<Core>,
    mountpoint: String,
}

fn described(host: &Host) -> Result<Described, Trouble> {
    let content = host.read(Path::new(COMPOSE)).map_err(|error| {
        Trouble::lasting(format!("{COMPOSE}: {error}")).hint("systemctl restart habuild-firstboot renders it")
    })?;
    let file: Value =
        serde_json::from_slice(&content.bytes).map_err(|error| Trouble::lasting(format!("{COMPOSE}: {error}")))?;
    let services = harbor::start_order(&file);
    let order = services.iter().map(|service| harbor::container(&file, service)).collect();
    let behind_proxy = behind_proxy(&services).map(|service| harbor::container(&file, service)).collect();
    let core = harbor::ping(&Bundle::find(host)?.version).map(|ping| Core::new(&file, ping));
    let proxy = harbor::container(&file, PROXY);
    Ok(Described { order, proxy, behind_proxy, core, mountpoint: proof::Expected::recorded(host)?.mountpoint })
}

/// The services whose names the proxy looks up at its start.
fn behind_proxy(services: &[String]) -> impl Iterator<Item = &String> {
    let has = |name: &str| services.iter().any(|service| service == name);
    let measured = if has(MEASURED[0]) { &MEASURED[..] } else { &[] };
    services.iter().filter(move |service| [&BEHIND_PROXY, measured].concat().contains(&service.as_str()))
}

/// Sends SIGTERM and SIGINT as events. Blocked and waited for, because a handler would need unsafe code.
fn send_signals(events: Sender<Event>) -> Result<(), Trouble> {
    let held: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    held.thread_block().map_err(|error| Trouble::passing(format!("signals cannot be held: {error}")))?;
    std::thread::spawn(move || {
        while held.wait().is_ok() {
            if events.send(Event::Stop).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Sends an event whenever Docker says that a container of ours ended.
fn watch(host: &Host, events: Sender<Event>) {
    let filters = ["--filter", docker::OURS, "--filter", "event=die", "--filter", "event=destroy"];
    let command = host.command("docker").args(["events", "--format", "{{.Status}}"]).args(filters);
    command.lines(events, |_| Event::Docker);
}

struct Supervisor<'h> {
    host: &'h Host,
    wake: Receiver<Event>,
    /// Whether the service is to end.
    stopping: bool,
    /// What the last proof said of a share that is the right one.
    doubt: Option<String>,
    plan: Plan,
    proxy: String,
    behind_proxy: Vec<String>,
    core: Option<Core>,
    /// Whether a container was started since the proxy's knowledge of addresses was last looked at.
    changed: bool,
    begun: Instant,
    proved: Option<Instant>,
    failed_proofs: u32,
    /// Whether the last proof was one.
    share_is_good: bool,
    state: State,
    mountpoint: String,
}

impl Supervisor<'_> {
    /// Waits until something happens, or for a time.
    fn wait(&mut self, pause: Duration) {
        match self.wake.recv_timeout(pause) {
            Ok(Event::Docker) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => self.stopping = true,
        }
    }

    fn create(&mut self) -> Result<(), Trouble> {
        docker::create(self.host).map_err(|error| Trouble::passing(format!("Harbor's containers: {error}")))
    }

    /// Does what is due; gives the time until something may be due again.
    fn turn(&mut self) -> Duration {
        let containers = match docker::containers(self.host) {
            Ok(containers) => containers,
            Err(error) => {
                self.note("waiting", Some(format!("Docker does not answer: {error}")), &[]);
                return LOOK;
            }
        };
        let now = self.begun.elapsed();
        match self.plan.next(now, &containers) {
            Next::Create => match self.create() {
                Ok(()) => Duration::ZERO,
                Err(trouble) => {
                    self.note("waiting", Some(trouble.to_string()), &containers);
                    LOOK
                }
            },
            Next::Start(due) => match self.start(&due, &containers) {
                Ok(None) => Duration::ZERO,
                Ok(Some(waits)) => {
                    self.note("waiting", Some(waits), &containers);
                    ASK
                }
                Err(trouble) => self.without_share(&trouble, &containers),
            },
            Next::Wait(pause) => {
                if self.proved.is_none_or(|proved| proved.elapsed() >= PROOF)
                    && let Err(trouble) = self.prove()
                {
                    return self.without_share(&trouble, &containers);
                }
                if self.front_has_moved(&containers) {
                    return Duration::ZERO;
                }
                self.note("running", self.doubt.clone(), &containers);
                pause.min(LOOK)
            }
        }
    }

    fn prove(&mut self) -> Result<(), Trouble> {
        match proof::ask(self.host, proof::For::Harbor) {
            Ok(doubt) => {
                self.share_is_good = true;
                self.proved = Some(Instant::now());
                self.failed_proofs = 0;
                self.doubt = doubt;
                Ok(())
            }
            Err(trouble) => {
                self.share_is_good = false;
                self.failed_proofs += u32::from(trouble.remount);
                Err(trouble)
            }
        }
    }

    /// Starts what is due, the share proved before each; leaves off when the service is to end. What is behind the core waits
    /// until that serves: then it says why.
    fn start(&mut self, due: &[String], containers: &[Container]) -> Result<Option<String>, Trouble> {
        for name in due {
            self.wait(Duration::ZERO);
            if self.stopping {
                break;
            }
            if let Some(core) = self.core.as_ref().filter(|core| core.is_before(name, self.plan.order()))
                && let Err(waits) = core.answers(self.host)
            {
                return Ok(Some(waits));
            }
            self.prove()?;
            journal::say(&format!("starting container {name}"));
            let state = containers.iter().find(|container| container.name == *name).map(|found| found.state.as_str());
            if *name == self.proxy {
                front::starts(self.host, &self.behind_proxy);
            }
            let started = docker::start(self.host, name, state);
            self.plan.started(name, self.begun.elapsed());
            self.changed = true;
            if let Err(error) = started {
                journal::say(&format!("container {name} does not start: {error}"));
            }
        }
        Ok(None)
    }

    /// Whether the proxy had to be stopped because it sends requests to where a container is not any more; it is started
    /// again as everything is that has ended.
    fn front_has_moved(&mut self, containers: &[Container]) -> bool {
        if !std::mem::take(&mut self.changed) {
            return false;
        }
        let Some(moved) = front::moved(self.host, &self.behind_proxy) else { return false };
        journal::say(&format!("{moved} has another address now: {} is started anew", self.proxy));
        self.stop_container(&self.proxy, containers, Grace::Short);
        true
    }

    /// The share is not what it must be. A share that does not answer keeps Harbor waiting, on the right directory; one that
    /// is another, or is gone, ends it.
    fn without_share(&mut self, trouble: &Trouble, containers: &[Container]) -> Duration {
        self.note(if trouble.passing { "waiting" } else { state::REFUSED }, Some(trouble.to_string()), containers);
        if !proof::may_be_right(self.host, &self.mountpoint) || !trouble.passing {
            self.stop_containers(containers, Grace::Short);
        } else {
            // Harbor's own health notices nothing, and pulls would be answered with no bytes behind a good status (seen
            // with 2.15.2): this node must not be asked.
            self.stop_container(&self.proxy, containers, Grace::Short);
        }
        // Not while the agent is at work on it, nor where there is nothing to be mounted.
        let expected = proof::Expected::recorded(self.host);
        let settled = expected.is_ok_and(|expected| expected.cephfs && expected.settled.is_some());
        if trouble.remount && settled && self.failed_proofs >= PATIENCE && self.failed_proofs.is_multiple_of(PATIENCE) {
            let unit = crate::steps::fstab::mount_unit(&self.mountpoint);
            journal::say(&format!("mounting the share anew: {unit}"));
            // It stops this service, and starts it again when the share is back.
            let _ = systemctl(self.host, &["restart", "--no-block", &unit]);
        }
        LOOK
    }

    fn stop_containers(&self, containers: &[Container], grace: Grace) {
        for name in self.plan.order().iter().rev() {
            if let Some(core) = self.core.as_ref().filter(|core| core.is(name)) {
                core.let_it_migrate(self.host, containers);
            }
            self.stop_container(name, containers, grace);
        }
    }

    /// Stops a container that is up.
    fn stop_container(&self, name: &str, containers: &[Container], grace: Grace) {
        let up = containers.iter().find(|container| container.name == name && container.is_up());
        let Some(container) = up else { return };
        journal::say(&format!("stopping container {name}"));
        if let Err(error) = docker::stop(self.host, container, grace) {
            journal::say(&format!("container {name} does not stop: {error}"));
        }
    }

    fn stop(&mut self) {
        match docker::containers(self.host) {
            Ok(containers) => {
                self.note("stopping", None, &containers);
                // What waits for a share that fails would wait until it is killed.
                self.stop_containers(&containers, if self.share_is_good { Grace::Own } else { Grace::Short });
            }
            Err(error) => journal::say(&format!("Docker does not answer: {error}")),
        }
        State::clear(self.host);
    }

    fn note(&mut self, word: &str, message: Option<String>, containers: &[Container]) {
        if let Some(message) = &message
            && self.state.message.as_ref() != Some(message)
        {
            journal::say(message);
        }
        let plan = &self.plan;
        let state = State::new(word, message, containers, |name| plan.restarts(name));
        if state != self.state {
            state.write(self.host);
            self.state = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::behind_proxy;

    #[test]
    fn the_proxy_looks_up_more_where_there_are_metrics() {
        let all = |extra: &[&str]| -> Vec<String> {
            let services = [&["portal", "registry", "core", "jobservice", "trivy-adapter"], extra].concat();
            let services: Vec<String> = services.into_iter().map(str::to_owned).collect();
            behind_proxy(&services).cloned().collect()
        };
        assert_eq!(all(&["proxy"]), ["portal", "registry", "core"]);
        assert_eq!(all(&["exporter", "proxy"]), ["portal", "registry", "core", "jobservice", "exporter"]);
    }
}
