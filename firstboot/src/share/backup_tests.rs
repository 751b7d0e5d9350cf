//! Backups: what is exported is imported, by those who may, where it belongs.

use super::*;
use crate::share::Stamp;
use crate::share::secrets::tests::sample;

const PASSPHRASE: &str = "a lab's own passphrase";

fn host() -> Host {
    Host::new(Path::new("/"))
}

/// A share with these secrets, and a stamp of them.
fn share(secrets: &SharedSecrets) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join(DIRECTORY);
    own::directory(&directory).unwrap();
    fs::write(directory.join(SECRETS), secrets.text().unwrap()).unwrap();
    assert!(Stamp::new("hub", "v1.1.2", "i-1", &secrets.digest().unwrap()).publish(&directory, 1).unwrap());
    dir
}

/// Cheap where the passphrase is not what is looked at.
fn key() -> (Lock, Opener) {
    let key = x25519::Identity::generate();
    let lock = Lock::recipients(&[key.to_public().to_string()]).unwrap();
    (lock, Opener(vec![Box::new(key)]))
}

fn at(dir: &tempfile::TempDir) -> &str {
    dir.path().to_str().unwrap()
}

#[test]
fn a_passphrase_opens_what_it_closed() {
    let secrets = sample("0123456789abcdef");
    let dir = share(&secrets);
    let backup = export(&host(), at(&dir), &Lock::passphrase(PASSPHRASE).unwrap()).unwrap();
    assert!(backup.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n") && !backup.contains("0123456789abcdef"));
    let text = open(backup.as_bytes(), &Opener::passphrase(PASSPHRASE)).unwrap();
    assert_eq!(text, fs::read(dir.path().join(DIRECTORY).join(SECRETS)).unwrap());
    let wrong = open(backup.as_bytes(), &Opener::passphrase("another passphrase")).unwrap_err();
    assert_eq!(wrong, "does not open: a wrong passphrase, or a damaged file");
    assert!(Lock::passphrase("short").unwrap_err().message.contains("fewer than 12"));
}

#[test]
fn lost_and_damaged_secrets_come_back() {
    let secrets = sample("0123456789abcdef");
    let dir = share(&secrets);
    let (lock, opener) = key();
    let backup = export(&host(), at(&dir), &lock).unwrap();
    let import = || import(&host(), at(&dir), backup.as_bytes(), &opener, "i-2");
    assert_eq!(import().unwrap(), Imported::Same);
    let place = dir.path().join(DIRECTORY).join(SECRETS);
    fs::remove_file(&place).unwrap();
    assert_eq!(import().unwrap(), Imported::Restored);
    let other = sample("fedcba9876543210").text().unwrap();
    for damage in ["", "{\"schema\": 1", &other] {
        fs::write(&place, damage).unwrap();
        assert_eq!(import().unwrap(), Imported::Replaced);
        assert_eq!(fs::read_to_string(dir.path().join(DIRECTORY).join(BEFORE)).unwrap(), damage);
        assert_eq!(fs::read_to_string(&place).unwrap(), secrets.text().unwrap());
    }
}

#[test]
fn another_clusters_backup_is_refused() {
    let (lock, opener) = key();
    let others = share(&sample("fedcba9876543210"));
    let backup = export(&host(), at(&others), &lock).unwrap();
    let dir = share(&sample("0123456789abcdef"));
    let place = dir.path().join(DIRECTORY).join(SECRETS);
    let before = fs::read(&place).unwrap();
    let import = || import(&host(), at(&dir), backup.as_bytes(), &opener, "i-2").unwrap_err().to_string();
    assert!(import().contains("other secrets than those that stamp 1 on"), "{}", import());
    fs::remove_file(dir.path().join(DIRECTORY).join("cluster-0001.json")).unwrap();
    assert!(import().contains("no stamp says whose they are"), "{}", import());
    assert_eq!(fs::read(&place).unwrap(), before);
}

/// No import would take it back.
#[test]
fn secrets_that_are_not_the_stamps_are_not_exported() {
    let (lock, _) = key();
    let dir = share(&sample("0123456789abcdef"));
    let place = dir.path().join(DIRECTORY).join(SECRETS);
    fs::write(&place, sample("fedcba9876543210").text().unwrap()).unwrap();
    let trouble = export(&host(), at(&dir), &lock).unwrap_err().to_string();
    assert!(trouble.contains("is not the one that stamp 1 was made with"), "{trouble}");
}

#[test]
fn what_is_no_backup() {
    let (lock, opener) = key();
    let dir = share(&sample("0123456789abcdef"));
    let backup = export(&host(), at(&dir), &lock).unwrap();
    let (_, stranger) = key();
    assert_eq!(open(backup.as_bytes(), &stranger).unwrap_err(), "is encrypted to others than this key opens");
    assert_eq!(open(b"{}", &opener).unwrap_err(), "is not a file of age, or damaged");
    assert_eq!(open(b"", &opener).unwrap_err(), "is not a file of age, or damaged");
    for cut in [40, 100, backup.len() / 2, backup.len() - 40] {
        assert!(open(&backup.as_bytes()[..cut], &opener).is_err(), "cut at {cut}");
    }
    let sealed = seal(b"{}", &lock).unwrap();
    let trouble = import(&host(), at(&dir), sealed.as_bytes(), &opener, "i-2").unwrap_err();
    assert_eq!(trouble.message, "the backup has no schema");
    let empty = tempfile::tempdir().unwrap();
    assert!(export(&host(), at(&empty), &lock).unwrap_err().to_string().contains("from: refs"));
    let secret = Lock::recipients(&["age-secret-key-1nonsense".to_owned()]).unwrap_err().to_string();
    assert!(secret.contains("is a secret key") && !secret.contains("nonsense"), "{secret}");
    assert!(Lock::recipients(&["age1nonsense".to_owned()]).unwrap_err().message.starts_with("--recipient"));
    assert_eq!(Opener::identities("# a comment\n").unwrap_err(), "holds no secret key of age");
    let error = Opener::identities("AGE-SECRET-KEY-1NONSENSE").unwrap_err();
    assert!(error.starts_with("holds a line that is no secret key of age") && !error.contains("NONSENSE"), "{error}");
}
