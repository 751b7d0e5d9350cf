//! Reads a tar from a stream, entry by entry, and can hand out every byte that is no content.
//!
//! The headers come as Docker's own reader takes them: PAX records and GNU's long names are applied, entries that only
//! a header can describe have no content. Sparse files are refused.
//!
//! Invariant: what [`TarStream::take_raw`] gives and the contents, in turn, are the tar, byte for byte.

use std::io::{self, Read};

use anyhow::Result;
use tar::{EntryType, Header};

use super::foreign::{bad, bad_io, fill, reading, shown};
use super::header::{self, LATEST, blank};
use super::pax;

const BLOCK: usize = 512;
/// The longest that names and PAX records of one entry may be together: nobody's are longer, and they are held in memory.
const LONGEST_META: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to [`Entry::link`].
    Symlink,
    /// A further name of the file [`Entry::link`].
    Link,
    /// A character device.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// An entry's header with everything applied.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The name as it stands there.
    pub(super) name: Vec<u8>,
    /// What a link names.
    pub(super) link: Vec<u8>,
    /// What it is.
    pub(super) kind: Kind,
    /// Length of the content.
    pub(super) size: u64,
    /// Permission bits.
    pub(super) mode: u32,
    /// Owner.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
    /// Modification time in whole seconds, between 0 and what ext4 holds.
    pub(super) modified: i64,
    /// Extended attributes.
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The stream. Its `Read` is the content of the current entry.
#[derive(Debug)]
pub(super) struct TarStream<R> {
    inner: R,
    what: String,
    /// Content not yet read, and the padding after it.
    left: u64,
    padding: u64,
    raw: Option<Vec<u8>>,
    begun: bool,
    /// Whose content is read, as people read it; empty between entries.
    at: String,
    ended: bool,
}

/// What PAX records and long names say of the next entry.
#[derive(Debug, Default)]
struct Meta {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<i64>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> TarStream<R> {
    /// Reads `inner`, which messages call `what`.
    pub(super) fn new(inner: R, what: impl Into<String>) -> Self {
        Self { inner, what: what.into(), left: 0, padding: 0, raw: None, begun: false, at: String::new(), ended: false }
    }

    /// Keeps what is no content, for [`Self::take_raw`].
    #[must_use]
    pub(super) fn keeping_raw(mut self) -> Self {
        self.raw = Some(Vec::new());
        self
    }

    /// The bytes since the last content that are no content.
    pub(super) fn take_raw(&mut self) -> Vec<u8> {
        self.raw.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The next entry; `None` at the end mark.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut meta = Meta::default();
        let mut held = 0;
        loop {
            self.skip_content()?;
            self.at.clear();
            let Some(header) = self.header()? else { return Ok(None) };
            let own = || if blank(&header, 124..136) { Ok(0) } else { header.entry_size() };
            let length = |length: io::Result<u64>| {
                let length = length.ok().filter(|length| i64::try_from(*length).is_ok());
                length.ok_or_else(|| self.damaged("a length"))
            };
            match header.entry_type() {
                EntryType::GNULongName => meta.name = Some(self.long_name(length(own())?, &mut held)?),
                EntryType::GNULongLink => meta.link = Some(self.long_name(length(own())?, &mut held)?),
                EntryType::XHeader => {
                    let records = self.meta(length(own())?, &mut held)?;
                    self.read_records(&records, &mut meta)?;
                }
                EntryType::XGlobalHeader => {
                    self.meta(length(own())?, &mut held)?;
                }
                _ => {
                    let size = length(meta.size.map_or_else(own, Ok))?;
                    return self.entry(&header, meta, size).map(Some);
                }
            }
        }
    }

