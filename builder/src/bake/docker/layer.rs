//! One layer of a container image: from its tar to a directory as overlay2 has it, and the rest of the tar beside it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::crc64::Crc64;
use super::marks::{Mark, Node, What};
use super::split::SplitWriter;
use crate::bake::foreign::{Filled, Put, bad, holdable, inside, linkable, reading, shown};
use crate::bake::pack;
use crate::bake::tarstream::{Entry, Kind, TarStream};
use crate::sys::digest::{Digest, Hashing};

/// The directory of a layer's files.
pub(super) const DIFF: &str = "diff";
/// The rest of its tar.
pub(super) const SPLIT: &str = "tar-split.json.gz";
/// Ids up to this one exist in the namespace of a build.
const LAST_ID: u32 = 65_535;

/// The longest value of an extended attribute, and the name spaces that there are.
const LONGEST_ATTRIBUTE: usize = 65_536;
const SPACES: [&str; 4] = ["security", "system", "trusted", "user"];

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// An unpacked layer.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// The digest of its tar.
    pub(super) diff_id: Digest,
    /// The length of its files and symbolic links in bytes, as Docker counts it.
    pub(super) size: u64,
    /// What could not be made; paths are relative to the files' directory.
    pub(super) marks: Vec<Mark>,
}

/// Unpacks the tar `source`, called `what`, into the new directory `at`.
pub(super) fn unpack(source: &mut dyn Read, what: &str, at: &Path) -> Result<Unpacked> {
    let root = at.join(DIFF);
    fs::create_dir_all(&root).with_context(|| format!("failed to make directory {}", root.display()))?;
    // Exactly, whatever the mask is.
    set_mode(&root, 0o755)?;
    let split = at.join(SPLIT);
    let split = File::create(&split).with_context(|| format!("failed to create {}", split.display()))?;
    let mut layer = Layer {
        root,
        what,
        split: SplitWriter::new(split),
        filled: Filled::default(),
        directories: BTreeMap::new(),
        marks: Vec::new(),
        size: 0,
        buffer: vec![0; 1 << 16],
    };
    let mut tar = TarStream::new(Hashing::new(source), what).keeping_raw();
    while let Some(entry) = tar.next_entry()? {
        layer.split.segment(&tar.take_raw())?;
        let checksum = layer
            .put(&entry, &mut tar)
            .with_context(|| format!("failed to unpack {} of {what}", shown(&entry.name)))?;
        layer.split.file(&entry.name, entry.size, checksum)?;
    }
    layer.split.segment(&tar.take_raw())?;
    tar.finish(|rest| layer.split.segment(rest))?;
    let (diff_id, _, _) = tar.into_inner().finish();
    layer.finish(diff_id)
}

struct Layer<'a> {
    root: PathBuf,
    what: &'a str,
    split: SplitWriter<File>,
    filled: Filled,
    /// Directories with their times, which are set last.
    directories: BTreeMap<PathBuf, i64>,
    marks: Vec<Mark>,
    size: u64,
    buffer: Vec<u8>,
}

