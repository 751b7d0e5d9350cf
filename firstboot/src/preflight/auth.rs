//! How MySQL and MariaDB are shown a password.
//!
//! Left out: the exchange of an RSA key that `caching_sha2_password` and `sha256_password` fall back to without TLS.
//! Whoever sits between can put a key of theirs in its place; and Harbor 1.1 to 1.5, the versions that use MySQL,
//! know neither method at all.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

pub(super) const NATIVE: &str = "mysql_native_password";
const CACHING: &str = "caching_sha2_password";
const SHA: &str = "sha256_password";

/// Why there is no answer to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The method is not known here.
    Unknown,
    /// The method would need TLS.
    NeedsTls,
}

/// The answer to a server's challenge.
pub(super) fn answer(method: &str, password: &str, challenge: &[u8], secure: bool) -> Result<Vec<u8>, Unfit> {
    let password = password.as_bytes();
    match method {
        NATIVE | CACHING if password.is_empty() => Ok(Vec::new()),
        NATIVE => {
            let once = sha1(&[password]);
            Ok(xor(&once, &sha1(&[challenge, &sha1(&[&once])])))
        }
        CACHING => {
            let once = sha256(&[password]);
            Ok(xor(&once, &sha256(&[&sha256(&[&once]), challenge])))
        }
        SHA if secure => Ok(in_the_clear(password)),
        SHA => Err(Unfit::NeedsTls),
        _ => Err(Unfit::Unknown),
    }
}

/// The answer to what a server says after the first answer; none: there is nothing to say.
pub(super) fn go_on(method: &str, password: &str, said: &[u8], secure: bool) -> Result<Option<Vec<u8>>, Unfit> {
    match (method, said) {
        // It remembers the password from an earlier login.
        (CACHING, [3]) => Ok(None),
        (CACHING, [4]) if secure => Ok(Some(in_the_clear(password.as_bytes()))),
        (CACHING, [4]) => Err(Unfit::NeedsTls),
        _ => Err(Unfit::Unknown),
    }
}

fn in_the_clear(password: &[u8]) -> Vec<u8> {
    [password, &[0]].concat()
}

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    digest(Context::new(&SHA1_FOR_LEGACY_USE_ONLY), parts)
}

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    digest(Context::new(&SHA256), parts)
}

fn digest(mut context: Context, parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().to_vec()
}

fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values were computed apart, with Python's hashlib.
    #[test]
    fn answers_are_those_of_the_methods() {
        let challenge: Vec<u8> = (1..=20).collect();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let answer = |method, secure| answer(method, "s3cret", &challenge, secure).map(|bytes| hex(&bytes));
        assert_eq!(answer(NATIVE, false).as_deref(), Ok("f66fdd3ff855d9349a0ddb50c4a1a535fb412465"));
        assert_eq!(
            answer(CACHING, false).as_deref(),
            Ok("3f3a9a7786fd9be9a006eed686b4e6b76484fdc06dc15685df5f8793574b84fc")
        );
        assert_eq!(answer(SHA, true).as_deref(), Ok("73336372657400"));
        assert_eq!(answer(SHA, false), Err(Unfit::NeedsTls));
        assert_eq!(answer("mysql_clear_password", true), Err(Unfit::Unknown), "whatever the server asks for");
        assert_eq!(go_on(CACHING, "s3cret", &[3], false), Ok(None));
        assert_eq!(go_on(CACHING, "s3cret", &[4], false), Err(Unfit::NeedsTls));
        assert_eq!(go_on(CACHING, "s3cret", &[4], true), Ok(Some(b"s3cret\0".to_vec())));
        assert_eq!(go_on(NATIVE, "s3cret", &[4], true), Err(Unfit::Unknown));
        assert_eq!(super::answer(NATIVE, "", &challenge, false), Ok(Vec::new()));
    }
}
