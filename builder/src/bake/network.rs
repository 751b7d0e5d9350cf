//! Everything that a bake fetches: one HTTP client, and files of bounded length in bounded time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::sys::digest::{Digest, Hashing};

/// Connections at once: archives answer each from disk, and more than this many slow one another down.
pub(super) const CONNECTIONS: usize = 8;

/// How long a server may be silent in the midst of an answer. There is no bound for the whole of it but the length: a
/// bundle of a gigabyte takes an hour on a slow line.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// A client that keeps its connections, and asks for a host's addresses once. `silence`: see [`SILENCE`].
pub(super) fn agent(silence: Duration) -> Agent {
    let config = Agent::config_builder()
        .max_idle_connections_per_host(CONNECTIONS)
        .max_idle_connections(2 * CONNECTIONS)
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_per_read(Some(silence))
        .user_agent(concat!("habuild/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::with_parts(config, DefaultConnector::default(), Remembering::default())
}

/// Writes what `url` gives into the file `to`; gives its digest and length. It stops at the first byte too many: a
/// length above `longest` says that there were more.
pub(super) fn download(agent: &Agent, url: &str, to: &Path, longest: u64) -> Result<(Digest, u64)> {
    let mut response = agent.get(url).call().with_context(|| format!("{url} does not answer"))?;
    let file = File::create(to).with_context(|| format!("failed to create {}", to.display()))?;
    let mut writer = Hashing::new(file);
    let mut body = response.body_mut().as_reader().take(longest.saturating_add(1));
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = body.read(&mut buffer).with_context(|| format!("{url} broke off"))?;
        if n == 0 {
            break;
        }
        writer.write_all(&buffer[..n]).with_context(|| format!("failed to write {}", to.display()))?;
    }
    let (digest, length, _) = writer.finish();
    Ok((digest, length))
}

/// Whether a server answered that it has no such file (any more), by the status of its answer.
pub(super) fn is_gone(error: &anyhow::Error) -> bool {
    let status = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(ureq::Error::StatusCode(status)) => Some(*status),
        _ => None,
    });
    matches!(status, Some(404 | 410))
}

/// Remembers a host's addresses. The client resolves anew for each request, even on an open connection; name servers
/// that drop some of hundreds of questions a second then cost five seconds each time.
#[derive(Debug, Default)]
struct Remembering {
    ask: DefaultResolver,
    known: Mutex<BTreeMap<String, ResolvedSocketAddrs>>,
}

impl Resolver for Remembering {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = format!("{:?}://{:?}", uri.scheme(), uri.authority());
        // The lock is held while asking, so that the first requests of all connections ask once together.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&host) {
            known.insert(host.clone(), self.ask.resolve(uri, config, timeout)?);
        }
        let mut addresses = self.empty();
        for address in known.get(&host).into_iter().flat_map(|found| found.iter()) {
            addresses.push(*address);
        }
        Ok(addresses)
    }
}
