//! Tokens that the registry takes: JWT, RS256, the key named by its fingerprint as libtrust makes it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs1v15::{Signature, SigningKey, VerifyingKey};
use rsa::pkcs8::EncodePublicKey as _;
use rsa::signature::{SignatureEncoding as _, Signer as _, Verifier as _};
use rsa::{RsaPrivateKey, RsaPublicKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The key in a file, which must be PKCS#1.
fn key(path: &str) -> Result<RsaPrivateKey> {
    let pem = std::fs::read_to_string(path).context(path.to_owned())?;
    let kind = pem.lines().next().unwrap_or_default().trim_matches('-').trim_start_matches("BEGIN ").to_owned();
    ensure!(kind == "RSA PRIVATE KEY", "unable to get PrivateKey from PEM type: {kind}");
    RsaPrivateKey::from_pkcs1_pem(&pem).context(path.to_owned())
}

/// Signs with the key in the file `path`, for `user`, what the scopes `TYPE:NAME:ACTION,…` name.
pub fn make(path: &str, user: &str, scopes: &[String], minutes: u64) -> Result<String> {
    let key = key(path)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let access: Vec<Value> = scopes.iter().filter_map(|scope| access(scope)).collect();
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": fingerprint(&key.to_public_key())?});
    let claims = json!({
        "iss": "harbor-token-issuer", "sub": user, "aud": "harbor-registry",
        "exp": now + minutes * 60, "nbf": now.saturating_sub(60), "iat": now,
        "jti": format!("{:x}", Sha256::digest(format!("{now}{user}{scopes:?}"))), "access": access,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&header), part(&claims));
    let signature = SigningKey::<Sha256>::new(key).try_sign(text.as_bytes())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes())))
}

/// What a token says, if it was signed with the key in the file `path` and is still good.
pub fn claims(path: &str, token: &str) -> Result<Value> {
    let (text, signature) = token.rsplit_once('.').context("token is malformed")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).context("token is malformed")?;
    let verifier = VerifyingKey::<Sha256>::new(key(path)?.to_public_key());
    let verified = verifier.verify(text.as_bytes(), &Signature::try_from(signature.as_slice())?);
    verified.context("token signature is invalid")?;
    let (_, claims) = text.split_once('.').context("token is malformed")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    ensure!(claims.get("exp").and_then(Value::as_u64).is_some_and(|end| now < end), "token is expired");
    Ok(claims)
}

fn access(scope: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    Some(json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}))
}

/// 240 bits of the SHA-256 of the public key, in base32, in groups of four.
fn fingerprint(key: &RsaPublicKey) -> Result<String> {
    let digest = Sha256::digest(key.to_public_key_der()?.as_bytes());
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for chunk in digest[..30].chunks(5) {
        let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        text.extend((0..8).map(|i| char::from(LETTERS[(bits >> (35 - 5 * i) & 31) as usize])));
    }
    let groups: Vec<&str> = text.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    Ok(groups.join(":"))
}

/// User and password of an `Authorization: Basic` header.
pub fn basic(header: &str) -> Option<(String, String)> {
    let decoded = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}
