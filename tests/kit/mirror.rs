//! An archive that serves package files from a cache, and misbehaves when told to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use habuild::plan::lock::Lock;

use super::server::{Answer, Server};

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
    server: Server,
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
        let files: BTreeMap<String, (String, PathBuf)> = files.collect();
        let served = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&served);
        let server = Server::start(move |path| match files.get(path) {
            Some((name, _)) if matches!(manner, Manner::Dropped(dropped) if dropped == name) => gone(),
            Some((name, file)) => answer(name, fs::read(file).unwrap(), manner, &count),
            None => gone(),
        });
        Self { server, served }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/archive", self.server.url())
    }

    /// How many packages it has served whole.
    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

fn gone() -> Answer {
    Answer::new("404 Not Found", 0, b"")
}

fn answer(name: &str, mut body: Vec<u8>, manner: Manner, served: &AtomicUsize) -> Answer {
    match manner {
        Manner::DownAfter(count) if served.load(Ordering::SeqCst) >= count => {
            return Answer::new("200 OK", body.len(), &body[..body.len() / 2]);
        }
        Manner::Wrong(wrong) if wrong == name => body[100] ^= 1,
        _ => {}
    }
    served.fetch_add(1, Ordering::SeqCst);
    Answer::new("200 OK", body.len(), &body)
}
