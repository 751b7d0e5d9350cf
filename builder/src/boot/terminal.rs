//! The person's side of a machine: their keys and their Ctrl-C.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::sync::PoisonError;
use std::sync::mpsc::Sender;

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::termios::{self, LocalFlags, SetArg, SpecialCharacterIndices, Termios};

use super::run::{Event, Keyboard};

/// SIGINT, SIGTERM and SIGHUP, held back so that the machine is ended in order; as before when dropped.
///
/// Signals are blocked and waited for by a thread, because a handler would need unsafe code. Children inherit the
/// mask, which does not matter: they are ended by SIGKILL. A signal goes to any thread that does not block it: the threads
/// there are must have been started behind [`Signals::hold`], as they are in habuild.
#[derive(Debug)]
pub(super) struct Signals {
    before: SigSet,
    held: SigSet,
}

impl Signals {
    pub(super) fn hold() -> Result<Self> {
        let held: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        let before = held.thread_swap_mask(SigmaskHow::SIG_BLOCK).context("failed to block signals")?;
        Ok(Self { before, held })
    }

    /// Sends each signal as an event, those that came before included.
    pub(super) fn send_to(&self, events: Sender<Event>) {
        let held = self.held;
        std::thread::spawn(move || {
            while let Ok(signal) = held.wait() {
                if events.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        });
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// Standard input, connected to a machine. A terminal gives every key as it is typed; as before when dropped.
#[derive(Debug)]
pub(super) struct Keys {
    before: Option<Termios>,
}

impl Keys {
    pub(super) fn connect(keyboard: Keyboard) -> Result<Self> {
        let stdin = io::stdin();
        let mut before = None;
        if stdin.is_terminal() {
            let settings = termios::tcgetattr(&stdin).context("failed to read the terminal's settings")?;
            let mut raw = settings.clone();
            termios::cfmakeraw(&mut raw);
            // The console writes its own carriage returns, but our messages between do not.
            raw.output_flags = settings.output_flags;
            // Ctrl-C stays ours; the other keys that send signals are the machine's.
            raw.local_flags |= LocalFlags::ISIG;
            for key in [SpecialCharacterIndices::VQUIT, SpecialCharacterIndices::VSUSP] {
                raw.control_chars[key as usize] = 0;
            }
            termios::tcsetattr(&stdin, SetArg::TCSANOW, &raw).context("failed to set the terminal")?;
            before = Some(settings);
            tracing::info!("keys go to the machine; Ctrl-C ends it");
        }
        // It may stay blocked in a read when the machine is gone; it ends with habuild.
        std::thread::spawn(move || {
            let mut keys = [0; 1024];
            while let Ok(count @ 1..) = io::stdin().read(&mut keys) {
                if let Some(machine) = keyboard.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                    // A machine that has just ended has no use for them.
                    let _ = machine.write_all(&keys[..count]);
                }
            }
        });
        Ok(Self { before })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}
