//! Archives that others made: what is wrong with them is told apart from what goes wrong here.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

/// More characters of a message tell nobody anything.
const LONGEST_WORDS: usize = 2000;
/// The longest name that file systems hold, and the longest path, less what the place for it needs (of 4095 bytes).
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 3072;
/// The longest target of a symbolic link.
const LONGEST_TARGET: usize = 4095;
/// How many bytes of names one archive may have held in memory: those of a million files.
const MOST_HELD: u64 = 128 << 20;
/// What holding one costs beside its bytes.
const HELD: u64 = 64;

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    /// A fragment that names the part of it.
    pub(super) words: String,
    /// What helps, unless it is what helps against damage: to fetch it again.
    pub(super) remedy: Option<&'static str>,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Bad {}

impl Bad {
    /// The words may hold what the archive holds, and go to a terminal: without control characters, not without end.
    fn new(words: &str) -> Self {
        let mut said = String::new();
        for (i, c) in words.chars().enumerate() {
            match c {
                _ if i == LONGEST_WORDS => {
                    said.push('…');
                    break;
                }
                _ if c.is_control() => said.extend(c.escape_debug()),
                _ => said.push(c),
            }
        }
        Self { words: said, remedy: None }
    }
}

/// An error that says what is wrong with an archive.
pub(super) fn bad(words: impl AsRef<str>) -> anyhow::Error {
    Bad::new(words.as_ref()).into()
}

/// The same of an archive that is whole, and not the right one.
pub(super) fn wrong(words: impl AsRef<str>, remedy: &'static str) -> anyhow::Error {
    Bad { remedy: Some(remedy), ..Bad::new(words.as_ref()) }.into()
}

/// The same for a reader, whose errors have another type.
pub(super) fn bad_io(words: impl AsRef<str>) -> io::Error {
    io::Error::other(Bad::new(words.as_ref()))
}

/// A reader's error with what was being read: a fault of the archive becomes [`Bad`], any other stays.
pub(super) fn reading(what: &str, error: io::Error) -> anyhow::Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Bad>()) {
        let words = error.to_string();
        return bad(words);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => bad(format!("{what} is cut off")),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => bad(format!("{what} is damaged ({error})")),
        _ => anyhow::Error::new(error).context(format!("failed to read {what}")),
    }
}

/// Fills `buffer` as far as `source` goes; gives how much there was.
pub(super) fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A name in an archive for people: quoted, control characters escaped, cut where no file system holds it.
#[must_use]
pub(super) fn shown(name: &[u8]) -> String {
    match name.get(..LONGEST_NAME).filter(|_| name.len() > LONGEST_NAME) {
        Some(begin) => format!("{:?}…", String::from_utf8_lossy(begin)),
        None => format!("{:?}", String::from_utf8_lossy(name)),
    }
}

/// Why no file system can hold a path, if none can.
pub(super) fn holdable(path: &Path) -> Result<(), String> {
    let long = path.as_os_str().len() > LONGEST_PATH || path.iter().any(|name| name.len() > LONGEST_NAME);
    if long { Err("has a name that is too long".into()) } else { Ok(()) }
}

/// Why no symbolic link can lead there, if none can.
pub(super) fn linkable(target: &[u8]) -> Result<(), String> {
    let wrong = target.is_empty() || target.contains(&0) || target.len() > LONGEST_TARGET;
    if wrong { Err("is a link to nothing".into()) } else { Ok(()) }
}

/// The parts of a path below the archive's top. `None` when it is absolute or leads out.
#[must_use]
pub(super) fn inside(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name),
            Component::CurDir => {}
            Component::ParentDir if parts.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts)
}

/// What an archive has put in a place so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// A directory.
    Directory,
    /// A file, which a hard link may name.
    File,
    /// A symbolic link.
    Symlink,
    /// Something that exists only in a list.
    Listed,
}

