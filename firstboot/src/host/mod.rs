//! The machine: the only way to anything outside the process.
//!
//! | module | what |
//! |---|---|
//! | this one | files below a root, and the consoles |
//! | [`command`] | programs |
//! | [`docker`] | Docker and Compose |
//! | [`dial`], [`trust`] | connections to servers, and which certificates they may show |
//! | [`http`] | Harbor's own port |
//! | [`journal`] | lines for the journal |
//!
//! Invariant: every path is taken below `root`, links resolved inside it, so that a test is a directory.

pub(crate) mod command;
pub(crate) mod dial;
pub(crate) mod docker;
pub(crate) mod http;
pub(crate) mod journal;
pub(crate) mod trust;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;
use rustix::fs::IFlags;

use command::Command;

/// More than any node config; what is longer is cut there and refused by its reader.
const READ_LIMIT: u64 = 1024 * 1024;

/// As many links as the kernel follows in one path (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// A machine, or a directory that looks like one.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    root: PathBuf,
}

/// A file's content and who else may read it.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    /// Whether the group or others have any permission.
    pub(crate) exposed: bool,
}

impl Host {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether this is a directory that looks like a machine.
    pub(crate) fn is_test(&self) -> bool {
        self.root != Path::new("/")
    }

    /// What the clock says: since 1970.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads it; nothing here is an artifact")]
    pub(crate) fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// A path of the machine as a path of ours.
    pub(crate) fn below(&self, path: &Path) -> PathBuf {
        // On the machine itself a relative path means what it means in a shell.
        if self.root == Path::new("/") {
            return path.to_owned();
        }
        inside(&self.root, path, false)
    }

    /// The same, with a link at the end followed.
    fn followed(&self, path: &Path) -> PathBuf {
        if self.is_test() { inside(&self.root, path, true) } else { path.to_owned() }
    }

