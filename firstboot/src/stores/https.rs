//! `ref+https://`: one GET, over TLS that is verified.
//!
//! Invariant: a token goes only to the host that the reference names; no proxy is used, and no environment asked.

use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::{Response, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Error};

use super::{MOST, Refusal, file, private_file};
use crate::host::Host;
use crate::host::trust;
use contract::schema::SecretRef;

/// How many redirects are followed, all to the same host.
const REDIRECTS: usize = 5;

/// How long an answer may take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), total: Duration::from_secs(30) }
    }
}

/// Fetches what is kept at an address.
pub(super) fn fetch(
    host: &Host,
    address: &SecretRef,
    limits: &Limits,
    warnings: &mut Vec<String>,
) -> Result<Vec<u8>, Refusal> {
    let until = Instant::now() + limits.total;
    let agent = agent(host, address.option("ca_file"), limits)?;
    let token = address.option("token_file").map(|path| token(host, path, warnings)).transpose()?;
    let mut url = url(address)?;
    for _ in 0..=REDIRECTS {
        let mut request = agent.get(&url);
        if let Some(token) = &token {
            request = request.header(header::AUTHORIZATION, token.clone());
        }
        let left = until.saturating_duration_since(Instant::now());
        let request = request.config().timeout_global(Some(left)).build();
        let answer = request.call().map_err(|error| failure(&error))?;
        match answer.status().as_u16() {
            200 => return body(answer),
            301 | 302 | 303 | 307 | 308 => url = next(&answer, &url)?,
            status => return Err(unfit(status, token.is_some())),
        }
    }
    Err(Refusal::lasting("redirects in circles").advice("name the final address"))
}

fn agent(host: &Host, ca_file: Option<&str>, limits: &Limits) -> Result<Agent, Refusal> {
    let authorities = match ca_file {
        None => trust::system(host).map_err(|what| {
            Refusal::lasting(what).advice("install ca-certificates in the image, or give the option ca_file")
        })?,
        Some(path) => {
            let (pem, _) = file(host, path)?;
            trust::certificates(&pem).map_err(|what| Refusal::lasting(format!("{path} {what}")))?
        }
    };
    let authorities: Vec<_> =
        authorities.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::from(authorities))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(limits.connect))
        .user_agent(concat!("habuild-firstboot/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .build();
    Ok(config.new_agent())
}

/// The header's value for the token of a file.
fn token(host: &Host, path: &str, warnings: &mut Vec<String>) -> Result<header::HeaderValue, Refusal> {
    let bytes = private_file(host, path, warnings)?;
    let token = std::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
    let odd = || Refusal::lasting(format!("{path} holds no token: it must be one line of plain characters"));
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(odd());
    }
    let mut value = header::HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| odd())?;
    value.set_sensitive(true);
    Ok(value)
}

fn url(address: &SecretRef) -> Result<Uri, Refusal> {
    let mut url = format!("https://{}", address.path());
    if !address.path().contains('/') {
        url.push('/');
    }
    for (i, (name, value)) in address.query().enumerate() {
        url.push(if i == 0 { '?' } else { '&' });
        url.push_str(name);
        if !value.is_empty() {
            url.push('=');
            url.push_str(value);
        }
    }
    // The error is not repeated: a query may hold a token.
    url.parse().map_err(|_| Refusal::lasting("is no address that can be asked"))
}

/// Where a redirect leads, if it stays on the host.
fn next(answer: &Response<Body>, from: &Uri) -> Result<Uri, Refusal> {
    let odd = || Refusal::lasting("redirects to no address").advice("name the final address");
    let target = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).ok_or_else(odd)?;
    let here = from.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let target = if target.starts_with('/') && !target.starts_with("//") {
        format!("https://{here}{target}")
    } else {
        target.to_owned()
    };
    let target: Uri = target.parse().map_err(|_| odd())?;
    let there = |uri: &Uri| (uri.host().map(str::to_ascii_lowercase), uri.port_u16().unwrap_or(443));
    if target.scheme_str() != Some("https") || there(&target) != there(from) {
        let place = target.host().unwrap_or("nowhere");
        let refusal = Refusal::lasting(format!("redirects to another server ({place}), which is not followed"));
        return Err(refusal.advice("name the final address"));
    }
    Ok(target)
}

fn body(answer: Response<Body>) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MOST).unwrap_or(u64::MAX);
    let read = answer.into_body().into_reader().take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| failure(&Error::from(error)))?;
    match bytes.len() {
        0 => Err(Refusal::lasting("the answer is empty")),
        length if length > MOST => Err(Refusal::lasting("the answer has more than 1 MiB, too large for a secret")),
        _ => Ok(bytes),
    }
}

/// What a status other than 200 means.
fn unfit(status: u16, with_token: bool) -> Refusal {
    let said = |words: &str| format!("answers {status}: {words}");
    match status {
        401 | 403 if with_token => Refusal::lasting(said("access refused"))
            .advice("renew the token of token_file, or let it read this address"),
        401 | 403 => Refusal::lasting(said("access refused")).advice("give a token: the option token_file=/PATH"),
        404 | 410 => Refusal::lasting(said("there is nothing at this address")).advice("check the path"),
        408 | 429 => Refusal::passing(said("it asks to come back later")),
        500..=599 => Refusal::passing(said("the server has trouble")),
        _ => Refusal::lasting(said("not the secret")),
    }
}

/// What a request that got no answer means.
fn failure(error: &Error) -> Refusal {
    let unreachable = |what: String| Refusal { unreachable: true, ..Refusal::passing(what) };
    match error {
        Error::HostNotFound => unreachable("the host's name is not known".to_owned()),
        Error::Timeout(_) => unreachable("no answer in time".to_owned()),
        Error::ConnectionFailed => unreachable("cannot connect".to_owned()),
        Error::Rustls(error) => tls(error),
        Error::Io(error) => match trust::inside(error) {
            Some(error) => tls(error),
            None => unreachable(format!("the connection failed: {error}")),
        },
        // Such as a proxy that is not ready and answers in another protocol.
        other => Refusal::passing(format!("gives no answer that can be read: {other}")),
    }
}

fn tls(error: &rustls::Error) -> Refusal {
    let fault = trust::explain(error);
    let advice = fault.advice("the option ca_file=/PATH");
    Refusal { advice, recoverable: fault.recoverable, ..Refusal::lasting(fault.what) }
}
