//! Everything that a bake fetches: one HTTP client, and files of bounded length. A server that falls silent is given up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ureq::config::Config;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};

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
    let response = agent.get(url).call().with_context(|| format!("{url} does not answer"))?;
    let file = File::create(to).with_context(|| format!("failed to create {}", to.display()))?;
    receive(response, url, Hashing::new(file), longest, &mut |_, _| ())
}

/// As [`download`], going on behind what `to` holds already where the server can. `progress` gets the bytes that are there
/// and those that there will be, if the server tells.
pub(super) fn resume(
    agent: &Agent,
    url: &str,
    to: &Path,
    longest: u64,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(Digest, u64)> {
    let context = || format!("failed to write {}", to.display());
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(to).with_context(context)?;
    let mut there = Hashing::new(io::sink());
    let length = io::copy(&mut file, &mut there).with_context(context)?;
    let request = agent.get(url);
    let request = if length > 0 { request.header("Range", format!("bytes={length}-")) } else { request };
    let response = match request.call() {
        // Nothing comes behind what is there.
        Err(ureq::Error::StatusCode(416)) => return Ok((there.finish().0, length)),
        response => response.with_context(|| format!("{url} does not answer"))?,
    };
    if length > 0 && goes_on_at(&response, length) {
        return receive(response, url, there.with(file), longest, progress);
    }
    file.set_len(0).and_then(|()| file.rewind()).with_context(context)?;
    receive(response, url, Hashing::new(file), longest, progress)
}

/// Whether an answer is the part of the file that begins at `length` (RFC 9110, 15.3.7).
fn goes_on_at(response: &Response<Body>, length: u64) -> bool {
    let range = response.headers().get("content-range").and_then(|value| value.to_str().ok()).unwrap_or_default();
    response.status() == 206 && range.starts_with(&format!("bytes {length}-"))
}

fn receive(
    mut response: Response<Body>,
    url: &str,
    mut writer: Hashing<File>,
    longest: u64,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(Digest, u64)> {
    let total = response.body().content_length().map(|more| writer.length() + more);
    let mut body = response.body_mut().as_reader().take(longest.saturating_sub(writer.length()).saturating_add(1));
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = body.read(&mut buffer).with_context(|| format!("{url} broke off"))?;
        if n == 0 {
            break;
        }
        writer.write_all(&buffer[..n]).with_context(|| format!("failed to write what {url} gives"))?;
        progress(writer.length(), total);
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
