//! What a secret must look like, by its key: a literal when the node config is read, any other once it is resolved.
//!
//! Invariant: no message repeats any part of the literal.

use crate::strict::Mistake;

type Verdict = Result<(), Mistake>;

/// Judges the secret of a key.
pub(super) fn check(key: &str, text: &str) -> Verdict {
    rule(key).map_or(Ok(()), |rule| rule(text))
}

/// Whether the secret of a key may have several lines: PEM does, and so may settings of Harbor's.
pub(super) fn may_have_lines(key: &str) -> bool {
    let pem = ["database.ca", "redis.ca", "secret_stores.vault.ca", "tls.certificate", "tls.key"];
    let shared = ["shared_secrets.root_crt", "shared_secrets.private_key"];
    pem.contains(&key) || shared.contains(&key) || key.starts_with("harbor.settings.")
}

fn rule(key: &str) -> Option<fn(&str) -> Verdict> {
    Some(match key {
        "storage.cephfs.secret" => ceph_key,
        "database.ca" | "redis.ca" | "secret_stores.vault.ca" => certificate,
        "tls.certificate" | "shared_secrets.root_crt" => certificate,
        "tls.key" => private_key,
        "shared_secrets.private_key" => token_key,
        "shared_secrets.secretkey" => secretkey,
        "shared_secrets.csrf_key" => csrf_key,
        // Only Harbor knows what its settings must look like.
        key if key.starts_with("harbor.settings.") => return None,
        _ => line,
    })
}

/// A password, token or other secret of one line.
fn line(text: &str) -> Verdict {
    if text.ends_with('\n') || text.ends_with('\r') {
        return Err(Mistake::new("ends with a line break").hint("a block | adds one, |- does not"));
    }
    if text.contains(|c: char| c.is_control()) {
        return Err(Mistake::new("holds a line break or another control character"));
    }
    if text.trim() != text {
        return Err(Mistake::new("begins or ends with a blank"));
    }
    Ok(())
}

/// The AES key of Harbor's settings: with any other length Harbor does not start ("invalid key size").
fn secretkey(text: &str) -> Verdict {
    line(text)?;
    match text.len() {
        16 => Ok(()),
        count => Err(Mistake::new(format!("must be exactly 16 characters, has {count}"))),
    }
}

/// Harbor 2 takes a CSRF key of 32 characters only; the 40 of 1.8 to 1.10 are made of it.
fn csrf_key(text: &str) -> Verdict {
    line(text)?;
    match text.len() {
        32 => Ok(()),
        count => Err(Mistake::new(format!("must be exactly 32 characters, has {count}"))),
    }
}

/// What `ceph auth get-key` prints.
fn ceph_key(text: &str) -> Verdict {
    let advice = "give what ceph auth get-key client.NAME prints";
    if text.contains('[') {
        return Err(Mistake::new("is a whole keyring, must be the key alone").hint(advice));
    }
    line(text)?;
    let digits = text.trim_end_matches('=');
    let base64 = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    if !text.len().is_multiple_of(4) || text.len() < 16 || text.len() - digits.len() > 2 || !digits.chars().all(base64)
    {
        return Err(Mistake::new("is not a Ceph key").hint(advice));
    }
    Ok(())
}

/// One or more certificates in PEM.
fn certificate(text: &str) -> Verdict {
    match pem_label(text)? {
        "CERTIFICATE" => Ok(()),
        label if label.ends_with("PRIVATE KEY") => Err(Mistake::new("holds a private key, must be a certificate")),
        _ => Err(Mistake::new("must be a certificate in PEM")),
    }
}

/// A private key in PEM, unencrypted.
fn private_key(text: &str) -> Verdict {
    match pem_label(text)? {
        "ENCRYPTED PRIVATE KEY" => Err(Mistake::new("is an encrypted key, which a node cannot open")),
        label if label.ends_with("PRIVATE KEY") => Ok(()),
        "CERTIFICATE" => Err(Mistake::new("holds a certificate, must be a private key")),
        _ => Err(Mistake::new("must be a private key in PEM")),
    }
}

/// The key that signs Harbor's tokens: libtrust reads PKCS#1 only, and newer openssl writes PKCS#8.
fn token_key(text: &str) -> Verdict {
    private_key(text)?;
    match pem_label(text)? {
        "RSA PRIVATE KEY" => Ok(()),
        "PRIVATE KEY" => Err(Mistake::new("is a key in PKCS#8, which Harbor does not read")
            .hint("convert it to PKCS#1: openssl rsa -traditional -in KEY")),
        _ => Err(Mistake::new("must be an RSA key in PKCS#1")),
    }
}

fn pem_label(text: &str) -> Result<&str, Mistake> {
    let not_pem = || Mistake::new("is not PEM").hint("use a block: | and the lines below it, or a reference");
    let begin = text.trim_start().strip_prefix("-----BEGIN ").ok_or_else(not_pem)?;
    let (label, rest) = begin.split_once("-----").ok_or_else(not_pem)?;
    if !rest.contains(&format!("-----END {label}-----")) {
        return Err(Mistake::new("is cut off: the -----END line is missing"));
    }
    if !rest.trim_end().contains('\n') {
        return Err(
            Mistake::new("has lost its line breaks").hint("use a block: | and the lines below it, or a reference")
        );
    }
    Ok(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(label: &str) -> String {
        format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
    }

    #[test]
    fn literals_are_judged_without_being_repeated() {
        let key = "AQDl8vZfAAAAABAAaWxsdXN0cmF0aXZlLWtleQ==";
        type Check = fn(&str) -> Verdict;
        let cases: [(Check, String, Option<&str>); 20] = [
            (line, "s3cret".into(), None),
            (line, "s3cret\n".into(), Some("line break")),
            (line, " s3cret".into(), Some("blank")),
            (secretkey, "s3cret0123456789".into(), None),
            (secretkey, "s3cret0123456789\n".into(), Some("line break")),
            (secretkey, "s3cret".into(), Some("exactly 16 characters, has 6")),
            (csrf_key, "s3cret".into(), Some("exactly 32")),
            (csrf_key, "s".repeat(32), None),
            (csrf_key, "s".repeat(40), Some("exactly 32")),
            (ceph_key, key.into(), None),
            (ceph_key, format!("[client.harbor]\nkey = {key}"), Some("whole keyring")),
            (ceph_key, "s3cret".into(), Some("not a Ceph key")),
            (certificate, pem("CERTIFICATE"), None),
            (certificate, pem("RSA PRIVATE KEY"), Some("holds a private key")),
            (certificate, pem("CERTIFICATE").replace('\n', " "), Some("lost its line breaks")),
            (certificate, "-----BEGIN CERTIFICATE-----\ns3cret".into(), Some("cut off")),
            (private_key, pem("ENCRYPTED PRIVATE KEY"), Some("encrypted")),
            (private_key, pem("CERTIFICATE"), Some("holds a certificate")),
            (token_key, pem("PRIVATE KEY"), Some("PKCS#8")),
            (token_key, pem("RSA PRIVATE KEY"), None),
        ];
        for (check, text, expected) in cases {
            match (check(&text), expected) {
                (Ok(()), None) => {}
                (Err(refusal), Some(expected)) => {
                    assert!(refusal.message.contains(expected), "{refusal:?}");
                    assert!(!format!("{refusal:?}").contains("s3cret"), "{refusal:?}");
                }
                (outcome, _) => panic!("{text:?}: {outcome:?}"),
            }
        }
    }
}
