//! One run of QEMU: its process, where keys go, and what happens as events.

use std::io::Read as _;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::qemu::Parts;
use crate::sys::cmd::Running;

/// Something that happened to a machine.
#[derive(Debug)]
pub(super) enum Event {
    /// The QEMU with that number wrote to the console.
    Console(u32, Vec<u8>),
    /// That QEMU's console is closed: it has ended.
    Closed(u32),
    /// A signal came for habuild.
    Signal(Signal),
}

/// Where keys go: to the machine that runs just now, if any.
pub(super) type Keyboard = Arc<Mutex<Option<ChildStdin>>>;

/// One run of QEMU.
#[derive(Debug)]
pub(super) struct Qemu {
    /// Tells its events from those of an earlier run.
    pub(super) number: u32,
    pub(super) process: Running,
    /// Collects standard error.
    complaints: Option<JoinHandle<Vec<u8>>>,
}

impl Qemu {
    pub(super) fn start(parts: &Parts<'_>, number: u32, events: &Sender<Event>, keyboard: &Keyboard) -> Result<Self> {
        let piped = Stdio::piped;
        let mut process = parts.command().stdin(piped()).stdout(piped()).stderr(piped()).spawn()?;
        *keyboard.lock().unwrap_or_else(PoisonError::into_inner) = process.stdin();
        if let Some(mut console) = process.stdout() {
            let events = events.clone();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(count @ 1..) = console.read(&mut buffer) {
                    if events.send(Event::Console(number, buffer[..count].to_vec())).is_err() {
                        return;
                    }
                }
                // Nobody may be left to hear it.
                let _ = events.send(Event::Closed(number));
            });
        }
        let complaints = process.stderr().map(|mut pipe| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                // What was read before an error is worth as much.
                let _ = pipe.read_to_end(&mut bytes);
                bytes
            })
        });
        Ok(Self { number, process, complaints })
    }

    /// Reaps it once its console is closed; a bad exit is an error.
    pub(super) fn end(&mut self) -> Result<()> {
        let complaints = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        self.process.wait(&complaints)
    }
}

/// What the console of the QEMU with this number has written by now. What else happened is left for the next wait.
pub(super) fn written_by_now(number: u32, events: &Receiver<Event>, sender: &Sender<Event>) -> Vec<Vec<u8>> {
    let (mut written, mut others) = (Vec::new(), Vec::new());
    for event in events.try_iter() {
        match event {
            Event::Console(from, bytes) if from == number => written.push(bytes),
            Event::Console(..) => {} // of a machine that was switched off
            other => others.push(other),
        }
    }
    for other in others {
        // The receiver is there: we were given it.
        let _ = sender.send(other);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn an_end_while_catching_up_ends_the_next_wait() {
        let (sender, events) = mpsc::channel();
        let console = |bytes: &[u8]| sender.send(Event::Console(1, bytes.to_vec())).unwrap();
        console(b"a");
        sender.send(Event::Console(0, b"an earlier one".to_vec())).unwrap();
        sender.send(Event::Signal(Signal::SIGINT)).unwrap();
        console(b"b");
        sender.send(Event::Closed(1)).unwrap();
        assert_eq!(written_by_now(1, &events, &sender), [b"a", b"b"]);
        let left: Vec<Event> = events.try_iter().collect();
        assert!(matches!(left[..], [Event::Signal(Signal::SIGINT), Event::Closed(1)]), "{left:?}");
    }
}
