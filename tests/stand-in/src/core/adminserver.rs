//! Mode `adminserver`: Harbor's settings, on the share, with the passwords encrypted.
//!
//! As Harbor 1.1: taken from the environment when the file is not there or `RESET=true`, else from the file, except for a
//! few that the environment always gives. The file is written in place.

use std::fs;

use aes::Aes128;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cfb_mode::cipher::{AsyncStreamCipher as _, KeyIvInit as _};
use serde_json::{Map, Value, json};

use super::env;
use super::http::{json as answer, serve, text};

const FILE: &str = "/etc/adminserver/config/config.json";
const KEY: &str = "/etc/adminserver/key";
const MARK: &str = "<enc-v1>";

/// Settings and their variables; those marked are read at each start.
const SETTINGS: [(&str, &str, bool); 8] = [
    ("ext_endpoint", "EXT_ENDPOINT", true),
    ("mysql_host", "MYSQL_HOST", false),
    ("mysql_port", "MYSQL_PORT", false),
    ("mysql_username", "MYSQL_USR", false),
    ("mysql_password", "MYSQL_PWD", true),
    ("mysql_database", "MYSQL_DATABASE", false),
    ("admin_initial_password", "HARBOR_ADMIN_PASSWORD", false),
    ("token_expiration", "TOKEN_EXPIRATION", false),
];
const SECRET: [&str; 2] = ["mysql_password", "admin_initial_password"];

pub fn run() -> Result<()> {
    let key = fs::read(KEY).context(KEY)?;
    ensure!(key.len() == 16, "crypto/aes: invalid key size {}", key.len());
    let secret = env("UI_SECRET")?;
    let old = fs::read(FILE).ok().and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok());
    let whole = old.is_none() || env("RESET")? == "true";
    let mut settings = old.unwrap_or_default();
    for (name, variable, always) in SETTINGS {
        if whole || always {
            let value = env(variable)?;
            let value = match value.parse::<u32>() {
                Ok(number) if !SECRET.contains(&name) => json!(number),
                _ if SECRET.contains(&name) => json!(encrypt(&key, &value)?),
                _ => json!(value),
            };
            settings.insert(name.to_owned(), value);
        }
    }
    fs::write(FILE, serde_json::to_vec_pretty(&settings)?).context(FILE)?;
    println!("settings from {}", if whole { "the environment" } else { FILE });
    for name in SECRET {
        let sealed = settings.get(name).and_then(Value::as_str).unwrap_or_default();
        let open = decrypt(&key, sealed);
        settings.insert(name.to_owned(), json!(open));
    }
    serve(move |asked, _| {
        if asked.path == "/api/configurations" && asked.header("authorization") == format!("Secret {secret}") {
            return Ok(answer(200, &Value::Object(settings.clone())));
        }
        Ok(text(if asked.path == "/api/ping" { 200 } else { 401 }, ""))
    })
}

fn encrypt(key: &[u8], text: &str) -> Result<String> {
    let mut iv = [0_u8; 16];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut iv)?;
    let mut bytes = text.as_bytes().to_vec();
    cfb_mode::Encryptor::<Aes128>::new_from_slices(key, &iv)?.encrypt(&mut bytes);
    Ok(format!("{MARK}{}", STANDARD.encode([&iv[..], &bytes].concat())))
}

/// As with Harbor, a wrong key gives garbage and no error.
fn decrypt(key: &[u8], sealed: &str) -> String {
    let bytes = STANDARD.decode(sealed.trim_start_matches(MARK)).unwrap_or_default();
    if bytes.len() < 16 {
        return String::new();
    }
    let (iv, bytes) = bytes.split_at(16);
    let mut bytes = bytes.to_vec();
    if let Ok(cipher) = cfb_mode::Decryptor::<Aes128>::new_from_slices(key, iv) {
        cipher.decrypt(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_and_opened() {
        let sealed = encrypt(b"0123456789abcdef", "a word").unwrap();
        assert_eq!(decrypt(b"0123456789abcdef", &sealed), "a word");
        assert_ne!(decrypt(b"0123456789abcdeX", &sealed), "a word");
    }
}
