//! One HTTP client for everything that a bake fetches.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Connections at once: archives answer each from disk, and more than this many slow one another down.
pub(super) const CONNECTIONS: usize = 8;

/// A client that keeps its connections, and asks for a host's addresses once.
pub(super) fn agent() -> Agent {
    let config = Agent::config_builder()
        .max_idle_connections_per_host(CONNECTIONS)
        .max_idle_connections(2 * CONNECTIONS)
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_recv_body(Some(Duration::from_secs(600)))
        .user_agent(concat!("habuild/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::with_parts(config, DefaultConnector::default(), Remembering::default())
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
