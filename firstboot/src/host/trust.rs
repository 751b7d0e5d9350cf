//! Which certificates of servers are trusted, and what it means when one is not.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage, RootCertStore};

use crate::host::Host;

/// The authorities that the node's operating system trusts, where Debian and Ubuntu keep them.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The certificates of a PEM text; text around them is passed over.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => {
            let mut roots = RootCertStore::empty();
            found.iter().try_for_each(|certificate| roots.add(certificate.clone())).map_err(|_| damaged())?;
            Ok(found)
        }
        Ok(_) => Err("holds no certificate in PEM".to_owned()),
        Err(_) => Err(damaged()),
    }
}

fn damaged() -> String {
    "holds a certificate that is damaged".to_owned()
}

/// The authorities of the node's operating system. One that this version cannot read is left out, as others do.
pub(crate) fn system(host: &Host) -> Result<Vec<CertificateDer<'static>>, String> {
    let content = host.read(Path::new(SYSTEM)).map_err(|error| format!("{SYSTEM} cannot be read: {error}"))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&content.bytes).filter_map(Result::ok).collect();
    if found.is_empty() { Err(format!("{SYSTEM} holds no certificate")) } else { Ok(found) }
}

/// A client that trusts these authorities and no other.
pub(crate) fn client(authorities: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// What a failure of TLS means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFault {
    pub(crate) what: String,
    /// What to do, where the error tells.
    advice: Option<Advice>,
    /// Whether it may pass without a change of any configuration.
    pub(crate) recoverable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advice {
    /// To name the authority that signed the certificate.
    Authority,
    Other(&'static str),
}

impl TlsFault {
    /// What to do; `authority` is the place in the node config that names the authority.
    pub(crate) fn advice(&self, authority: &str) -> Option<String> {
        self.advice.map(|advice| match advice {
            Advice::Authority => format!("give the authority that signed it: {authority}"),
            Advice::Other(advice) => advice.to_owned(),
        })
    }
}

/// Says what a failure of TLS means.
pub(crate) fn explain(error: &Error) -> TlsFault {
    let lasting = |what: &str, advice| TlsFault { what: what.to_owned(), advice, recoverable: false };
    let authority = Some(Advice::Authority);
    let other = |advice| Some(Advice::Other(advice));
    match error {
        Error::InvalidCertificate(refused) => match refused {
            // A bad signature: an authority of the same name, but with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                lasting("its certificate is signed by an authority that is not trusted here", authority)
            }
            // Before the time is synchronised, a node's clock may be years off.
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault {
                recoverable: true,
                ..lasting("its certificate has expired", other("renew it, or set this node's clock (timedatectl)"))
            },
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault {
                recoverable: true,
                ..lasting("its certificate is not valid yet", other("look at this node's clock (timedatectl)"))
            },
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => lasting(
                "its certificate is for another name",
                other("use a name that the certificate holds, or have one made for this name"),
            ),
            refused if format!("{refused:?}").contains("CaUsedAsEndEntity") => {
                lasting("its certificate is an authority's own", other("have the authority sign one for the server"))
            }
            refused => lasting(&format!("its certificate is refused: {refused:?}"), None),
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            lasting("it does not speak TLS on this port", None)
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion) => lasting(
            "it has no TLS version or cipher in common with this node",
            other("it must know TLS 1.2 with ECDHE"),
        ),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            lasting("it demands a certificate of its clients, which a node has not", None)
        }
        error => lasting(&format!("TLS failed: {error}"), None),
    }
}

/// The error of TLS that an error of input or output stands for, if it does.
pub(crate) fn inside(error: &std::io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}
