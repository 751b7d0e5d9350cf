//! Requests to this node itself: Harbor's own port.
//!
//! A certificate is not verified: it is this node's own, and its names are those that clients use.

use std::sync::Arc;
use std::time::Duration;

/// Asks 127.0.0.1; gives the status, whatever it is.
pub(crate) fn get_own(https: bool, port: u16, path: &str, time: Duration) -> Result<u16, String> {
    let scheme = if https { "https" } else { "http" };
    let tls = ureq::tls::TlsConfig::builder()
        .disable_verification(true)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(time))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .tls_config(tls)
        .build()
        .into();
    let answer = agent.get(format!("{scheme}://127.0.0.1:{port}{path}")).call();
    answer.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
}
