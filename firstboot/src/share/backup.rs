//! The cluster's secrets as an encrypted file, and back. The file is age's: `age --decrypt` opens it anywhere, and what is
//! in it is `secrets.json` as it was.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, Identity, Recipient, scrypt, x25519};

use super::{DIRECTORY, SECRETS, SharedSecrets, own, publish, stamp};
use crate::host::Host;
use crate::trouble::Trouble;

/// What scrypt does for a passphrase: 2^17 rounds, which take 128 MiB.
const WORK: u8 = 17;
/// More is no backup of ours: it would hold a node for minutes.
const MOST_WORK: u8 = 20;
/// A passphrase that is shorter is found by trying.
const SHORTEST: usize = 12;
/// Where what was there before goes.
const BEFORE: &str = "secrets.json.before-import";

/// Who may open a backup.
pub(crate) struct Lock(Vec<Box<dyn Recipient + Send>>);

/// What opens a backup.
pub(crate) struct Opener(Vec<Box<dyn Identity>>);

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lock({} ways)", self.0.len())
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({} ways)", self.0.len())
    }
}

impl Lock {
    /// Whoever knows the passphrase.
    pub(crate) fn passphrase(passphrase: &str) -> Result<Self, Trouble> {
        if passphrase.chars().count() < SHORTEST {
            let message = format!("the passphrase has fewer than {SHORTEST} characters");
            return Err(Trouble::lasting(message).hint("whoever has the file can try them all: take several words"));
        }
        let mut recipient = scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
        recipient.set_work_factor(WORK);
        Ok(Self(vec![Box::new(recipient)]))
    }

    /// The owners of these public keys (`age1…`).
    pub(crate) fn recipients(texts: &[String]) -> Result<Self, Trouble> {
        let one = |text: &String| -> Result<Box<dyn Recipient + Send>, Trouble> {
            if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
                let trouble =
                    Trouble::lasting("--recipient: that is a secret key, and everybody here could see it now");
                return Err(trouble.hint("make another with age-keygen, and give the age1… that it prints"));
            }
            let parsed = text.parse::<x25519::Recipient>();
            let wrong = |what| Trouble::lasting(format!("--recipient {text:?}: {what}"));
            let key = parsed.map_err(|what| wrong(what).hint("age-keygen makes a key and prints age1…"))?;
            Ok(Box::new(key))
        };
        texts.iter().map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl Opener {
    /// A passphrase.
    pub(crate) fn passphrase(passphrase: &str) -> Self {
        let mut identity = scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
        identity.set_max_work_factor(MOST_WORK);
        Self(vec![Box::new(identity)])
    }

    /// The secret keys in the text of an identity file, as `age-keygen` writes it. Errors quote nothing of it.
    pub(crate) fn identities(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let one = |line: &str| -> Result<Box<dyn Identity>, String> {
            let key = line.parse::<x25519::Identity>();
            Ok(Box::new(key.map_err(|what| format!("holds a line that is no secret key of age: {what}"))?))
        };
        let keys: Vec<_> = lines.map(one).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err("holds no secret key of age".to_owned()) } else { Ok(Self(keys)) }
    }
}

/// The share's `secrets.json`, encrypted, as text.
pub(crate) fn export(host: &Host, share: &str, lock: &Lock) -> Result<String, Trouble> {
    let directory = host.below(Path::new(share)).join(DIRECTORY);
    let Some(secrets) = super::read(&directory, share)? else {
        let message = format!("{share}/{DIRECTORY}/{SECRETS}: is not there");
        return Err(Trouble::lasting(message).hint(
            "if it is lost: docs/backup.md; where shared_secrets in the node config names them (from: refs), back those up",
        ));
    };
    // No import would take other ones back.
    let highest = stamp::highest(&directory).map_err(|error| own::trouble(&format!("{share}/{DIRECTORY}"), &error))?;
    if let Some((number, stamp)) =
        highest.map_err(|what| super::damaged_stamp(&format!("{share}/{DIRECTORY}/{what}")))?
        && stamp.secrets != secrets.digest()?
    {
        let message = format!("{share}/{DIRECTORY}/{SECRETS}: is not the one that stamp {number} was made with");
        return Err(Trouble::lasting(message).hint("restore it from a backup: this one is of no use"));
    }
    let sealed = seal(secrets.text()?.as_bytes(), lock);
    sealed.map_err(|error| Trouble::lasting(format!("the secrets cannot be encrypted: {error}")))
}