    /// Reads a regular file.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Content> {
        // Without NONBLOCK, opening a named pipe waits for a writer for ever.
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(self.followed(path))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(READ_LIMIT).read_to_end(&mut bytes)?;
        Ok(Content { bytes, exposed: metadata.mode() & 0o077 != 0 })
    }

    /// What a path is when every link in it is followed, as a path of the machine.
    pub(crate) fn without_links(&self, path: &Path) -> io::Result<PathBuf> {
        if self.root == Path::new("/") {
            return path.canonicalize();
        }
        let at = self.followed(path);
        at.metadata()?;
        Ok(Path::new("/").join(at.strip_prefix(&self.root).unwrap_or(&at)))
    }

    /// Whether there is anything at `path`; a link counts as what it leads to.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.followed(path).exists()
    }

    /// Makes `path` hold `bytes`, whole or not at all, also after a power cut; `false` when it did already.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
        self.write_for(path, bytes, mode, None)
    }

    /// The same, for a user and a group. Below another root it stays ours: a test has no other users.
    pub(crate) fn write_for(
        &self,
        path: &Path,
        bytes: &[u8],
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> io::Result<bool> {
        let owner = owner.filter(|_| !self.is_test());
        let at = self.below(path);
        if let Ok(metadata) = fs::symlink_metadata(&at)
            && metadata.is_file()
            && metadata.mode() & 0o7777 == mode
            && metadata.len() == bytes.len() as u64
            && owner.is_none_or(|owner| owner == (metadata.uid(), metadata.gid()))
            && fs::read(&at)? == bytes
        {
            return Ok(false);
        }
        let directory = at.parent().unwrap_or(Path::new("/"));
        let name = at.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let draft = directory.join(format!(".{name}.new"));
        // What a cut-off write left behind may have been readable by others.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        if let Some((user, group)) = owner {
            fchown(&file, Some(user), Some(group))?;
        }
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&draft, &at)?;
        File::open(directory)?.sync_all()?;
        Ok(true)
    }

    /// Makes a directory and those above it; what is there keeps its mode.
    pub(crate) fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(mode).create(self.below(path))
    }

    /// Makes a directory for a user and a group; of one that is there the owner is set, and nothing in it is touched.
    pub(crate) fn make_directory_for(&self, path: &Path, mode: u32, owner: (u32, u32)) -> io::Result<()> {
        let at = self.below(path);
        if !at.is_dir() {
            self.make_directory(path, 0o755)?;
            fs::set_permissions(&at, Permissions::from_mode(mode))?;
        }
        let there = fs::metadata(&at)?;
        if self.is_test() || (there.uid(), there.gid()) == owner {
            return Ok(());
        }
        chown(&at, Some(owner.0), Some(owner.1))
    }

    /// Permissions, user and group of what is at `path`.
    pub(crate) fn mode_and_owner(&self, path: &Path) -> io::Result<(u32, (u32, u32))> {
        let metadata = fs::metadata(self.followed(path))?;
        Ok((metadata.mode() & 0o7777, (metadata.uid(), metadata.gid())))
    }

    /// Removes a directory with everything in it; that there is none is no error.
    pub(crate) fn remove_tree(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(self.below(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Every file below a directory, as paths from it on; directories are walked, links are not followed.
    pub(crate) fn files_below(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.below_directory(path)?.1)
    }

    /// Every directory below a directory, and every file, as paths from it on and sorted.
    pub(crate) fn below_directory(&self, path: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        let top = self.below(path);
        let (mut directories, mut files, mut open) = (Vec::new(), Vec::new(), vec![top.clone()]);
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let path = entry.path();
                let below = path.strip_prefix(&top).unwrap_or(&path).to_owned();
                if entry.file_type()?.is_dir() {
                    open.push(path);
                    directories.push(below);
                } else {
                    files.push(below);
                }
            }
        }
        directories.sort();
        files.sort();
        Ok((directories, files))
    }

    /// Whether a directory has no entry; an absent one has none.
    pub(crate) fn is_empty(&self, path: &Path) -> io::Result<bool> {
        match fs::read_dir(self.followed(path)) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether `path` itself is a link.
    pub(crate) fn is_link(&self, path: &Path) -> bool {
        fs::symlink_metadata(self.below(path)).is_ok_and(|metadata| metadata.is_symlink())
    }

    /// Removes a file; that there is none is no error.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(self.below(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What keeps anything from being created in a directory while nothing is mounted on it.
    pub(crate) fn make_immutable(&self, path: &Path) -> io::Result<()> {
        let directory = File::open(self.followed(path))?;
        let flags = rustix::fs::ioctl_getflags(&directory)?;
        if !flags.contains(IFlags::IMMUTABLE) {
            rustix::fs::ioctl_setflags(&directory, flags | IFlags::IMMUTABLE)?;
        }
        Ok(())
    }

    /// The kind of the file system at `path`, as `statfs` gives it.
    pub(crate) fn magic(&self, path: &Path) -> io::Result<u64> {
        let found = nix::sys::statfs::statfs(&self.followed(path))?;
        // The number has another type with each C library.
        Ok(found.filesystem_type().0 as u64)
    }

    /// Whether something is mounted at `path`: it lies on another device than the directory above it.
    pub(crate) fn is_mountpoint(&self, path: &Path) -> io::Result<bool> {
        let at = self.below(path);
        let above = at.parent().unwrap_or(Path::new("/"));
        Ok(fs::metadata(&at)?.dev() != fs::metadata(above)?.dev())
    }

    /// A program of the machine. Below another root, a program of that root.
    pub(crate) fn command(&self, program: &str) -> Command {
        if self.root == Path::new("/") {
            return Command::new(program);
        }
        let bin = self.below(Path::new("/usr/bin"));
        Command::new(bin.join(program)).search(bin)
    }

    /// Makes a directory that nobody else may look into, also where it was there before.
    pub(crate) fn make_private_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.below(path))?;
        fs::set_permissions(self.below(path), Permissions::from_mode(0o700))
    }

    /// Writes one line to every console. A console that cannot be written is passed over: it may be a serial line
    /// that nobody holds, and the journal has the line too.
    pub(crate) fn announce(&self, line: &str) {
        let active = self.read(Path::new("/sys/class/tty/console/active")).map(|content| content.bytes);
        let active = String::from_utf8_lossy(&active.unwrap_or_default()).into_owned();
        for name in active.split_whitespace().filter(|name| !name.contains(['/', '.'])) {
            let console = self.below(&Path::new("/dev").join(name));
            if let Ok(mut console) = open_console(&console) {
                // One write, so that lines of others do not get between.
                let _ = console.write_all(format!("{line}\n").as_bytes());
            }
        }
    }
}

/// Without NOCTTY the console would become our terminal, and its hang-up our end; without NONBLOCK a serial line
/// without a carrier would hold us.
fn open_console(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).custom_flags((OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits()).open(path)
}

/// Where `path` leads inside `root`: `..` ends at the root, and a link leads where it would if `root` were `/`.
fn inside(root: &Path, path: &Path, follow_last: bool) -> PathBuf {
    let mut left: Vec<OsString> = components(path);
    let mut at = root.to_owned();
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == ".." {
            if at != root {
                at.pop();
            }
            continue;
        }
        let next = at.join(&name);
        let last = left.is_empty() && !follow_last;
        match fs::read_link(&next) {
            Ok(target) if !last && links < MOST_LINKS => {
                links += 1;
                if target.is_absolute() {
                    at = root.to_owned();
                }
                left.extend(components(&target));
            }
            _ => at = next,
        }
    }
    at
}

/// The components of a path, the last first.
fn components(path: &Path) -> Vec<OsString> {
    let named = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<OsString> = named.collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests;
