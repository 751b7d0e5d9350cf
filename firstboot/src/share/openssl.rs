//! Keys and certificates, by the node's `openssl`: keys pass through pipes only.

use std::time::Duration;

use crate::host::Host;
use crate::trouble::Trouble;

/// A large key on a busy, emulated machine takes its time.
const TIME: Duration = Duration::from_secs(300);
/// Ten years, as Harbor's own `prepare` gives it.
const DAYS: &str = "3650";

/// A new RSA key in PKCS#1, and a certificate of it.
pub(super) fn key_and_certificate(host: &Host, bits: u32) -> Result<(String, String), Trouble> {
    let failed = |what: &str, error: String| Trouble::passing(format!("{what} cannot be made: openssl: {error}"));
    let bits = bits.to_string();
    // Without -traditional OpenSSL 3 writes PKCS#8; before 3 the option is unknown, and PKCS#1 what it writes.
    let made = host.command("openssl").args(["genrsa", "-traditional", &bits]).time(TIME).run();
    let made = made.or_else(|_| host.command("openssl").args(["genrsa", &bits]).time(TIME).run());
    let key = made.map_err(|error| failed("the token key", error.said()))?;
    let key = String::from_utf8(key).map_err(|_| failed("the token key", "wrote no text".to_owned()))?;
    let request = ["req", "-new", "-x509", "-sha256", "-days", DAYS, "-subj", "/CN=harbor-token-issuer"];
    let certificate = host
        .command("openssl")
        .args(request)
        .args(["-key", "/dev/stdin"])
        .input(key.clone().into_bytes())
        .time(TIME)
        .text()
        .map_err(|error| failed("the token certificate", error.said()))?;
    Ok((key, certificate))
}

/// The key in PKCS#1, whatever form it is in.
pub(super) fn traditional(host: &Host, key: &str) -> Result<String, String> {
    if key.starts_with("-----BEGIN RSA PRIVATE KEY-----") {
        return Ok(key.to_owned());
    }
    let convert = |args: &[&str]| host.command("openssl").args(args).input(key.as_bytes().to_vec()).text();
    let converted = convert(&["rsa", "-traditional"]).or_else(|_| convert(&["rsa"]));
    converted.map_err(|_| "is no RSA key that openssl can read".to_owned())
}

/// Whether the certificate is of that key.
pub(crate) fn belong_together(host: &Host, key: &str, certificate: &str) -> Result<bool, String> {
    let public = |args: &[&str], input: &str, what: &str| {
        let run = host.command("openssl").args(args).input(input.as_bytes().to_vec()).text();
        run.map_err(|_| format!("{what} cannot be read by openssl"))
    };
    let of_key = public(&["pkey", "-pubout"], key, "the private key")?;
    let of_certificate = public(&["x509", "-noout", "-pubkey"], certificate, "the certificate")?;
    Ok(of_key.trim() == of_certificate.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_pair_belongs_together() {
        let host = Host::new(Path::new("/"));
        let (key, certificate) = key_and_certificate(&host, 1024).unwrap();
        assert!(key.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "PKCS#1 only");
        assert_eq!(belong_together(&host, &key, &certificate), Ok(true));
        let (other, _) = key_and_certificate(&host, 1024).unwrap();
        assert_eq!(belong_together(&host, &other, &certificate), Ok(false));
        assert_eq!(
            belong_together(&host, "x", &certificate),
            Err("the private key cannot be read by openssl".to_owned())
        );
        let args = ["pkcs8", "-topk8", "-nocrypt"];
        let modern = host.command("openssl").args(args).input(key.clone().into_bytes()).text().unwrap();
        assert!(modern.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(traditional(&host, &modern).unwrap(), key);
        assert!(traditional(&host, "x").is_err());
    }
}