impl Layer<'_> {
    /// Puts an entry in its place; gives the checksum of its content.
    fn put(&mut self, entry: &Entry, content: &mut impl Read) -> Result<Crc64> {
        let checksum = Crc64::new();
        // In a layer's tar a leading slash means the layer's top, as Docker takes it.
        let start = entry.name.iter().position(|byte| *byte != b'/').unwrap_or(entry.name.len());
        let path = inside(Path::new(OsStr::from_bytes(&entry.name[start..])))
            .filter(|_| !entry.name.contains(&0))
            .ok_or_else(|| self.refused(entry, "leads out of the layer"))?;
        // The names of the state file system go through a script, a line each.
        if entry.name.iter().any(|byte| b"\n\r".contains(byte)) {
            return Err(self.refused(entry, "has a line break in its name"));
        }
        let Some(name) = path.file_name().map(OsStr::as_bytes) else {
            // The top itself: Docker leaves it as it is.
            return match entry.kind {
                Kind::Directory => Ok(checksum),
                _ => Err(self.refused(entry, "is the layer's top, and no directory")),
            };
        };
        if name.starts_with(WHITEOUT) {
            if entry.size > 0 {
                return Err(self.refused(entry, "marks a removal and has content"));
            }
            let parent = path.parent().unwrap_or(Path::new(""));
            if name == OPAQUE {
                // The directory may have no entry of its own: Docker makes it, and so hides what lies below.
                self.parents_of(entry, &path)?;
                self.mark(entry, parent, What::Opaque)?;
            } else if !name.starts_with(AUFS) {
                let removed = &name[WHITEOUT.len()..];
                if [&b""[..], b".", b".."].contains(&removed) {
                    return Err(self.refused(entry, "marks the removal of nothing that has a name"));
                }
                let removed = parent.join(OsStr::from_bytes(removed));
                self.parents_of(entry, &removed)?;
                self.mark(entry, &removed, What::Whiteout)?;
            }
            return Ok(checksum);
        }
        let put = match entry.kind {
            Kind::Directory => Put::Directory,
            Kind::File => Put::File,
            Kind::Symlink => Put::Symlink,
            Kind::Link => self.link_target(entry)?.1,
            Kind::Character(..) | Kind::Block(..) | Kind::Fifo => Put::Listed,
        };
        let missing = self.filled.take(&path, put).map_err(|words| self.refused(entry, &words))?;
        self.make_parents(&missing)?;
        self.make(entry, &path, content)
    }

    fn make(&mut self, entry: &Entry, path: &Path, content: &mut impl Read) -> Result<Crc64> {
        let at = self.root.join(path);
        let mut checksum = Crc64::new();
        match entry.kind {
            Kind::Directory => match fs::create_dir(&at) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
                _ => {}
            },
            Kind::File => checksum = self.write(&at, content)?,
            Kind::Symlink => {
                linkable(&entry.link).map_err(|words| self.refused(entry, &words))?;
                symlink(OsStr::from_bytes(&entry.link), &at)?;
                self.size += entry.link.len() as u64;
            }
            Kind::Link => {
                let (target, put) = self.link_target(entry)?;
                fs::hard_link(self.root.join(target), &at)?;
                // As Docker does, what this header says of the file counts too.
                if put == Put::Symlink {
                    return Ok(checksum);
                }
            }
            Kind::Character(major, minor) => return self.node(entry, path, 'c', (major, minor)),
            Kind::Block(major, minor) => return self.node(entry, path, 'b', (major, minor)),
            Kind::Fifo => return self.node(entry, path, 'p', (0, 0)),
        }
        if entry.uid <= LAST_ID && entry.gid <= LAST_ID {
            std::os::unix::fs::lchown(&at, Some(entry.uid), Some(entry.gid))?;
        } else {
            self.mark(entry, path, What::Owner { uid: entry.uid, gid: entry.gid })?;
        }
        if entry.kind != Kind::Symlink {
            set_mode(&at, entry.mode)?;
        }
        for (name, value) in &entry.attributes {
            self.attribute(entry, path, name, value)?;
        }
        match entry.kind {
            Kind::Directory => {
                // Docker refuses it, and which entry counts nobody could say.
                if self.directories.insert(at, entry.modified).is_some() {
                    return Err(self.refused(entry, "stands in it twice"));
                }
            }
            _ => pack::set_time(&at, entry.modified)?,
        }
        Ok(checksum)
    }

    fn write(&mut self, at: &Path, content: &mut impl Read) -> Result<Crc64> {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(at)?;
        let mut checksum = Crc64::new();
        loop {
            let n = content.read(&mut self.buffer).map_err(|error| reading(self.what, error))?;
            if n == 0 {
                return Ok(checksum);
            }
            checksum.update(&self.buffer[..n]);
            file.write_all(&self.buffer[..n])?;
            self.size += n as u64;
        }
    }

    fn attribute(&mut self, entry: &Entry, path: &Path, name: &[u8], value: &[u8]) -> Result<()> {
        let refused = |words: String| Err(self.refused(entry, &words));
        if name == pack::CAPABILITY.as_bytes() {
            // After the change of owner, which drops it.
            return match rustix::fs::lsetxattr(self.root.join(path), pack::CAPABILITY, value, XattrFlags::empty()) {
                Err(Errno::INVAL) => refused(format!("has a {} that Linux refuses", shown(name))),
                other => Ok(other.map_err(std::io::Error::from)?),
            };
        }
        if value.len() > LONGEST_ATTRIBUTE {
            return refused(format!("has an attribute {} of {} bytes", shown(name), value.len()));
        }
        let known = |name: &&str| {
            let space = name.split_once('.').filter(|(space, rest)| SPACES.contains(space) && !rest.is_empty());
            space.is_some() && name.len() <= 255 && !name.contains(char::is_control)
        };
        match std::str::from_utf8(name).ok().filter(known) {
            Some(known) => self.mark(entry, path, What::Attribute { name: known.into(), value: value.into() }),
            None => refused(format!("has an attribute {}, which Linux does not know", shown(name))),
        }
    }

    fn node(&mut self, entry: &Entry, path: &Path, kind: char, device: (u32, u32)) -> Result<Crc64> {
        let node = Node { kind, device, mode: entry.mode, owner: (entry.uid, entry.gid), modified: entry.modified };
        self.mark(entry, path, What::Node(node))?;
        Ok(Crc64::new())
    }

    fn mark(&mut self, entry: &Entry, path: &Path, what: What) -> Result<()> {
        let value = if let What::Attribute { value, .. } = &what { value.len() } else { 0 };
        let held = holdable(path).and_then(|()| self.filled.hold(path.as_os_str().len() + value));
        held.map_err(|words| self.refused(entry, &words))?;
        self.marks.push(Mark { path: path.into(), what });
        Ok(())
    }

    /// The file that a hard link names: one that this layer has.
    fn link_target(&self, entry: &Entry) -> Result<(PathBuf, Put)> {
        let start = entry.link.iter().position(|byte| *byte != b'/').unwrap_or(entry.link.len());
        let target = inside(Path::new(OsStr::from_bytes(&entry.link[start..])));
        let found = target.and_then(|target| Some((self.filled.get(&target)?, target)));
        match found {
            Some((put @ (Put::File | Put::Symlink), target)) => Ok((target, put)),
            _ => Err(self.refused(entry, &format!("is a hard link to {}, which the layer lacks", shown(&entry.link)))),
        }
    }

    fn parents_of(&mut self, entry: &Entry, path: &Path) -> Result<()> {
        let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
        match self.filled.get(parent) {
            Some(Put::Directory) => return Ok(()),
            Some(_) => return Err(self.refused(entry, &format!("lies below {parent:?}, which is no directory"))),
            None => {}
        }
        let mut missing = self.filled.take(parent, Put::Directory).map_err(|words| self.refused(entry, &words))?;
        missing.push(parent.into());
        self.make_parents(&missing)
    }

    /// Makes directories that the tar has no entry for yet.
    fn make_parents(&mut self, missing: &[PathBuf]) -> Result<()> {
        for path in missing {
            let at = self.root.join(path);
            fs::create_dir(&at)?;
            set_mode(&at, 0o755)?;
        }
        Ok(())
    }

    fn refused(&self, entry: &Entry, words: &str) -> anyhow::Error {
        bad(format!("{}: {} {words}", self.what, shown(&entry.name)))
    }

    fn finish(mut self, diff_id: Digest) -> Result<Unpacked> {
        // A removal is of what lies below: together with a new entry of that name it hides the old content.
        let (root, filled) = (&self.root, &self.filled);
        self.marks.retain_mut(|mark| match (&mark.what, filled.get(&mark.path)) {
            (What::Whiteout, Some(Put::Directory)) => {
                mark.what = What::Opaque;
                true
            }
            (What::Whiteout, Some(_)) => false,
            // Without a directory there is nothing to hide.
            (What::Opaque, put) => put == Some(Put::Directory) || mark.path.as_os_str().is_empty(),
            _ => true,
        });
        self.marks.sort();
        self.marks.dedup();
        // Innermost first: whatever is put into a directory changes its time.
        for (path, time) in self.directories.iter().rev() {
            pack::set_time(path, *time)?;
        }
        // Those that no entry describes, and the top, have the time of nothing.
        let described = |path: &PathBuf| self.directories.contains_key(path);
        for path in filled.directories().map(|path| root.join(path)).filter(|path| !described(path)) {
            pack::set_time(&path, 0)?;
        }
        pack::set_time(root, 0)?;
        self.split.finish()?;
        Ok(Unpacked { diff_id, size: self.size, marks: self.marks })
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("failed to set the mode of {}", path.display()))
}
