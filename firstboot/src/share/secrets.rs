//! What every node of a cluster must have alike: made once, checked whenever it is read.
//!
//! Facts (goharbor/harbor, v1.1.2 to v2.15.2): `secretkey` has exactly 16 bytes, without a line end; the token key is RSA
//! in PKCS#1, which Harbor's libtrust accepts and PKCS#8 it does not; the CSRF key has exactly 32.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::openssl;
use crate::host::Host;
use crate::trouble::Trouble;

/// The version of the file's form.
const SCHEMA: u32 = 1;
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The shared secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SharedSecrets {
    schema: u32,
    /// Encrypts settings in database and share.
    pub(crate) secretkey: String,
    /// Signs tokens.
    pub(crate) private_key: String,
    /// The certificate of `private_key`.
    pub(crate) root_crt: String,
    /// What the core service is known by.
    pub(crate) core_secret: String,
    /// What the job service is known by.
    pub(crate) jobservice_secret: String,
    /// Guards forms against forgery, from 1.8 on.
    pub(crate) csrf_key: String,
    /// The password between core and registry, from 2.0 on.
    pub(crate) registry_password: String,
}

impl fmt::Debug for SharedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecrets(hidden)")
    }
}

impl SharedSecrets {
    /// Makes new ones.
    pub(super) fn generate(host: &Host, bits: u32) -> Result<Self, Trouble> {
        let (private_key, root_crt) = openssl::key_and_certificate(host, bits)?;
        Self::with_key(random(16)?, private_key, root_crt)
    }

    /// Those of a cluster that was made by hand, with new ones where its nodes had one each.
    pub(super) fn with_key(secretkey: String, private_key: String, root_crt: String) -> Result<Self, Trouble> {
        Ok(Self {
            schema: SCHEMA,
            secretkey,
            private_key,
            root_crt,
            core_secret: random(16)?,
            jobservice_secret: random(16)?,
            csrf_key: random(32)?,
            registry_password: random(32)?,
        })
    }

    /// The password of a database that is the bundle's own: made of the others, so that it stays as long as they do.
    pub(crate) fn database_password(&self) -> String {
        let text = format!("habuild: the bundle's own database\n{}\n{}", self.core_secret, self.jobservice_secret);
        sha256(text.as_bytes()).chars().take(32).collect()
    }

    /// Those that the node config gives, by their keys.
    pub(crate) fn given<'v>(value: impl Fn(&str) -> Result<&'v str, Trouble>) -> Result<Self, Trouble> {
        let text = |key: &str| value(key).map(str::to_owned);
        Ok(Self {
            schema: SCHEMA,
            secretkey: text("secretkey")?,
            private_key: text("private_key")?,
            root_crt: text("root_crt")?,
            core_secret: text("core_secret")?,
            jobservice_secret: text("jobservice_secret")?,
            csrf_key: text("csrf_key")?,
            registry_password: text("registry_password")?,
        })
    }

    /// The text of `secrets.json`: the same for the same secrets.
    pub(super) fn text(&self) -> Result<String, Trouble> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|error| Trouble::lasting(format!("secrets.json: {error}")))
    }

    /// Reads the text of `secrets.json`. Errors quote nothing of it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty: a node lost power while it was written".to_owned());
        }
        let object: serde_json::Value = serde_json::from_slice(text).map_err(|_| "is not JSON".to_owned())?;
        match object.get("schema").and_then(serde_json::Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(other) => return Err(format!("has schema {other}, and this version of habuild reads {SCHEMA}")),
            None => return Err("has no schema".to_owned()),
        }
        // serde's own words may quote values.
        let secrets: Self = serde_json::from_value(object)
            .map_err(|_| "has a key too few, too many, or of the wrong kind".to_owned())?;
        secrets.check()?;
        Ok(secrets)
    }

    /// The rules that text alone can break.
    pub(super) fn check(&self) -> Result<(), String> {
        let one_line = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        for (name, text, length) in [
            ("secretkey", &self.secretkey, Some(16)),
            ("core_secret", &self.core_secret, None),
            ("jobservice_secret", &self.jobservice_secret, None),
            ("csrf_key", &self.csrf_key, Some(32)),
            ("registry_password", &self.registry_password, None),
        ] {
            if !one_line(text) {
                return Err(format!("{name} is empty, or holds a character that is no letter, digit or sign"));
            }
            if length.is_some_and(|length| text.len() != length) {
                return Err(format!("{name} has {} characters, not {}", text.len(), length.unwrap_or(0)));
            }
        }
        if !self.private_key.starts_with("-----BEGIN RSA PRIVATE KEY-----") {
            return Err("private_key is not an RSA key in PKCS#1, the only form that Harbor reads".to_owned());
        }
        if !self.root_crt.starts_with("-----BEGIN CERTIFICATE-----") {
            return Err("root_crt is not a certificate".to_owned());
        }
        Ok(())
    }

    /// SHA-256 of their text, for the stamp.
    pub(super) fn digest(&self) -> Result<String, Trouble> {
        Ok(sha256(self.text()?.as_bytes()))
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many letters and digits, each as likely as the others.
fn random(length: usize) -> Result<String, Trouble> {
    let mut text = String::with_capacity(length);
    let mut bytes = [0_u8; 64];
    while text.len() < length {
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Trouble::passing(format!("no random numbers: {error}")))?;
        // 248 is the largest multiple of 62 in a byte.
        let even = bytes.iter().filter(|byte| **byte < 248);
        let letters = even.filter_map(|byte| LETTERS.get(usize::from(byte % 62)).copied().map(char::from));
        text.extend(letters.take(length - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Secrets that are well-formed and nobody's.
    pub(in crate::share) fn sample(secretkey: &str) -> SharedSecrets {
        let (key, certificate) = ("-----BEGIN RSA PRIVATE KEY-----\nx\n", "-----BEGIN CERTIFICATE-----\nx\n");
        SharedSecrets::with_key(secretkey.to_owned(), key.to_owned(), certificate.to_owned()).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let secrets = sample("0123456789abcdef");
        let text = secrets.text().unwrap();
        assert!(SharedSecrets::parse(text.as_bytes()).unwrap() == secrets);
        assert_eq!(format!("{secrets:?}"), "SharedSecrets(hidden)");
        assert_ne!(secrets.csrf_key, sample("0123456789abcdef").csrf_key);
        assert!(secrets.csrf_key.len() == 32 && secrets.core_secret.len() == 16);
    }

    #[test]
    fn what_is_wrong_is_said_without_quoting() {
        let good = sample("0123456789abcdef").text().unwrap();
        let cases = [
            (String::new(), "is empty"),
            ("{".to_owned(), "is not JSON"),
            ("{}".to_owned(), "has no schema"),
            (good.replace("\"schema\": 1", "\"schema\": 2"), "has schema 2"),
            (good.replace("csrf_key", "csrf_kez"), "a key too few"),
            (good.replace("0123456789abcdef", "0123456789abcdefg"), "secretkey has 17 characters"),
            (good.replace("0123456789abcdef", "0123456789abcde\\n"), "secretkey is empty, or holds"),
            (good.replace("BEGIN RSA PRIVATE", "BEGIN PRIVATE"), "is not an RSA key in PKCS#1"),
        ];
        for (text, expected) in cases {
            let error = SharedSecrets::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected) && !error.contains("0123"), "{error}");
        }
    }
}
