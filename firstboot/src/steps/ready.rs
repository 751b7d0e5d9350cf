//! Step `ready`: Harbor answers healthy, through the port that clients and the load balancer use.

use std::time::Duration;

use crate::bundle::Bundle;
use crate::host::http;
use crate::trouble::Trouble;
use contract::harbor;
use contract::schema::NodeConfig;

const TIME: Duration = Duration::from_secs(20);

/// Asks Harbor once.
pub(crate) fn check(config: &NodeConfig, bundle: &Bundle) -> Result<(), Trouble> {
    let (scheme, port) = match &config.tls {
        Some(_) => ("https", config.harbor.https_port),
        None => ("http", config.harbor.http_port),
    };
    for sign in harbor::signs(&bundle.version) {
        let path = sign.path;
        let found = match http::get(&format!("{scheme}://127.0.0.1:{port}{path}"), TIME) {
            Ok(answer) if answer.status != sign.status => {
                format!("{path} answers {} instead of {}", answer.status, sign.status)
            }
            Ok(answer) if sign.judged => match harbor::judge(&answer.body) {
                Ok(()) => continue,
                Err(what) => format!("{path}: {what}"),
            },
            Ok(_) => continue,
            Err(error) => format!("{path}: {error}"),
        };
        return Err(Trouble::passing(format!("Harbor is not healthy: {found}"))
            .hint(format!("{path} shows {}; see habuild-firstboot status, and journalctl -u docker", sign.shows)));
    }
    Ok(())
}