/// The paths that an archive has filled, so that nothing is written through a link or twice.
#[derive(Debug, Default)]
pub(super) struct Filled {
    paths: BTreeMap<PathBuf, Put>,
    held: u64,
}

impl Filled {
    /// Takes the place `path` for `what`; gives the directories above it that are still missing, outermost first.
    /// An error says why nothing can be put there.
    pub(super) fn take(&mut self, path: &Path, what: Put) -> Result<Vec<PathBuf>, String> {
        holdable(path)?;
        self.hold(path.as_os_str().len())?;
        let mut missing = Vec::new();
        for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            match self.paths.get(parent) {
                Some(Put::Directory) => break,
                Some(_) => return Err(format!("lies below {}, which is no directory", quoted(parent))),
                None => missing.push(parent.to_path_buf()),
            }
        }
        missing.reverse();
        for parent in &missing {
            self.hold(parent.as_os_str().len())?;
            self.paths.insert(parent.clone(), Put::Directory);
        }
        match (self.paths.insert(path.into(), what), what) {
            (None, _) | (Some(Put::Directory), Put::Directory) => Ok(missing),
            _ => Err("stands in it twice".into()),
        }
    }

    /// Counts bytes that are held in memory until the archive ends. An error says that it has too many.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), String> {
        self.held += HELD + bytes as u64;
        if self.held > MOST_HELD {
            Err("is one too many: the archive names more than a million files".into())
        } else {
            Ok(())
        }
    }

    /// Every directory so far.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().filter(|(_, put)| **put == Put::Directory).map(|(path, _)| path.as_path())
    }

    /// What was put at `path`.
    #[must_use]
    pub(super) fn get(&self, path: &Path) -> Option<Put> {
        self.paths.get(path).copied()
    }
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let inside = |path: &str| inside(Path::new(path)).map(|path| path.to_string_lossy().into_owned());
        assert_eq!(inside("./a/./b//c/").as_deref(), Some("a/b/c"));
        assert_eq!(inside("a/../b").as_deref(), Some("b"));
        assert_eq!(inside("./").as_deref(), Some(""));
        for path in ["/a", "..", "a/../../b", "../a"] {
            assert_eq!(inside(path), None, "{path}");
        }
    }

    #[test]
    fn nothing_goes_through_a_link_or_twice() {
        let mut filled = Filled::default();
        assert_eq!(filled.take(Path::new("a/b/c"), Put::File), Ok(vec!["a".into(), "a/b".into()]));
        assert_eq!(filled.take(Path::new("a"), Put::Directory), Ok(vec![]));
        assert_eq!(filled.take(Path::new("l"), Put::Symlink), Ok(vec![]));
        assert!(filled.take(Path::new("l/x"), Put::File).unwrap_err().contains("\"l\", which is no directory"));
        assert!(filled.take(Path::new("a/b/c"), Put::File).unwrap_err().contains("twice"));
        assert!(filled.take(Path::new("a/b"), Put::File).unwrap_err().contains("twice"));
        assert!(filled.take(Path::new("a/b/c/d"), Put::File).is_err());
    }

    #[test]
    fn what_is_held_in_memory_has_an_end() {
        // A deep path costs what its parents cost.
        let mut filled = Filled::default();
        filled.take(Path::new(&"d/".repeat(1500)), Put::Directory).unwrap();
        assert!(filled.held > 2 << 20, "{}", filled.held);
        let end = (0..200).find_map(|_| filled.hold(1 << 20).err());
        assert_eq!(end.as_deref(), Some("is one too many: the archive names more than a million files"));
        // A million as layers have them.
        let (mut filled, directory) = (Filled::default(), "usr/share/a-package/with/names");
        for i in 0..1000 {
            filled.take(Path::new(&format!("{directory}/{}/{i}", i / 100)), Put::File).unwrap();
        }
        assert!(filled.held * 1000 < MOST_HELD, "{}", filled.held);
    }
}