    /// Reads to the end of the stream: what follows the end mark. Gives the bytes of each step to `rest`.
    pub(super) fn finish(&mut self, mut rest: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = fill(&mut self.inner, &mut buffer).map_err(|error| reading(&self.what, error))?;
            rest(&buffer[..n])?;
            if n < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Whether the end mark was there: where the stream just ends, more may have been meant to come.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes the reader back.
    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    fn entry(&mut self, header: &Header, meta: Meta, size: u64) -> Result<Entry> {
        let numbers = (|| {
            Ok::<_, io::Error>((
                if blank(header, 100..108) { 0 } else { header.mode()? },
                meta.uid.map_or_else(|| if blank(header, 108..116) { Ok(0) } else { header.uid() }, Ok)?,
                meta.gid.map_or_else(|| if blank(header, 116..124) { Ok(0) } else { header.gid() }, Ok)?,
                meta.modified.map_or_else(|| header::modified(header), Ok)?,
            ))
        })();
        let (mode, uid, gid, modified) = numbers.map_err(|_| self.damaged("a number"))?;
        let name = meta.name.unwrap_or_else(|| header::name(header));
        let link = meta.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned())).unwrap_or_default();
        let kind = match header.entry_type() {
            // Archives older than POSIX have no type for a directory.
            EntryType::Regular if header.as_bytes()[156] == 0 && name.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Link => Kind::Link,
            kind @ (EntryType::Char | EntryType::Block) => {
                let number = |found: io::Result<Option<u32>>| {
                    found.ok().flatten().ok_or_else(|| self.damaged("a device's number"))
                };
                let of = |range, found| if blank(header, range) { Ok(0) } else { number(found) };
                let major = of(329..337, header.device_major())?;
                let minor = of(337..345, header.device_minor())?;
                if kind == EntryType::Char { Kind::Character(major, minor) } else { Kind::Block(major, minor) }
            }
            EntryType::Fifo => Kind::Fifo,
            EntryType::GNUSparse => {
                return Err(bad(format!(
                    "{}: {} is a sparse file, which habuild does not read",
                    self.what,
                    shown(&name)
                )));
            }
            other => {
                let number = other.as_byte();
                return Err(bad(format!("{}: {} is of the unknown type {number}", self.what, shown(&name))));
            }
        };
        let size = if kind == Kind::File { size } else { 0 };
        self.at = shown(&name);
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        let id = |id: u64| u32::try_from(id).map_err(|_| self.damaged("an owner"));
        Ok(Entry {
            kind,
            size,
            mode: mode & 0o7777,
            uid: id(uid)?,
            gid: id(gid)?,
            modified: modified.clamp(0, LATEST),
            attributes: meta.attributes,
            name,
            link,
        })
    }

