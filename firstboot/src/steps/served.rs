//! The certificate that this node is to show to clients: whether it can be used, before anything is mounted or started.

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};

use crate::host::{Host, trust};
use crate::secrets::Resolved;
use crate::share;
use crate::trouble::Trouble;
use contract::schema::NodeConfig;

/// Judges `tls.certificate` and `tls.key`, if they are given; what is wrong, but no reason not to serve with it, in words.
pub(super) fn check(host: &Host, config: &NodeConfig, secrets: &Resolved) -> Result<Option<String>, Trouble> {
    if config.tls.is_none() {
        return Ok(None);
    }
    let (certificate, key) = (secrets.need("tls.certificate")?, secrets.need("tls.key")?);
    let name = config.harbor.external_url.host.trim_matches(['[', ']']);
    judge(host, certificate, key, name, UnixTime::since_unix_epoch(host.now()))
}

fn judge(host: &Host, certificate: &str, key: &str, name: &str, now: UnixTime) -> Result<Option<String>, Trouble> {
    let wrong = |what: String| Trouble::lasting(format!("tls.certificate: {what}"));
    let chain = trust::certificates(certificate.as_bytes()).map_err(wrong)?;
    let leaf = chain.first().ok_or_else(|| wrong("holds no certificate".to_owned()))?.clone();
    let leaf = ParsedCertificate::try_from(&leaf).map_err(|_| wrong("holds a certificate that is damaged".into()))?;
    let parsed = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| Trouble::lasting("tls.key: holds no private key in PEM, or an encrypted one"))?;
    let fits = match ring::sign::any_supported_type(&parsed) {
        Ok(key) => {
            let mismatch = Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch));
            CertifiedKey::new(chain, key).keys_match() != mismatch
        }
        // A kind that this program does not know may still be one that the front end knows: the node's openssl tells.
        Err(_) => share::belong_together(host, key, certificate).unwrap_or(true),
    };
    if !fits {
        let advice = "the first certificate there must be the one of tls.key; then systemctl restart habuild-firstboot";
        return Err(wrong("is not the one of tls.key".to_owned()).hint(advice));
    }
    in_time(&leaf, now)?;
    if !ServerName::try_from(name).is_ok_and(|name| verify_server_name(&leaf, &name).is_ok()) {
        return Ok(Some(format!(
            "tls.certificate: does not name {name} as one of its subjectAltNames: clients refuse it"
        )));
    }
    Ok(None)
}

/// Whether the certificate is valid now. Nobody is trusted, since whom clients trust is not known here: what is looked for is
/// what is found wrong before that.
fn in_time(leaf: &ParsedCertificate<'_>, now: UnixTime) -> Result<(), Trouble> {
    let nobody = RootCertStore::empty();
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    let days = |seconds: u64| seconds / 86400 + 1;
    let said = match verify_server_cert_signed_by_trust_anchor(leaf, &nobody, &[], now, algorithms) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after })) => {
            let ago = days(time.as_secs().saturating_sub(not_after.as_secs()));
            format!("has expired, {ago} days ago by this node's clock")
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before })) => {
            let ahead = days(not_before.as_secs().saturating_sub(time.as_secs()));
            format!("is not valid yet, for {ahead} days by this node's clock")
        }
        _ => return Ok(()),
    };
    // Before the time is synchronised, a node's clock may be years off.
    let advice = "renew it and systemctl restart habuild-firstboot, or set the clock: timedatectl";
    Err(Trouble::passing(format!("tls.certificate: {said}")).hint(advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    use crate::test_authority::Authority;

    /// The beginning of 2026.
    const NOW: u64 = 1_767_225_600;

    fn host() -> Host {
        Host::new(Path::new("/"))
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_certificate_that_is_right() {
        let authority = Authority::new();
        let issued = authority.issue("hub.example.com");
        assert_eq!(judge(&host(), &issued.certificate, &issued.key, "hub.example.com", at(NOW)), Ok(None));
        // With the authority's behind it, as front ends want it.
        let chain = issued.certificate.clone() + &authority.pem();
        assert_eq!(judge(&host(), &chain, &issued.key, "hub.example.com", at(NOW)), Ok(None));
        let address = authority.issue("10.0.0.5");
        assert_eq!(judge(&host(), &address.certificate, &address.key, "10.0.0.5", at(NOW)), Ok(None));
        let doubt = judge(&host(), &issued.certificate, &issued.key, "other.example.com", at(NOW)).unwrap().unwrap();
        assert!(doubt.contains("does not name other.example.com"), "{doubt}");
    }

    /// A key of a kind that ring does not know is compared by the node's openssl.
    #[test]
    fn a_key_of_an_unknown_kind() {
        let issued = Authority::new().issue("hub");
        let make = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
        let other = host().command("openssl").args(make).text().unwrap();
        let trouble = judge(&host(), &issued.certificate, &other, "hub", at(NOW)).unwrap_err();
        assert!(trouble.message.contains("is not the one of tls.key"), "{trouble}");
    }

    #[test]
    fn certificates_that_are_wrong() {
        let authority = Authority::new();
        let (one, other) = (authority.issue("hub"), authority.issue("hub"));
        let old = authority.issue_until("hub", 2025);
        let chain_upside_down = authority.pem() + &one.certificate;
        for (certificate, key, now, passing, words) in [
            (&one.certificate, &other.key, NOW, false, "is not the one of tls.key"),
            (&chain_upside_down, &one.key, NOW, false, "is not the one of tls.key"),
            (&old.certificate, &old.key, NOW, true, "has expired, 366 days ago by this node's clock"),
            (&one.certificate, &one.key, 0, true, "is not valid yet, for 1827 days by this node's clock"),
            (&one.key, &one.key, NOW, false, "holds no certificate in PEM"),
            (&one.certificate, &one.certificate, NOW, false, "tls.key: holds no private key in PEM"),
        ] {
            let trouble = judge(&host(), certificate, key, "hub", at(now)).expect_err(words);
            assert!(trouble.to_string().contains(words), "{words}: {trouble}");
            assert_eq!(trouble.passing, passing, "{trouble}");
            assert!(!trouble.to_string().contains("PRIVATE"), "{trouble}");
        }
    }
}
