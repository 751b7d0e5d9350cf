//! A machine that runs: QEMU, its console, and the wait for what the console says.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::accelerator::{self, Engine, TRIAL_SILENCE};
use super::console::{Scanner, Sign};
use super::qemu::{self, Parts};
use super::run::{Event, Keyboard, Qemu, written_by_now};
use super::{Forward, Options, Until, guest, seed};
use crate::report::{Failure, Fault};
use crate::spec::image::Firmware;

/// How many console lines an error quotes.
const QUOTED: usize = 30;
/// How long the console may go on after a line without hope: the lines behind it often say why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the machine writes, in its directory.
const OVERLAY: &str = "overlay";

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// What the console says.
    Until(Until),
    /// The machine's end.
    End,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The goal is reached.
    Reached,
    /// A signal came.
    Interrupted(Signal),
}

/// A machine. Dropping it is pulling its plug; its disk is gone then.
#[derive(Debug)]
pub struct Machine {
    // Dropped in this order: QEMU before the files it has open.
    qemu: Qemu,
    options: Options,
    engine: Engine,
    uefi: Option<(PathBuf, PathBuf)>,
    forwards: Vec<Forward>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    keyboard: Keyboard,
    scanner: Scanner,
    signs: VecDeque<Sign>,
    /// What the first-boot agent said last about a failed step.
    step_failed: Option<String>,
    started: Instant,
    heard: Instant,
    dir: TempDir,
}

impl Machine {
    /// Starts a machine.
    pub fn start(options: &Options) -> Result<Self> {
        // The overlay can grow to gigabytes, and /tmp is often memory.
        let place = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let dir = tempfile::Builder::new()
            .prefix("habuild-boot-")
            .tempdir_in(&place)
            .with_context(|| format!("failed to make a temporary directory in {}", place.display()))?;
        qemu::make_overlay(options, &dir.path().join(OVERLAY))?;
        write_seed(options, &dir.path().join("seed"))?;
        let uefi = qemu::firmware(options.firmware, dir.path())?;
        let forwards = qemu::settle_forwards(&options.forwards)?;
        let engine = accelerator::choose(options.accelerator, options.cache.as_deref())?;
        let (sender, events) = mpsc::channel();
        let keyboard = Keyboard::default();
        let parts = parts(dir.path(), options, uefi.as_ref(), &forwards, engine);
        let qemu = Qemu::start(&parts, 0, &sender, &keyboard)?;
        for Forward { host, guest } in &forwards {
            tracing::info!("127.0.0.1:{host} leads to port {guest} of the machine");
        }
        Ok(Self {
            qemu,
            options: options.clone(),
            engine,
            uefi,
            forwards,
            sender,
            events,
            keyboard,
            scanner: Scanner::new(),
            signs: VecDeque::new(),
            step_failed: None,
            started: Instant::now(),
            heard: Instant::now(),
            dir,
        })
    }

