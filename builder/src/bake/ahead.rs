//! Reads ahead in a thread, so that decompressing one part goes on while another is unpacked.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

/// Bytes in one go, and how many goes may wait: what this costs in memory.
const PART: usize = 1 << 20;
const WAITING: usize = 3;

/// What a thread reads.
#[derive(Debug)]
pub(super) struct Ahead {
    parts: Receiver<io::Result<Vec<u8>>>,
    /// Takes parts back that were read: fresh memory costs the kernel's time.
    used: Sender<Vec<u8>>,
    part: Vec<u8>,
    at: usize,
    ended: bool,
}

/// Begins to read `source` in a thread of `scope`. The thread gives `source` back: at its end, or when the reader is
/// dropped.
pub(super) fn read_ahead<'scope, R: Read + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    source: R,
) -> (Ahead, ScopedJoinHandle<'scope, R>) {
    let (sender, parts) = sync_channel(WAITING);
    let (used, back) = channel();
    let thread = scope.spawn(move || send(source, &sender, &back));
    (Ahead { parts, used, part: Vec::new(), at: 0, ended: false }, thread)
}

fn send<R: Read>(mut source: R, sender: &SyncSender<io::Result<Vec<u8>>>, back: &Receiver<Vec<u8>>) -> R {
    loop {
        let mut part = back.try_recv().unwrap_or_default();
        part.resize(PART, 0);
        let (n, error) = fill(&mut source, &mut part);
        part.truncate(n);
        let ended = n == 0 || error.is_some();
        // What came before an error comes first; an empty part is the end.
        let parts = (n > 0 || error.is_none()).then_some(Ok(part)).into_iter().chain(error.map(Err));
        for part in parts {
            // Nobody listens when the reader has gone: it has what it wanted.
            if sender.send(part).is_err() {
                return source;
            }
        }
        if ended {
            return source;
        }
    }
}

/// Fills `part` as far as `source` goes; gives how much there was, and why it ended if that was an error.
fn fill(source: &mut impl Read, part: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while filled < part.len() {
        match source.read(&mut part[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.part.len() && !self.ended {
            match self.parts.recv() {
                Ok(Ok(part)) => {
                    self.ended = part.is_empty();
                    // Nobody needs it when the thread has ended.
                    let _ = self.used.send(std::mem::replace(&mut self.part, part));
                    self.at = 0;
                }
                Ok(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                Err(_) => return Err(io::Error::other("the thread that reads ahead ended early")),
            }
        }
        let rest = self.part.get(self.at..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_and_an_early_end_is_no_deadlock() {
        let bytes: Vec<u8> = (0..5 * PART + 17).map(|n| (n % 251) as u8).collect();
        std::thread::scope(|scope| {
            let (mut ahead, thread) = read_ahead(scope, bytes.as_slice());
            let mut all = Vec::new();
            ahead.read_to_end(&mut all).unwrap();
            assert!(all == bytes);
            thread.join().unwrap();
            let (mut ahead, _thread) = read_ahead(scope, io::repeat(1));
            ahead.read_exact(&mut [0; 10]).unwrap();
            drop(ahead);
            let broken = io::Error::new(io::ErrorKind::UnexpectedEof, "x");
            let broken = b"before".chain(Broken(Some(broken)));
            struct Broken(Option<io::Error>);
            impl Read for Broken {
                fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                    self.0.take().map_or(Ok(0), Err)
                }
            }
            let (mut ahead, _thread) = read_ahead(scope, broken);
            ahead.read_exact(&mut [0; 6]).unwrap();
            assert_eq!(ahead.read(&mut [0; 10]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        });
    }
}
