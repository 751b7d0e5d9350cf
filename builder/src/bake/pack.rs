//! Layers as deterministic tars, and back.
//!
//! Sorted by path; owner by number; whole seconds, none after the epoch; `security.capability` and no other extended
//! attribute; hard links to the first path of their file. What a layer removes has one form, the one that container
//! images use: an empty file `.wh.NAME` for a removed entry, `.wh..wh..opq` in a directory that hides the one below.
//!
//! Invariant: `pack(unpack(tar)) == tar`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use tar::{EntryType, Header};
use walkdir::WalkDir;

use crate::sys::digest::{Digest, Hashing};

/// The one extended attribute that a layer carries.
pub(super) const CAPABILITY: &str = "security.capability";
const CAPABILITY_RECORD: &str = "SCHILY.xattr.security.capability";
const OPAQUE_ATTRIBUTE: &str = "user.overlay.opaque";
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Brings `tree` to what its tar will hold, so that a tree made here equals one unpacked from the tar: times of whole
/// seconds and of the epoch at most (what was made during the build was made then), and no extended attribute that no
/// layer carries (systemd's tmpfiles give `/var/log/journal` access lists; each node does so itself).
pub fn settle(tree: &Path, epoch: i64) -> Result<()> {
    for entry in WalkDir::new(tree).contents_first(true) {
        let entry = entry.with_context(|| format!("failed to walk {}", tree.display()))?;
        let metadata = entry.metadata().with_context(|| format!("failed to read {}", entry.path().display()))?;
        drop_attributes(entry.path())
            .with_context(|| format!("failed to remove attributes of {}", entry.path().display()))?;
        if metadata.mtime() > epoch || metadata.mtime_nsec() != 0 {
            set_time(entry.path(), metadata.mtime().min(epoch))?;
        }
    }
    Ok(())
}

/// Whether a tree may have this extended attribute: what a layer carries, and the overlay's own.
fn is_kept(name: &[u8]) -> bool {
    name == CAPABILITY.as_bytes() || name.starts_with(b"user.overlay.")
}

/// Removes every extended attribute that is not kept.
fn drop_attributes(path: &Path) -> Result<()> {
    // A list is at most 64 KiB (linux/limits.h, XATTR_LIST_MAX); nearly always it is empty.
    let mut names = [0_u8; 1 << 16];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if is_kept(name) {
            continue;
        }
        match rustix::fs::lremovexattr(path, name) {
            // The host's own label (SELinux, IMA), which only the host's root may take away: no tar has it.
            Err(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) if name.starts_with(b"security.") => {}
            other => other?,
        }
    }
    Ok(())
}

/// Sets the times of a file, directory or link.
pub(super) fn set_time(path: &Path, seconds: i64) -> Result<()> {
    let time = TimeSpec::new(seconds, 0);
    utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)
        .with_context(|| format!("failed to set the time of {}", path.display()))
}

/// Packs `tree` (an overlay's upper directory, or a whole root) into the file `to`; gives its digest and length.
pub fn pack(tree: &Path, to: &Path) -> Result<(Digest, u64)> {
    let file = File::create(to).with_context(|| format!("failed to create {}", to.display()))?;
    let (digest, length, mut file) = pack_into(tree, BufWriter::with_capacity(1 << 20, file))?;
    // On the disk before a key promises it.
    let synced = file.flush().and_then(|()| file.get_ref().sync_all());
    synced.with_context(|| format!("failed to write {}", to.display()))?;
    Ok((digest, length))
}

/// The digest that the tar of `tree` has.
pub fn digest(tree: &Path) -> Result<Digest> {
    Ok(pack_into(tree, std::io::sink())?.0)
}

fn pack_into<W: Write>(tree: &Path, to: W) -> Result<(Digest, u64, W)> {
    let mut builder = tar::Builder::new(Hashing::new(to));
    let mut first_of: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    for entry in WalkDir::new(tree).sort_by_file_name().min_depth(1) {
        let entry = entry.with_context(|| format!("failed to walk {}", tree.display()))?;
        let path = entry.path();
        let name = path.strip_prefix(tree).context("a walk that left its tree")?;
        append(&mut builder, path, name, &mut first_of)
            .with_context(|| format!("failed to pack {}", path.display()))?;
    }
    Ok(builder.into_inner().with_context(|| format!("failed to pack {}", tree.display()))?.finish())
}

fn append<W: Write>(
    builder: &mut tar::Builder<W>,
    path: &Path,
    name: &Path,
    first_of: &mut BTreeMap<(u64, u64), PathBuf>,
) -> Result<()> {
    let metadata = path.symlink_metadata()?;
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_size(0);
    let kind = metadata.file_type();
    if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        builder.append_data(&mut header, name, std::io::empty())?;
        if attribute(path, OPAQUE_ATTRIBUTE)?.is_some_and(|value| value == b"y") {
            append_mark(builder, &name.join(OPAQUE))?;
        }
    } else if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        builder.append_link(&mut header, name, fs::read_link(path)?)?;
    } else if kind.is_file() {
        if metadata.nlink() > 1 {
            let id = (metadata.dev(), metadata.ino());
            if let Some(first) = first_of.get(&id) {
                header.set_entry_type(EntryType::Link);
                builder.append_link(&mut header, name, first)?;
                return Ok(());
            }
            first_of.insert(id, name.into());
        }
        if let Some(value) = attribute(path, CAPABILITY)? {
            builder.append_pax_extensions([(CAPABILITY_RECORD, value.as_slice())])?;
        }
        header.set_entry_type(EntryType::Regular);
        header.set_size(metadata.len());
        builder.append_data(&mut header, name, File::open(path)?)?;
    } else if metadata.mode() & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits() && metadata.rdev() == 0 {
        let parent = name.parent().unwrap_or(Path::new(""));
        let removed = name.file_name().context("a whiteout without a name")?.to_string_lossy();
        append_mark(builder, &parent.join(format!("{WHITEOUT}{removed}")))?;
    } else {
        bail!("a layer holds files, directories, links and nothing else (a device, socket or pipe is here)");
    }
    Ok(())
}

