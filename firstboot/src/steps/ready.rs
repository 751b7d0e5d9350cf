//! Step `ready`: Harbor answers healthy, through the port that clients and the load balancer use.
//!
//! Harbor 1.1 has no health endpoint: its start page needs Redis, `repositories/top` the database, `/v2/` the registry
//! (facts: goharbor/harbor v1.1.2, seen running).

use std::time::Duration;

use crate::host::http;
use crate::trouble::Trouble;
use contract::schema::NodeConfig;

const TIME: Duration = Duration::from_secs(20);

/// What must answer what, and what it shows.
const SIGNS: [(&str, u16, &str); 4] = [
    ("/api/systeminfo", 200, "the core service"),
    ("/api/repositories/top", 200, "the database behind the core service"),
    ("/", 200, "the sessions, which Redis holds unless it is bundled"),
    ("/v2/", 401, "the registry"),
];

/// Asks Harbor once.
pub(crate) fn check(config: &NodeConfig) -> Result<(), Trouble> {
    let (scheme, port) = match &config.tls {
        Some(_) => ("https", config.harbor.https_port),
        None => ("http", config.harbor.http_port),
    };
    for (path, expected, what) in SIGNS {
        let asked = http::get(&format!("{scheme}://127.0.0.1:{port}{path}"), TIME);
        let found = match asked {
            Ok(answer) if answer.status == expected => continue,
            Ok(answer) => format!("{path} answers {} instead of {expected}", answer.status),
            Err(error) => format!("{path}: {error}"),
        };
        return Err(Trouble::passing(format!("Harbor is not healthy: {found}"))
            .hint(format!("{path} shows {what}; see habuild-firstboot status, and journalctl -u docker")));
    }
    Ok(())
}