    /// What the machine wrote to its disk, upon the image: a qcow2 file. A copy of it, made while the machine is off, is an
    /// image of its own.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.dir.path().join(OVERLAY)
    }

    /// The forwards, with the ports that were chosen.
    #[must_use]
    pub fn forwards(&self) -> &[Forward] {
        &self.forwards
    }

    /// How long it has run.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The console's last lines, as far as it has been read by [`Machine::wait`] or [`Machine::catch_up`].
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<String> {
        self.scanner.tail(count)
    }

    /// Reads what the console has written by now. What it said until now no longer ends a wait.
    pub fn catch_up(&mut self) -> Result<()> {
        for bytes in written_by_now(self.qemu.number, &self.events, &self.sender) {
            self.hear(&bytes)?;
        }
        self.signs.clear();
        Ok(())
    }

    pub(super) fn events(&self) -> Sender<Event> {
        self.sender.clone()
    }

    pub(super) fn keyboard(&self) -> Keyboard {
        Arc::clone(&self.keyboard)
    }

    /// Waits for `goal`. A kernel panic is an error at once; so is, while something is waited for, a machine that has
    /// ended or needs a person. After `timeout` (without one: never) it is an error that shows the console's end.
    pub fn wait(&mut self, goal: Goal, timeout: Option<Duration>) -> Result<Outcome> {
        let mut begun = Instant::now();
        loop {
            while let Some(sign) = self.signs.pop_front() {
                if self.consider(sign, goal)? {
                    return Ok(Outcome::Reached);
                }
            }
            let on_trial = self.engine == Engine::KvmOnTrial;
            let late = timeout.map(|timeout| begun + timeout);
            let silent = on_trial.then(|| self.heard + TRIAL_SILENCE);
            match self.next_event(late.into_iter().chain(silent).min()) {
                Some(Event::Console(number, bytes)) if number == self.qemu.number => self.hear(&bytes)?,
                Some(Event::Closed(number)) if number == self.qemu.number => {
                    let ended = self.qemu.end();
                    match (ended, goal) {
                        (Err(error), _) if on_trial => {
                            tracing::debug!("{error:#}");
                            self.emulate("QEMU fails under KVM")?;
                            begun = Instant::now();
                        }
                        (Err(error), _) => return Err(error.context("the virtual machine broke")),
                        (Ok(()), Goal::End) => return Ok(Outcome::Reached),
                        (Ok(()), Goal::Until(until)) => {
                            return Err(self.given_up(format!("the machine powered off before {}", until.words())));
                        }
                    }
                }
                Some(Event::Console(..) | Event::Closed(_)) => {} // of a QEMU that was given up
                Some(Event::Signal(signal)) => return Ok(Outcome::Interrupted(signal)),
                None if late.is_some_and(|late| late <= Instant::now()) => {
                    let what = match goal {
                        Goal::Until(until) => until.words(),
                        Goal::End => "the machine's end",
                    };
                    let seconds = timeout.unwrap_or_default().as_secs();
                    return Err(self.given_up(format!("{what} did not come within {seconds} s")));
                }
                None => {
                    self.emulate("the machine hangs under KVM")?;
                    begun = Instant::now();
                }
            }
        }
    }

    /// The next event; `None` at `deadline`.
    fn next_event(&self, deadline: Option<Instant>) -> Option<Event> {
        let received = match deadline {
            Some(deadline) => self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            // We hold a sender: the channel does not end.
            None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        received.ok()
    }

    /// Weighs a sign: whether it is the goal, or an error when hope is lost.
    fn consider(&mut self, sign: Sign, goal: Goal) -> Result<bool> {
        // A panic ends every wait. A shell for emergencies or a boot loader's prompt can still be used by a person.
        if let (Some(line), true) = (sign.hopeless(), matches!(sign, Sign::Panic(_)) || goal != Goal::End) {
            let line = line.to_owned();
            let deadline = Instant::now() + LAST_WORDS;
            while let Some(Event::Console(_, bytes)) = self.next_event(Some(deadline)) {
                self.hear(&bytes)?;
            }
            return Err(self.given_up(format!("the boot failed: {line}")));
        }
        if self.engine == Engine::KvmOnTrial && matches!(sign, Sign::Kernel(1..) | Sign::Login | Sign::Ready(_)) {
            self.engine = Engine::Kvm;
            accelerator::remember(self.options.cache.as_deref(), true);
        }
        if let Sign::StepFailed(line) = &sign {
            tracing::warn!("{line}");
            self.step_failed = Some(line.clone());
            // The agent tries again what may pass; what it calls failed stays so.
            if goal == Goal::Until(Until::Ready) {
                return Err(self.given_up("the node cannot become ready".to_owned()));
            }
        }
        Ok(matches!(
            (goal, sign),
            (Goal::Until(Until::Login), Sign::Login) | (Goal::Until(Until::Ready), Sign::Ready(_))
        ))
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<()> {
        self.heard = Instant::now();
        if self.options.show_console {
            let mut stdout = io::stdout().lock();
            let shown = stdout.write_all(bytes).and_then(|()| stdout.flush());
            shown.context("failed to write the console to standard output")?;
        }
        self.signs.extend(self.scanner.feed(bytes));
        Ok(())
    }

    /// Pulls the machine's plug, if it still runs, and switches it on again under `firmware`. Its disk is as it was left,
    /// with everything on it that the machine had flushed.
    pub fn power_cycle(&mut self, firmware: Firmware) -> Result<()> {
        self.qemu.process.kill();
        self.uefi = qemu::firmware(firmware, self.dir.path())?;
        self.switch_on()
    }

    /// Starts again under emulation, from a fresh overlay.
    fn emulate(&mut self, why: &str) -> Result<()> {
        tracing::info!("{why}: starting again under emulation, which is several times slower");
        accelerator::remember(self.options.cache.as_deref(), false);
        self.qemu.process.kill();
        self.engine = Engine::Tcg;
        qemu::make_overlay(&self.options, &self.dir.path().join(OVERLAY))?;
        self.switch_on()
    }

    /// Starts another QEMU in the place of one that has ended.
    fn switch_on(&mut self) -> Result<()> {
        self.scanner = Scanner::new();
        self.signs.clear();
        self.step_failed = None;
        let parts = parts(self.dir.path(), &self.options, self.uefi.as_ref(), &self.forwards, self.engine);
        self.qemu = Qemu::start(&parts, self.qemu.number + 1, &self.sender, &self.keyboard)?;
        self.started = Instant::now();
        self.heard = Instant::now();
        Ok(())
    }

    /// The error that says what happened and shows the console's end.
    fn given_up(&self, what: String) -> anyhow::Error {
        let mut message = format!("{}: {what}", self.options.image.display());
        if let Some(line) = &self.step_failed {
            message += &format!("; the node said: {line}");
        }
        let lines = self.scanner.tail(QUOTED);
        if lines.is_empty() {
            message += "; the console stayed empty";
        } else {
            message += &format!("; the console's last lines:\n  {}", lines.join("\n  "));
        }
        Failure::new(Fault::Step, message).into()
    }
}

fn parts<'a>(
    dir: &Path,
    options: &Options,
    uefi: Option<&'a (PathBuf, PathBuf)>,
    forwards: &'a [Forward],
    engine: Engine,
) -> Parts<'a> {
    let (overlay, seed) = (dir.join(OVERLAY), dir.join("seed"));
    Parts { overlay, seed, uefi, forwards, memory_mib: options.memory_mib, cpus: options.cpus, engine }
}

fn write_seed(options: &Options, path: &Path) -> Result<()> {
    let user_data = match &options.user_data {
        Some(file) => fs::read(file).map_err(|error| {
            Failure::new(Fault::Usage, format!("failed to read user-data {}", file.display())).because(error)
        })?,
        None => {
            let (keys, reader) = (guest::own_keys(), io::IsTerminal::is_terminal(&io::stderr()));
            let password = reader.then(guest::password).transpose()?;
            if let Some(password) = &password {
                tracing::info!("log in as {} with password {password} (this machine only)", guest::USER);
            }
            let admin = guest::password()?;
            if reader {
                let url = guest::TRIAL_URL;
                tracing::info!(
                    "Harbor calls itself {url}, its user is admin with password {admin} (this machine only)"
                );
            }
            guest::default_user_data(&keys, password.as_deref(), &admin).into_bytes()
        }
    };
    let id = guest::instance_id(&options.image, &user_data);
    seed::write_nocloud(path, &user_data, &id, &guest::hostname(&options.image))
}
