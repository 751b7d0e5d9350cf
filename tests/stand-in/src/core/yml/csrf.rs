//! Tokens against forged requests: one in a cookie, sealed with `CSRF_KEY`, and the same in a header.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

pub const COOKIE: &str = "_gorilla_csrf";
pub const HEADER: &str = "X-Harbor-CSRF-Token";
/// The only length that Harbor takes.
const LENGTH: usize = 32;

pub struct Csrf {
    key: String,
}

impl Csrf {
    pub fn new(key: &str) -> Self {
        if key.len() != LENGTH {
            eprintln!(
                "[WARNING] CSRF_KEY has {} characters and not {LENGTH}: writes of the UI will be refused",
                key.len()
            );
        }
        Self { key: key.to_owned() }
    }

    /// The cookie's value for a token.
    pub fn sealed(&self, token: &str) -> Result<String> {
        Ok(format!("{token}.{}", BASE64.encode(self.seal(token)?.finalize().into_bytes())))
    }

    /// The token in a cookie, if this key sealed it.
    pub fn opened(&self, cookie: &str) -> Option<String> {
        let (token, seal) = cookie.split_once('.')?;
        self.seal(token).ok()?.verify_slice(&BASE64.decode(seal).ok()?).ok()?;
        Some(token.to_owned())
    }

    /// Whether a request with this cookie and this header is the UI's own.
    pub fn passes(&self, cookie: &str, header: &str) -> bool {
        self.key.len() == LENGTH && self.opened(cookie).is_some_and(|token| token == header)
    }

    fn seal(&self, token: &str) -> Result<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_bytes())?;
        mac.update(token.as_bytes());
        Ok(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_opens_what_it_sealed() {
        let (a, b) = (Csrf::new(&"a".repeat(32)), Csrf::new(&"b".repeat(32)));
        let cookie = a.sealed("token").unwrap();
        assert!(a.passes(&cookie, "token"));
        assert!(!a.passes(&cookie, "other"));
        assert!(!b.passes(&cookie, "token"), "another node's key");
        let short = Csrf::new("short");
        assert!(!short.passes(&short.sealed("token").unwrap(), "token"), "only 32 characters will do");
    }
}