    /// The next header block; `None` at the end mark, or where the stream ends without one.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        let n = fill(&mut self.inner, header.as_mut_bytes()).map_err(|error| self.unreadable(error))?;
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(&header.as_bytes()[..n]);
        }
        if n == 0 && self.begun {
            return Ok(None);
        }
        if n < BLOCK {
            return Err(match self.begun {
                true => bad(format!("{} is cut off", self.what)),
                false => bad(format!("{} is not a tar archive", self.what)),
            });
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            // The mark is two such blocks; the second one belongs to it too.
            (self.begun, self.ended) = (true, true);
            let mut second = [0; BLOCK];
            let n = fill(&mut self.inner, &mut second).map_err(|error| reading(&self.what, error))?;
            if let Some(raw) = &mut self.raw {
                raw.extend_from_slice(&second[..n]);
            }
            return Ok(None);
        }
        // As the bytes stand there, and as signed ones, which some old writers took.
        let sum = |signed: bool| -> i64 {
            let bytes = header.as_bytes().iter().enumerate();
            bytes
                .map(|(i, byte)| match ((148..156).contains(&i), signed) {
                    (true, _) => i64::from(b' '),
                    (_, true) => i64::from(i8::from_ne_bytes([*byte])),
                    (_, false) => i64::from(*byte),
                })
                .sum()
        };
        let wanted = header.cksum().ok().map(i64::from);
        if wanted != Some(sum(false)) && wanted != Some(sum(true)) {
            return Err(match self.begun {
                true => self.damaged("a header"),
                false => bad(format!("{} is not a tar archive", self.what)),
            });
        }
        self.begun = true;
        Ok(Some(header))
    }

    /// A content that belongs to the headers; `held` counts those of one entry.
    fn meta(&mut self, size: u64, held: &mut u64) -> Result<Vec<u8>> {
        *held = held.saturating_add(size).saturating_add(BLOCK as u64);
        if *held > LONGEST_META {
            return Err(self.damaged("a name"));
        }
        let padded = usize::try_from(size.next_multiple_of(BLOCK as u64)).unwrap_or(0);
        let mut bytes = vec![0; padded];
        let n = fill(&mut self.inner, &mut bytes).map_err(|error| reading(&self.what, error))?;
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(&bytes[..n]);
        }
        if n < padded {
            return Err(bad(format!("{} is cut off", self.what)));
        }
        bytes.truncate(usize::try_from(size).unwrap_or(0));
        Ok(bytes)
    }

    fn long_name(&mut self, size: u64, held: &mut u64) -> Result<Vec<u8>> {
        let mut name = self.meta(size, held)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    fn read_records(&self, bytes: &[u8], meta: &mut Meta) -> Result<()> {
        for (key, value) in pax::records(bytes).ok_or_else(|| self.damaged("a PAX record"))? {
            let text = || std::str::from_utf8(value).map_err(|_| self.damaged("a PAX record"));
            let number = || text()?.parse::<u64>().map_err(|_| self.damaged("a PAX record"));
            match key {
                b"path" => meta.name = Some(value.to_vec()),
                b"linkpath" => meta.link = Some(value.to_vec()),
                b"size" => meta.size = Some(number()?),
                b"uid" => meta.uid = Some(number()?),
                b"gid" => meta.gid = Some(number()?),
                b"mtime" => {
                    // Seconds with a fraction; what lies before 1970 becomes 1970 in any case.
                    let whole = text()?.split('.').next().unwrap_or_default();
                    meta.modified = Some(whole.parse().map_err(|_| self.damaged("a PAX record"))?);
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(bad(format!("{} holds a sparse file, which habuild does not read", self.what)));
                }
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        meta.attributes.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }

    fn skip_content(&mut self) -> Result<()> {
        let mut buffer = vec![0; if self.left > 0 { 1 << 16 } else { 0 }];
        while self.left > 0 {
            let n = self.read(&mut buffer).map_err(|error| reading(&self.what, error))?;
            if n == 0 {
                break;
            }
        }
        let mut padding = vec![0; usize::try_from(self.padding).unwrap_or(0)];
        let n = fill(&mut self.inner, &mut padding).map_err(|error| reading(&self.what, error))?;
        if n < padding.len() {
            return Err(bad(format!("{} is cut off", self.what)));
        }
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(&padding);
        }
        self.padding = 0;
        Ok(())
    }

    /// What is being read: the archive, and the entry in it.
    fn place(&self) -> String {
        if self.at.is_empty() { self.what.clone() } else { format!("{}, in {},", self.what, self.at) }
    }

    /// Says what was cut off or damaged, before whoever reads the content gives it another name.
    fn named(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                bad_io(reading(&self.place(), error).to_string())
            }
            _ => error,
        }
    }

    fn damaged(&self, part: &str) -> anyhow::Error {
        bad(format!("{} is damaged ({part} cannot be read)", self.what))
    }

    /// At the first bytes, a decompressor that refuses means that this is something else.
    fn unreadable(&self, error: io::Error) -> anyhow::Error {
        let own = error.get_ref().is_some_and(|inner| inner.is::<super::foreign::Bad>());
        match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if !self.begun && !own => {
                bad(format!("{} is not an archive (gzip and tar)", self.what))
            }
            _ => reading(&self.what, error),
        }
    }
}

impl<R: Read> Read for TarStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = match buffer.get_mut(..most) {
            Some(buffer) if most > 0 => self.inner.read(buffer).map_err(|error| self.named(error))?,
            _ => return Ok(0),
        };
        if n == 0 {
            return Err(bad_io(format!("{} is cut off", self.place())));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
#[path = "tarstream_tests.rs"]
mod tests;
