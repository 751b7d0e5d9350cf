//! Copies of trees, as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use super::pack;

/// Copies the content of a directory with owners, modes, capabilities, hard links and times.
pub(super) fn tree(from: &Path, to: &Path) -> Result<()> {
    let mut names: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut directories = BTreeSet::new();
    for entry in WalkDir::new(from).sort_by_file_name() {
        let entry = entry.with_context(|| format!("failed to walk {}", from.display()))?;
        let metadata = entry.metadata().with_context(|| format!("failed to read {}", entry.path().display()))?;
        let at = to.join(entry.path().strip_prefix(from).context("a walk that left its tree")?);
        copy_one(entry.path(), &metadata, &at, &mut names)
            .with_context(|| format!("failed to copy {}", entry.path().display()))?;
        if metadata.is_dir() {
            directories.insert((at, metadata.mtime()));
        }
    }
    directories.iter().rev().try_for_each(|(path, time)| pack::set_time(path, *time))
}

fn copy_one(from: &Path, metadata: &fs::Metadata, at: &Path, names: &mut BTreeMap<u64, PathBuf>) -> Result<()> {
    if metadata.is_dir() {
        // `to` itself may be there.
        if !at.is_dir() {
            fs::create_dir(at)?;
        }
    } else if metadata.is_symlink() {
        symlink(fs::read_link(from)?, at)?;
    } else {
        if let Some(first) = names.get(&metadata.ino()) {
            return Ok(fs::hard_link(first, at)?);
        }
        fs::copy(from, at)?;
        if metadata.nlink() > 1 {
            names.insert(metadata.ino(), at.into());
        }
    }
    std::os::unix::fs::lchown(at, Some(metadata.uid()), Some(metadata.gid()))?;
    if !metadata.is_symlink() {
        fs::set_permissions(at, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    if metadata.is_file()
        && let Some(value) = pack::attribute(from, pack::CAPABILITY)?
    {
        rustix::fs::lsetxattr(at, pack::CAPABILITY, &value, rustix::fs::XattrFlags::empty())?;
    }
    pack::set_time(at, metadata.mtime())
}
