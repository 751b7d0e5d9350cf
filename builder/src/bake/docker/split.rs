//! Docker's `tar-split.json.gz`: everything of a layer's tar but the files' content, so that the exact tar can be made
//! again from the unpacked files.
//!
//! JSON values one a line, in the tar's order: type 2 holds bytes, type 1 stands for the content of a file.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder, write::GzEncoder};
use serde::{Deserialize, Serialize};

use super::crc64::Crc64;
use crate::bake::foreign::inside;
use crate::sys::digest::{Digest, Hashing};

/// One line, with the keys in Docker's order.
#[derive(Debug, Serialize)]
struct Line<'a> {
    r#type: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_raw: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    payload: Option<String>,
    position: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(size: &u64) -> bool {
    *size == 0
}

/// Writes the file.
pub(super) struct SplitWriter<W: Write> {
    out: BufWriter<GzEncoder<W>>,
    position: u64,
}

impl<W: Write> std::fmt::Debug for SplitWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SplitWriter").field("position", &self.position).finish_non_exhaustive()
    }
}

impl<W: Write> SplitWriter<W> {
    /// Begins the file `out`.
    pub(super) fn new(out: W) -> Self {
        // No name and no time in the header. Docker's own level.
        let encoder = GzBuilder::new().mtime(0).write(out, Compression::new(6));
        Self { out: BufWriter::with_capacity(1 << 16, encoder), position: 0 }
    }

    /// Bytes of the tar that are no file's content.
    pub(super) fn segment(&mut self, bytes: &[u8]) -> Result<()> {
        let payload = Some(STANDARD.encode(bytes));
        self.line(Line { r#type: 2, name: None, name_raw: None, size: 0, payload, position: self.position })
    }

    /// The content of a file, which is where the unpacked layer has it.
    pub(super) fn file(&mut self, name: &[u8], size: u64, checksum: Crc64) -> Result<()> {
        let text = std::str::from_utf8(name).ok();
        self.line(Line {
            r#type: 1,
            name: text.filter(|name| !name.is_empty()),
            name_raw: text.is_none().then(|| STANDARD.encode(name)),
            size,
            payload: (size > 0).then(|| STANDARD.encode(checksum.bytes())),
            position: self.position,
        })
    }

    /// Ends the file and gives it back.
    pub(super) fn finish(self) -> Result<W> {
        let encoder = self.out.into_inner().map_err(|error| error.into_error()).context("failed to compress")?;
        encoder.finish().context("failed to compress")
    }

    fn line(&mut self, line: Line<'_>) -> Result<()> {
        serde_json::to_writer(&mut self.out, &line).context("failed to compress")?;
        self.out.write_all(b"\n").context("failed to compress")?;
        self.position += 1;
        Ok(())
    }
}

/// What is read of a line.
#[derive(Debug, Deserialize)]
struct Part {
    r#type: u8,
    name: Option<String>,
    name_raw: Option<String>,
    #[serde(default)]
    size: u64,
    payload: Option<String>,
}

/// Makes a layer's tar again, of the file `split` and the files below `diff`, as Docker does to save it; gives the
/// digest of the tar.
pub(super) fn tar_again(split: &Path, diff: &Path) -> Result<Digest> {
    let file = File::open(split).with_context(|| format!("failed to open {}", split.display()))?;
    let lines = GzDecoder::new(BufReader::new(file));
    let mut tar = Hashing::new(std::io::sink());
    for part in serde_json::Deserializer::from_reader(lines).into_iter::<Part>() {
        let part = part.with_context(|| format!("failed to read {}", split.display()))?;
        let bytes = |text: Option<String>| STANDARD.decode(text.unwrap_or_default()).context("a line without bytes");
        if part.r#type == 2 {
            tar.write_all(&bytes(part.payload)?).context("failed to hash")?;
        } else if part.size > 0 {
            let name = match part.name {
                Some(name) => OsString::from(name),
                None => OsString::from_vec(bytes(part.name_raw)?),
            };
            let name = name.into_vec();
            let start = name.iter().position(|byte| *byte != b'/').unwrap_or(name.len());
            let path =
                inside(Path::new(&OsString::from_vec(name[start..].to_vec()))).context("a name that leads out")?;
            let path = diff.join(path);
            let mut content = File::open(&path).with_context(|| format!("failed to open {}", path.display()))?;
            let length =
                std::io::copy(&mut content, &mut tar).with_context(|| format!("failed to read {}", path.display()))?;
            ensure!(length == part.size, "{} has {length} bytes, the tar had {}", path.display(), part.size);
        }
    }
    Ok(tar.finish().0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn lines_are_docker_s() {
        let mut split = SplitWriter::new(Vec::new());
        let mut checksum = Crc64::new();
        checksum.update(b"1\n");
        split.segment(b"ab").unwrap();
        split.file(b"dir1/", 0, Crc64::new()).unwrap();
        split.file(b"dir1/z", 2, checksum).unwrap();
        split.file(b"bad\xff", 0, Crc64::new()).unwrap();
        split.segment(b"").unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(split.finish().unwrap().as_slice()).read_to_string(&mut text).unwrap();
        // Lines of a store that dockerd 20.10 filled; the last but one as its code encodes a name that is not UTF-8.
        let expected = [
            r#"{"type":2,"payload":"YWI=","position":0}"#,
            r#"{"type":1,"name":"dir1/","payload":null,"position":1}"#,
            r#"{"type":1,"name":"dir1/z","size":2,"payload":"YTMgAAAAAAA=","position":2}"#,
            r#"{"type":1,"name_raw":"YmFk/w==","payload":null,"position":3}"#,
            r#"{"type":2,"payload":"","position":4}"#,
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
