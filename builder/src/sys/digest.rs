//! SHA-256 digests: of bytes, of files, and of what flows through a reader or writer.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::sparse;

/// A SHA-256 digest; written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest and the length in bytes of the file at `path`.
    pub fn of_file(path: &Path) -> Result<(Self, u64)> {
        let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
        let mut hasher = Hashing::new(io::sink());
        let length = hash_sparse(&file, &mut hasher).with_context(|| format!("failed to read {}", path.display()))?;
        Ok((hasher.finish().0, length))
    }

    /// Parses 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The first 12 digits: enough for a person to tell two apart.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

/// Hashes a file without reading its holes: the kernel would fill a page of zeros for each.
fn hash_sparse(file: &File, hasher: &mut impl Write) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let zeros = vec![0; 1 << 20];
    let mut at = 0;
    let skip = |from: u64, to: u64, hasher: &mut dyn Write| -> io::Result<()> {
        let mut left = to - from;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(zeros.len()).min(zeros.len());
            hasher.write_all(&zeros[..part])?;
            left -= part as u64;
        }
        Ok(())
    };
    let length = file.metadata()?.len();
    for range in sparse::data_ranges(file)? {
        skip(at, range.start, hasher)?;
        at = range.start;
        while at < range.end {
            let part = usize::try_from(range.end - at).unwrap_or(buffer.len()).min(buffer.len());
            file.read_exact_at(&mut buffer[..part], at)?;
            hasher.write_all(&buffer[..part])?;
            at += part as u64;
        }
    }
    skip(at, length, hasher)?;
    Ok(length)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not a SHA-256 digest (64 hexadecimal digits)"))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Passes everything through to `inner` and hashes it on the way.
#[derive(Debug)]
pub struct Hashing<T> {
    inner: T,
    hasher: Sha256,
    length: u64,
}

impl<T> Hashing<T> {
    /// Wraps `inner`.
    pub fn new(inner: T) -> Self {
        Self { inner, hasher: Sha256::new(), length: 0 }
    }

    /// The length of what has passed, in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Goes on with another inner value, as if all had passed through that one.
    pub(crate) fn with<U>(self, inner: U) -> Hashing<U> {
        Hashing { inner, hasher: self.hasher, length: self.length }
    }

    /// The digest of what has passed, its length in bytes, and the inner value.
    pub fn finish(self) -> (Digest, u64, T) {
        (Digest(self.hasher.finalize().into()), self.length, self.inner)
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.length += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.length += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = File::create(&path).unwrap();
        file.set_len((5 << 20) + 7).unwrap();
        assert_eq!(Digest::of_file(&path).unwrap(), (Digest::of(&std::fs::read(&path).unwrap()), (5 << 20) + 7));
        file.write_all_at(b"data", 3 << 20).unwrap();
        assert_eq!(Digest::of_file(&path).unwrap().0, Digest::of(&std::fs::read(&path).unwrap()));
        file.set_len(0).unwrap();
        assert_eq!(Digest::of_file(&path).unwrap(), (Digest::of(b""), 0));
    }

    #[test]
    fn reads_back_what_it_writes() {
        let digest = Digest::of(b"habuild");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("00"), None);
        assert_eq!(Digest::parse(&"zz".repeat(32)), None);
    }
}
