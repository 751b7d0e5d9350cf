//! Files with their path in every error; atomic writes; locks between builds.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::fcntl::{AT_FDCWD, Flock, FlockArg};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::statvfs::statvfs;
use nix::sys::time::TimeSpec;
use walkdir::WalkDir;

use crate::report::{self, Failure, Fault};

/// Tells the temporary files of this process' threads apart.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

/// Reads a whole file as text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

/// Makes a directory and its parents.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("failed to make directory {}", path.display()))
}

/// Makes a directory of exactly that mode, whatever the process' mask is; parents that lack get it too. Directories
/// that are there keep theirs.
pub(crate) fn make_directory_with_mode(path: &Path, mode: u32) -> Result<()> {
    let made = match (fs::create_dir(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            make_directory_with_mode(parent, mode)?;
            fs::create_dir(path)
        }
        (made, _) => made,
    };
    match made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode))) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.with_context(|| format!("failed to make directory {}", path.display())),
    }
}

/// Writes a file in place.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).with_context(|| format!("failed to write {}", path.display()))
}

/// Writes a file so that a reader, or a build that is killed, sees the old content or the new, never a part.
pub(crate) fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let temporary = parent.join(format!(".{}.{}-{serial}.partial", name.to_string_lossy(), std::process::id()));
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        let _ = fs::remove_file(&temporary);
        return Err(error).with_context(|| format!("failed to write {}", path.display()));
    }
    Ok(())
}

/// Renames a file or directory.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("failed to rename {} to {}", from.display(), to.display()))
}

/// Removes a file or a whole tree; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.with_context(|| format!("failed to remove {}", path.display())),
    }
}

/// As [`remove`]; gives the length of the files that went.
pub(crate) fn remove_counted(path: &Path) -> Result<u64> {
    let entries = WalkDir::new(path).into_iter().flatten();
    let files = entries.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file);
    let length = files.map(|metadata| metadata.len()).sum();
    remove(path)?;
    Ok(length)
}

/// A lock held by this process; released when dropped, and by the kernel when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Fails when the file system of `directory` has less than so many bytes left for us.
pub(crate) fn require_space(directory: &Path, bytes: u64) -> Result<()> {
    let found = statvfs(directory).with_context(|| format!("failed to read the state of {}", directory.display()))?;
    let left = found.blocks_available().saturating_mul(found.fragment_size());
    if left >= bytes {
        return Ok(());
    }
    let (left, bytes) = (report::size(left), report::size(bytes));
    Err(Failure::new(
        Fault::Environment,
        format!("{} has {left} of free space, and needs {bytes}", directory.display()),
    )
    .remedy(report::FREE_SPACE)
    .into())
}

/// Notes that a file of a cache was used just now, in its modification time.
pub(crate) fn touch(path: &Path) -> Result<()> {
    let now = TimeSpec::UTIME_NOW;
    utimensat(AT_FDCWD, path, &now, &now, UtimensatFlags::NoFollowSymlink)
        .with_context(|| format!("failed to set the time of {}", path.display()))
}

/// How long ago a file was last used, if that can be told.
#[must_use]
pub(crate) fn unused_for(path: &Path) -> Option<Duration> {
    fs::symlink_metadata(path).ok()?.modified().ok()?.elapsed().ok()
}

/// Waits for the lock at `path`.
pub(crate) fn lock(path: &Path) -> Result<Lock> {
    wait_for(path, FlockArg::LockExclusive)
}

/// Waits until no process holds the lock at `path` alone; others may share it.
pub(crate) fn lock_shared(path: &Path) -> Result<Lock> {
    wait_for(path, FlockArg::LockShared)
}

/// Takes the lock at `path` if no other process holds it.
pub(crate) fn try_lock(path: &Path) -> Result<Option<Lock>> {
    loop {
        match flock(open_lock(path)?, path, FlockArg::LockExclusiveNonblock)? {
            Locked::Held(lock) => return Ok(Some(lock)),
            Locked::Busy => return Ok(None),
            Locked::Removed => {}
        }
    }
}

fn wait_for(path: &Path, how: FlockArg) -> Result<Lock> {
    loop {
        if let Locked::Held(lock) = flock(open_lock(path)?, path, how)? {
            return Ok(lock);
        }
    }
}

/// What became of the wish to hold a lock.
#[derive(Debug)]
enum Locked {
    Held(Lock),
    /// Another process holds it.
    Busy,
    /// Its file was removed between opening and locking it: the next one to come makes a new file, and would hold
    /// that one at the same time.
    Removed,
}

fn flock(file: File, path: &Path, how: FlockArg) -> Result<Locked> {
    let file = match Flock::lock(file, how) {
        Ok(file) => file,
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(Locked::Busy),
        Err((_, errno)) => return Err(errno).with_context(|| format!("failed to lock {}", path.display())),
    };
    let held = file.metadata().with_context(|| format!("failed to read the state of {}", path.display()))?;
    let is_there = fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (held.dev(), held.ino()));
    Ok(if is_there { Locked::Held(Lock { _file: file }) } else { Locked::Removed })
}

fn open_lock(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("failed to open lock {}", path.display()))
}

/// A scratch directory in `parent`, removed when dropped. One whose process was killed is removed by the next
/// build that makes one there: its lock is free then.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    lock_file: PathBuf,
    _lock: Lock,
}

impl Scratch {
    /// Makes a scratch directory, and sweeps those of dead builds.
    pub fn new(parent: &Path) -> Result<Self> {
        make_directory(parent)?;
        Self::sweep(parent)?;
        for n in 0_u32.. {
            let path = parent.join(format!("{}-{n}", std::process::id()));
            let lock_file = path.with_extension("lock");
            let Some(lock) = try_lock(&lock_file)? else { continue };
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, lock_file, _lock: lock }),
                // Two builds in two process-id namespaces may have the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let _ = remove(&lock_file);
                    return Err(error).with_context(|| format!("failed to make directory {}", path.display()));
                }
            }
        }
        unreachable!("the loop has no end")
    }

    /// Removes the scratch directories of dead builds. Takes no room: it is the way out of a full disk.
    pub fn sweep(parent: &Path) -> Result<()> {
        for entry in fs::read_dir(parent).with_context(|| format!("failed to list {}", parent.display()))? {
            let path = entry.with_context(|| format!("failed to list {}", parent.display()))?.path();
            if path.extension().is_some_and(|extension| extension == "lock")
                && let Some(_lock) = try_lock(&path)?
            {
                remove(&path.with_extension(""))?;
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new directory inside.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        // It may become the root of an image.
        make_directory_with_mode(&path, 0o755)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove(&self.path);
        let _ = remove(&self.lock_file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_whose_file_was_removed_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        // One has opened the file, and another, who held it, removes it before the first can lock it.
        let held = lock(&path).unwrap();
        let opened = open_lock(&path).unwrap();
        remove(&path).unwrap();
        drop(held);
        let next = try_lock(&path).unwrap();
        assert!(next.is_some());
        let first = flock(opened, &path, FlockArg::LockExclusiveNonblock).unwrap();
        assert!(matches!(first, Locked::Removed), "two hold the lock");
        assert!(try_lock(&path).unwrap().is_none());
    }
}