fn append_mark<W: Write>(builder: &mut tar::Builder<W>, name: &Path) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0);
    header.set_mtime(0);
    header.set_size(0);
    Ok(builder.append_data(&mut header, name, std::io::empty())?)
}

/// The value of an extended attribute, if the file has it.
pub(super) fn attribute(path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let mut value = [0_u8; 256];
    match rustix::fs::lgetxattr(path, name, &mut value[..]) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read attribute {name}")),
    }
}

/// Unpacks a layer's tar into the empty directory `tree`, as an overlay's lower directory.
pub fn unpack(tar: &Path, tree: &Path) -> Result<()> {
    let file = File::open(tar).with_context(|| format!("failed to open {}", tar.display()))?;
    let mut archive = tar::Archive::new(std::io::BufReader::with_capacity(1 << 20, file));
    let mut directories: Vec<(PathBuf, i64)> = Vec::new();
    for entry in archive.entries().with_context(|| format!("failed to read {}", tar.display()))? {
        let mut entry = entry.with_context(|| format!("failed to read {}", tar.display()))?;
        let name = entry.path().context("a name that is no path")?.into_owned();
        ensure!(
            name.components().all(|part| matches!(part, std::path::Component::Normal(_))),
            "{}: {} leaves the layer",
            tar.display(),
            name.display()
        );
        let at = tree.join(&name);
        extract(&mut entry, tree, &at, &mut directories)
            .with_context(|| format!("failed to unpack {} from {}", name.display(), tar.display()))?;
    }
    // Last, and innermost first: whatever is put into a directory changes its time.
    for (path, time) in directories.iter().rev() {
        set_time(path, *time)?;
    }
    Ok(())
}

fn extract<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    tree: &Path,
    at: &Path,
    directories: &mut Vec<(PathBuf, i64)>,
) -> Result<()> {
    let name = at.file_name().context("an entry without a name")?.to_string_lossy().into_owned();
    if name == OPAQUE {
        let parent = at.parent().context("an opaque mark outside any directory")?;
        rustix::fs::lsetxattr(parent, OPAQUE_ATTRIBUTE, b"y", rustix::fs::XattrFlags::empty())?;
        return Ok(());
    }
    if let Some(removed) = name.strip_prefix(WHITEOUT) {
        mknod(&at.with_file_name(removed), SFlag::S_IFCHR, Mode::empty(), 0)?;
        return Ok(());
    }
    let mode = entry.header().mode()?;
    let (uid, gid) = (u32::try_from(entry.header().uid()?)?, u32::try_from(entry.header().gid()?)?);
    let time = i64::try_from(entry.header().mtime()?)?;
    match entry.header().entry_type() {
        EntryType::Directory => {
            fs::create_dir(at)?;
            directories.push((at.into(), time));
        }
        EntryType::Symlink => symlink(entry.link_name()?.context("a link without a target")?, at)?,
        EntryType::Link => {
            fs::hard_link(tree.join(entry.link_name()?.context("a link without a target")?), at)?;
            return Ok(());
        }
        EntryType::Regular => {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(at)?;
            std::io::copy(entry, &mut file)?;
        }
        other => bail!("an entry of type {other:?}"),
    }
    std::os::unix::fs::lchown(at, Some(uid), Some(gid))?;
    if !at.is_symlink() {
        fs::set_permissions(at, fs::Permissions::from_mode(mode))?;
    }
    // After the change of owner, which drops it.
    if let Some(value) = capability_of(entry)? {
        rustix::fs::lsetxattr(at, CAPABILITY, &value, rustix::fs::XattrFlags::empty())?;
    }
    if !at.is_dir() || at.is_symlink() {
        set_time(at, time)?;
    }
    Ok(())
}

fn capability_of<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Option<Vec<u8>>> {
    let Some(records) = entry.pax_extensions()? else { return Ok(None) };
    for record in records {
        let record = record?;
        if record.key_bytes() == CAPABILITY_RECORD.as_bytes() {
            return Ok(Some(record.value_bytes().to_vec()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::is_kept;

    #[test]
    fn of_the_security_attributes_the_capability_is_kept_alone() {
        let kept = |name: &str| is_kept(name.as_bytes());
        assert!(kept("security.capability") && kept("user.overlay.opaque") && kept("user.overlay.origin"));
        for name in ["security.selinux", "security.ima", "security.evm", "security.capability.x", "user.note"] {
            assert!(!kept(name), "{name}");
        }
        assert!(!kept("system.posix_acl_access") && !kept("trusted.overlay.opaque"));
    }
}
