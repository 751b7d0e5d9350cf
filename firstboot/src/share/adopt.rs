//! The secrets of a cluster that was made by hand, where such a cluster keeps them on its share.

use std::io;
use std::path::Path;

use super::openssl;
use super::secrets::{SharedSecrets, sha256};
use crate::host::Host;
use crate::trouble::Trouble;

/// Where they lie below the share, in the order in which they are looked for: Harbor 1.8 and later; the shared directory
/// of 1.4 to 1.6's `--ha`; 1.1 to 1.7 with its configuration beside its data; what people copy by hand.
const PLACES: [[&str; 3]; 5] = [
    ["data/secret/keys/secretkey", "data/secret/core/private_key.pem", "data/secret/registry/root.crt"],
    ["data/ha/secretkey", "data/ha/private_key.pem", "data/ha/root.crt"],
    ["data/secretkey", "common/config/ui/private_key.pem", "common/config/registry/root.crt"],
    ["data/secretkey", "common/config/core/private_key.pem", "common/config/registry/root.crt"],
    ["data/secretkey", "data/private_key.pem", "data/root.crt"],
];

/// SHA-256 of `private_key.pem` in Harbor's own templates (v1.1.2 and others): the whole world has that key.
const PUBLICLY_KNOWN: &str = "60b3392d012d8fa4966ce51547b857e9bb3a025af3074b7ec1e6a6c57e8426fb";

/// Reads them.
pub(super) fn take_over(host: &Host, share: &str) -> Result<SharedSecrets, Trouble> {
    let read = |path: &str| host.read(Path::new(&format!("{share}/{path}"))).map(|content| content.bytes);
    one_secretkey(share, &read)?;
    let mut looked = Vec::new();
    for [secretkey, key, certificate] in PLACES {
        let found = [secretkey, key, certificate].map(|path| (path, read(path)));
        if let [(_, Ok(secretkey)), (at, Ok(key)), (_, Ok(certificate))] = &found {
            return taken(host, share, at, secretkey, key, certificate);
        }
        looked.extend(found.into_iter().filter(|(_, read)| read.is_err()).map(|(path, _)| path));
    }
    looked.sort_unstable();
    looked.dedup();
    let message = format!("{share}: no secrets to adopt; missing are {}", looked.join(", "));
    Err(Trouble::lasting(message)
        .hint("put secretkey, private_key.pem and root.crt of a running node into data/ on the share"))
}

/// Refuses to guess: of two keys, one makes every encrypted setting unreadable.
fn one_secretkey(share: &str, read: &dyn Fn(&str) -> io::Result<Vec<u8>>) -> Result<(), Trouble> {
    let mut known: Option<(&str, Vec<u8>)> = None;
    for [path, ..] in PLACES {
        let Ok(key) = read(path) else { continue };
        let key = key.trim_ascii_end().to_vec();
        match &known {
            Some((first, other)) if *other != key => {
                let message = format!("{share}: {first} and {path} are two different keys");
                return Err(
                    Trouble::lasting(message).hint("find out which one the cluster uses, and move the other away")
                );
            }
            Some(_) => {}
            None => known = Some((path, key)),
        }
    }
    Ok(())
}

fn taken(
    host: &Host,
    share: &str,
    at: &str,
    secretkey: &[u8],
    key: &[u8],
    certificate: &[u8],
) -> Result<SharedSecrets, Trouble> {
    let wrong = |what: &str| Trouble::lasting(format!("{share}/{at}: {what}"));
    if sha256(key) == PUBLICLY_KNOWN {
        return Err(wrong("is the key that every copy of Harbor ships with: whoever has it can sign tokens")
            .hint("make a new pair (customize_crt = on), give it to every node, then adopt"));
    }
    let text = |bytes: &[u8], what: &str| {
        String::from_utf8(bytes.to_vec()).map_err(|_| wrong(&format!("{what} beside it is not text")))
    };
    // An editor's line end is no part of the key.
    let secretkey = text(secretkey, "secretkey")?.trim_end_matches(['\r', '\n']).to_owned();
    let key = openssl::traditional(host, &text(key, "private_key.pem")?).map_err(|what| wrong(&what))?;
    let certificate = text(certificate, "root.crt")?;
    match openssl::belong_together(host, &key, &certificate) {
        Ok(true) => {}
        Ok(false) => return Err(wrong("is not the key of root.crt").hint("take both from the same node")),
        Err(what) => return Err(wrong(&what)),
    }
    let secrets = SharedSecrets::with_key(secretkey, key, certificate)?;
    secrets.check().map_err(|what| wrong(&what))?;
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_layout_and_what_is_wrong() {
        let host = Host::new(Path::new("/"));
        let (key, certificate) = openssl::key_and_certificate(&host, 1024).unwrap();
        for places in PLACES {
            let dir = tempfile::tempdir().unwrap();
            let share = dir.path().to_str().unwrap();
            let trouble = take_over(&host, share).unwrap_err();
            assert!(trouble.message.contains("data/secretkey"), "{trouble}");
            for (path, text) in places.iter().zip(["0123456789abcdef\n", &key, &certificate]) {
                let at = dir.path().join(path);
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                fs::write(at, text).unwrap();
            }
            let secrets = take_over(&host, share).unwrap();
            assert_eq!(secrets.secretkey, "0123456789abcdef");
            assert!(secrets.private_key == key && secrets.root_crt == certificate);
            fs::write(dir.path().join(places[0]), "short").unwrap();
            assert!(take_over(&host, share).unwrap_err().message.contains("secretkey has 5 characters"));
            let (other, _) = openssl::key_and_certificate(&host, 1024).unwrap();
            fs::write(dir.path().join(places[1]), other).unwrap();
            assert!(take_over(&host, share).unwrap_err().message.contains("is not the key of root.crt"));
        }
    }

    #[test]
    fn two_secretkeys_are_not_guessed_between() {
        let host = Host::new(Path::new("/"));
        let dir = tempfile::tempdir().unwrap();
        let share = dir.path().to_str().unwrap();
        fs::create_dir_all(dir.path().join("data/ha")).unwrap();
        fs::write(dir.path().join("data/secretkey"), "0123456789abcdef").unwrap();
        fs::write(dir.path().join("data/ha/secretkey"), "0123456789abcdef\n").unwrap();
        assert!(take_over(&host, share).unwrap_err().message.contains("no secrets to adopt"));
        fs::write(dir.path().join("data/ha/secretkey"), "fedcba9876543210").unwrap();
        let said = take_over(&host, share).unwrap_err().message;
        assert!(said.contains("data/ha/secretkey and data/secretkey are two different keys"), "{said}");
    }
}
