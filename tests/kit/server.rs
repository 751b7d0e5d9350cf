//! An HTTP server on the loopback address that answers what a test says.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What goes over the connection, status line first, and whether another request may follow on it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) goes_on: bool,
}

impl Answer {
    /// An answer whose head promises `length` bytes. The connection goes on if the body is that long.
    pub(crate) fn new(status: &str, length: usize, body: &[u8]) -> Self {
        let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        bytes.extend_from_slice(body);
        Self { bytes, goes_on: body.len() == length }
    }
}

/// The running server. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    port: u16,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves what `answer` gives for a path; several requests may be answered at once.
    pub(crate) fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (ended, answer) = (Arc::clone(&ended), Arc::new(answer));
            move || {
                for stream in listener.incoming() {
                    if ended.load(Ordering::SeqCst) {
                        break;
                    }
                    let (stream, answer) = (stream.unwrap(), Arc::clone(&answer));
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    std::thread::spawn(move || serve(&stream, &*answer));
                }
            }
        });
        Self { port, ended, thread: Some(thread) }
    }

    /// Without a slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread from `accept`.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers the requests of one connection until it ends.
fn serve(mut stream: &TcpStream, answer: &dyn Fn(&str) -> Answer) {
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(request)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let answer = answer(request.split(' ').nth(1).unwrap_or_default());
        if stream.write_all(&answer.bytes).is_err() || !answer.goes_on {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}