fn seal(bytes: &[u8], lock: &Lock) -> io::Result<String> {
    let recipients = lock.0.iter().map(|recipient| recipient.as_ref() as &dyn Recipient);
    let encryptor = Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
    let mut text = Vec::new();
    let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(&mut text, Format::AsciiArmor)?)?;
    writer.write_all(bytes)?;
    writer.finish()?.finish()?;
    String::from_utf8(text).map_err(io::Error::other)
}

/// What a backup holds. `Err` says what is wrong, and quotes nothing.
fn open(backup: &[u8], opener: &Opener) -> Result<Vec<u8>, String> {
    let said = |error: DecryptError| match error {
        DecryptError::NoMatchingKeys => "is encrypted to others than this key opens".to_owned(),
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            "does not open: a wrong passphrase, or a damaged file".to_owned()
        }
        DecryptError::InvalidHeader | DecryptError::UnknownFormat | DecryptError::Io(_) => {
            "is not a file of age, or damaged".to_owned()
        }
        other => format!("does not open: {other}"),
    };
    let decryptor = Decryptor::new(ArmoredReader::new(backup)).map_err(said)?;
    let identities = opener.0.iter().map(|identity| identity.as_ref() as &dyn Identity);
    let mut reader = decryptor.decrypt(identities).map_err(said)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|error| format!("is damaged: {error}"))?;
    Ok(bytes)
}

/// What an import did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Imported {
    /// The share has them already.
    Same,
    /// They are on the share now.
    Restored,
    /// They are on the share now, and what was there is beside them.
    Replaced,
}

/// Puts a backup's secrets on the share, if they are its cluster's. `who` names this node in drafts.
pub(crate) fn import(host: &Host, share: &str, backup: &[u8], opener: &Opener, who: &str) -> Result<Imported, Trouble> {
    let wrong = |what: String| Trouble::lasting(format!("the backup {what}"));
    let secrets = SharedSecrets::parse(&open(backup, opener).map_err(wrong)?).map_err(wrong)?;
    let directory = host.below(Path::new(share)).join(DIRECTORY);
    let shown = format!("{share}/{DIRECTORY}");
    let failed = |error: io::Error| own::trouble(&shown, &error);
    own::directory(&directory).map_err(failed)?;
    let stamp = stamp::highest(&directory).map_err(failed)?;
    let stamp = stamp.map_err(|what| super::damaged_stamp(&format!("{shown}/{what}")))?;
    if let Some((number, stamp)) = &stamp
        && stamp.secrets != secrets.digest()?
    {
        let message = format!("the backup holds other secrets than those that stamp {number} on {share} was made with");
        return Err(Trouble::lasting(message).hint(format!("take a backup of cluster {:?}", stamp.cluster)));
    }
    let place = directory.join(SECRETS);
    let there = match own::read(&place) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    match there.as_deref().map(SharedSecrets::parse) {
        None => {}
        Some(Ok(found)) if found == secrets => return Ok(Imported::Same),
        Some(Ok(_)) if stamp.is_none() => {
            let message = format!("{shown}/{SECRETS}: is there, with other secrets, and no stamp says whose they are");
            return Err(
                Trouble::lasting(message).hint("check storage.cephfs.path; move the file away if it is nobody's")
            );
        }
        Some(_) => fs::rename(&place, directory.join(BEFORE)).map_err(failed)?,
    }
    match publish::publish(&directory, SECRETS, secrets.text()?.as_bytes(), who).map_err(failed)? {
        true if there.is_some() => Ok(Imported::Replaced),
        true => Ok(Imported::Restored),
        false => Err(Trouble::passing(format!("{shown}/{SECRETS}: another node was quicker")).hint("look again")),
    }
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
