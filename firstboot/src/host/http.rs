//! Requests to this node itself: Harbor's own port, and its containers.
//!
//! A certificate is not verified: it is this node's own, and its names are those that clients use.

use std::sync::Arc;
use std::time::Duration;

/// More than any answer that is looked into.
const MOST: u64 = 256 * 1024;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Asks for a URL of this node's, whatever the status of the answer.
pub(crate) fn get(url: &str, time: Duration) -> Result<Answer, String> {
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
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(MOST).read_to_vec().map_err(|error| error.to_string())?;
    Ok(Answer { status, body })
}
