//! An archive on the loopback address that serves package files from a cache, and misbehaves when told to.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use habuild::plan::lock::Lock;

/// What the archive does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It serves everything.
    Good,
    /// It has dropped every version of one package.
    Dropped(&'static str),
    /// One package has a wrong byte.
    Wrong(&'static str),
    /// It closes connections half-way through the answer once it has served so many packages.
    DownAfter(usize),
}

/// The running archive. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) url: String,
    served: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    port: u16,
}

#[derive(Debug)]
struct Shelf {
    /// Files by their place in the archive: package name and path in the cache.
    files: BTreeMap<String, (String, PathBuf)>,
    manner: Manner,
    served: Arc<AtomicUsize>,
}

impl Mirror {
    /// Serves the packages of `lock` that lie in `packages`.
    pub(crate) fn start(lock: &Path, packages: &Path, manner: Manner) -> Self {
        let lock: Lock = toml::from_str(&fs::read_to_string(lock).unwrap()).unwrap();
        let files = lock.layers.into_values().flat_map(|layer| layer.packages);
        let files = files.map(|package| {
            let at = packages.join(format!("{}.deb", package.sha256));
            (format!("/archive/{}", package.filename), (package.name, at))
        });
        let served = Arc::new(AtomicUsize::new(0));
        let shelf = Arc::new(Shelf { files: files.collect(), manner, served: Arc::clone(&served) });
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let ended = Arc::clone(&ended);
            move || {
                let connections = Mutex::new(Vec::new());
                for stream in listener.incoming() {
                    if ended.load(Ordering::SeqCst) {
                        break;
                    }
                    let (stream, shelf) = (stream.unwrap(), Arc::clone(&shelf));
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    connections.lock().unwrap().push(std::thread::spawn(move || shelf.answer(&stream)));
                }
            }
        });
        Self { url: format!("http://127.0.0.1:{port}/archive"), served, ended, thread: Some(thread), port }
    }

    /// How many packages it has served whole.
    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread from `accept`.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shelf {
    /// Answers the requests of one connection until it ends.
    fn answer(&self, stream: &TcpStream) {
        let mut lines = BufReader::new(stream).lines();
        while let Some(Ok(request)) = lines.next() {
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = request.split(' ').nth(1).unwrap_or_default();
            if !self.serve(path, stream) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }

    /// Whether the connection goes on.
    fn serve(&self, path: &str, mut stream: &TcpStream) -> bool {
        let found = self.files.get(path).filter(|(name, _)| self.manner != Manner::Dropped(leak(name)));
        let Some((name, file)) = found else {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").is_ok();
        };
        let mut body = fs::read(file).unwrap();
        if self.manner == Manner::Wrong(leak(name)) {
            body[100] ^= 1;
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if let Manner::DownAfter(count) = self.manner
            && self.served.load(Ordering::SeqCst) >= count
        {
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..body.len() / 2]));
            return false;
        }
        self.served.fetch_add(1, Ordering::SeqCst);
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_ok()
    }
}

/// A name that compares with those of [`Manner`]. A test's few names may stay in memory.
fn leak(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}
