//! What `prepare` makes by chance: secrets anew at each run, and keys once.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rsa::RsaPrivateKey;
use rsa::pkcs1::{EncodeRsaPrivateKey as _, LineEnding};
use rsa::pkcs1v15::SigningKey;
use rsa::rand_core::OsRng;
use sha2::Sha256;
use x509_cert::builder::{Builder as _, CertificateBuilder, Profile};
use x509_cert::der::EncodePem as _;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Validity;

/// Half of what Harbor takes: made in a second, and as good for tests.
const BITS: usize = 2048;
const YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Those that differ from run to run.
pub struct Secrets {
    pub core: String,
    pub jobservice: String,
    pub registry: String,
    pub csrf: String,
    pub scanner_prefix: String,
}

impl Secrets {
    pub fn new() -> Result<Self> {
        Ok(Self {
            core: word(16)?,
            jobservice: word(16)?,
            registry: word(32)?,
            csrf: word(32)?,
            scanner_prefix: word(8)?,
        })
    }
}

/// Letters and digits by chance.
pub fn word(length: usize) -> Result<String> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut source = File::open("/dev/urandom")?;
    let mut text = String::new();
    while text.len() < length {
        let mut byte = [0];
        source.read_exact(&mut byte)?;
        if let Some(letter) = LETTERS.get(usize::from(byte[0] & 63)) {
            text.push(char::from(*letter));
        }
    }
    Ok(text)
}

/// The key that tokens are signed with, in PKCS#1, and a certificate of it that nothing reads.
pub fn key_pair() -> Result<(String, String)> {
    let key = RsaPrivateKey::new(&mut OsRng, BITS).context("no RSA key could be made")?;
    let pem = key.to_pkcs1_pem(LineEnding::LF)?.to_string();
    let public = SubjectPublicKeyInfoOwned::from_key(key.to_public_key())?;
    let signer = SigningKey::<Sha256>::new(key);
    let (profile, name) = (Profile::Root, Name::default());
    let serial = SerialNumber::from(1_u32);
    let builder = CertificateBuilder::new(profile, serial, Validity::from_now(YEARS)?, name, public, &signer);
    let certificate = builder?.build::<rsa::pkcs1v15::Signature>()?;
    Ok((pem, certificate.to_pem(LineEnding::LF)?))
}

/// The registry's password file: one user.
pub fn passwd(user: &str, password: &str) -> Result<String> {
    let hash = bcrypt::hash_with_result(password, 5)?.format_for_version(bcrypt::Version::TwoY);
    Ok(format!("{user}:{hash}\n"))
}
