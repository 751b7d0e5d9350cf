//! Unpacks a bundle's archive: its own files into a directory, the layers of its image archive into the cache.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufReader, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result};
use contract::harbor::{COMPOSE_FILE, Generation, Version};
use flate2::bufread::MultiGzDecoder;

use super::complete::{check_compose, check_members};
use super::{NAMED, OFFLINE, RELEASED, TOP};
use crate::bake::ahead::read_ahead;
use crate::bake::docker::{self, Archive, Images};
use crate::bake::foreign::{Filled, Put, bad, inside, linkable, reading, shown, wrong};
use crate::bake::pack;
use crate::bake::tarstream::{Entry, Kind, TarStream};
use crate::sys::digest::Digest;

/// No compose file is longer; it is held in memory.
const LONGEST_COMPOSE: u64 = 1 << 20;

/// What a bundle is.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) version: Version,
    pub(super) generation: Generation,
    pub(super) archive: Archive,
}

/// Where the container images' layers go, and what is known of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layers<'a> {
    pub(super) cache: &'a Images,
    /// What names meant in earlier archives.
    pub(super) known: &'a BTreeMap<String, Digest>,
    pub(super) scratch: &'a Path,
}

/// Reads the tar `source` to its end: its files go below `to`.
pub(super) fn unpack(source: impl Read + Send, to: &Path, layers: Layers<'_>) -> Result<Contents> {
    let mut files = Files { to, filled: Filled::default(), directories: Vec::new(), compose: None };
    let mut archive: Option<(String, Version, Generation, Archive)> = None;
    let mut tar = TarStream::new(source, "the file");
    let mut empty = true;
    while let Some(entry) = tar.next_entry()? {
        empty = false;
        let path = files.path_of(&entry)?;
        match image_archive(&path, &entry) {
            None => files.put(&entry, &path, &mut tar)?,
            Some(name) => {
                if let Some((first, ..)) = &archive {
                    return Err(wrong(format!("it has two image archives: {TOP}/{first} and {TOP}/{name}"), RELEASED));
                }
                let (version, generation) = version(&name)?;
                let what = format!("its image archive {TOP}/{name}");
                let images = load(&mut tar, &what, layers)?;
                archive = Some((name, version, generation, images));
            }
        }
    }
    if empty {
        return Err(bad("it is an empty archive"));
    }
    // The rest of the file is a part of it: its checksum stands at its end.
    tar.finish(|_| Ok(()))?;
    if !tar.has_ended() {
        return Err(bad("the file is cut off: it has no end mark"));
    }
    files.settle()?;
    let archive = archive.ok_or_else(|| {
        let words = format!("it has no image archive {TOP}/harbor.VERSION.tar.gz: is it the online installer?");
        wrong(words, OFFLINE)
    })?;
    let (_, version, generation, archive) = archive;
    match generation {
        Generation::Cfg => check_compose(&version, files.compose.as_deref(), &archive)?,
        Generation::Yml => check_members(&version, to, &archive)?,
    }
    Ok(Contents { version, generation, archive })
}

/// The name of the entry that holds the container images, if this is it.
fn image_archive(path: &Path, entry: &Entry) -> Option<String> {
    let name = path.to_str()?;
    let is =
        entry.kind == Kind::File && name.starts_with("harbor.") && name.ends_with(".tar.gz") && !name.contains('/');
    is.then(|| name.to_owned())
}

fn version(name: &str) -> Result<(Version, Generation)> {
    let version = Version::of_archive(name).ok_or_else(|| {
        wrong(format!("its version cannot be read: {TOP}/{name} is not called harbor.vX.Y.Z.tar.gz"), NAMED)
    })?;
    match version.generation() {
        Some(generation) => Ok((version, generation)),
        None => Err(wrong(format!("it is Harbor {version}"), "use Harbor 1.1 or later: habuild knows none before")),
    }
}

/// The image archive, decompressed in a thread.
fn load(tar: &mut (impl Read + Send), what: &str, layers: Layers<'_>) -> Result<Archive> {
    thread::scope(|scope| {
        // The more in one go, the faster.
        let tar = BufReader::with_capacity(1 << 19, tar);
        let (images, thread) = read_ahead(scope, MultiGzDecoder::new(tar));
        let loaded = docker::read(images, what, layers.cache, layers.known, layers.scratch);
        // Joined by the scope; a panic in it must not pass for a good archive.
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        loaded
    })
}

struct Files<'a> {
    to: &'a Path,
    filled: Filled,
    directories: Vec<(PathBuf, i64)>,
    compose: Option<Vec<u8>>,
}

impl Files<'_> {
    /// Where an entry lies below the top directory.
    fn path_of(&self, entry: &Entry) -> Result<PathBuf> {
        let name = Path::new(OsStr::from_bytes(&entry.name));
        let path = inside(name).filter(|_| !entry.name.contains(&0));
        let path = path.ok_or_else(|| bad(format!("the path {} in it leads out of it", shown(&entry.name))))?;
        match path.strip_prefix(TOP) {
            Ok(below) => Ok(below.into()),
            // `tar -C … .` begins so.
            Err(_) if path.as_os_str().is_empty() && entry.kind == Kind::Directory => Ok(PathBuf::new()),
            Err(_) => Err(wrong(format!("{} does not lie in its top directory {TOP}/", shown(&entry.name)), OFFLINE)),
        }
    }

    fn put(&mut self, entry: &Entry, path: &Path, content: &mut impl Read) -> Result<()> {
        let refused = |words: &str| bad(format!("{} in it {words}", shown(&entry.name)));
        if path.as_os_str().is_empty() {
            return match entry.kind {
                Kind::Directory => Ok(()),
                _ => Err(refused("is no directory")),
            };
        }
        let put = match entry.kind {
            Kind::Directory => Put::Directory,
            Kind::File | Kind::Link => Put::File,
            Kind::Symlink => Put::Symlink,
            Kind::Character(..) | Kind::Block(..) => return Err(refused("is a device")),
            Kind::Fifo => return Err(refused("is a pipe")),
        };
        let target = self.target(entry, path)?;
        let missing = self.filled.take(path, put).map_err(|words| refused(&words))?;
        for parent in missing {
            self.make_directory(&self.to.join(&parent), entry.modified)?;
        }
        let at = self.to.join(path);
        match entry.kind {
            Kind::Directory => self.make_directory(&at, entry.modified),
            Kind::Symlink => symlink(OsStr::from_bytes(&entry.link), &at)
                .with_context(|| format!("failed to make link {}", at.display()))
                .and_then(|()| pack::set_time(&at, entry.modified)),
            Kind::Link => fs::hard_link(self.to.join(target), &at)
                .with_context(|| format!("failed to make link {}", at.display())),
            _ => self.write(entry, path, &at, content),
        }
    }

    /// What a link leads to, below the top directory; nothing for anything else.
    fn target(&self, entry: &Entry, path: &Path) -> Result<PathBuf> {
        let link = Path::new(OsStr::from_bytes(&entry.link));
        let out = || bad(format!("the link {} in it leads out of it, to {}", shown(&entry.name), shown(&entry.link)));
        if entry.kind == Kind::Symlink {
            linkable(&entry.link).map_err(|words| bad(format!("{} in it {words}", shown(&entry.name))))?;
        }
        match entry.kind {
            Kind::Symlink if link.is_absolute() => Err(out()),
            // Behind a name, which may be a link itself, `..` leads nobody knows where.
            Kind::Symlink if climbs_late(link) => Err(out()),
            Kind::Symlink => inside(&path.parent().unwrap_or(Path::new("")).join(link)).ok_or_else(out),
            Kind::Link => {
                let target = inside(link).and_then(|link| link.strip_prefix(TOP).map(Path::to_path_buf).ok());
                let target = target.ok_or_else(out)?;
                match self.filled.get(&target) {
                    Some(Put::File) => Ok(target),
                    _ => Err(bad(format!(
                        "{} in it is a hard link to {}, which it lacks",
                        shown(&entry.name),
                        shown(&entry.link)
                    ))),
                }
            }
            _ => Ok(PathBuf::new()),
        }
    }

    fn make_directory(&mut self, at: &Path, modified: i64) -> Result<()> {
        match fs::create_dir(at) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("failed to make directory {}", at.display()));
            }
            _ => {}
        }
        self.directories.push((at.into(), modified));
        set_mode(at, 0o755)
    }

    fn write(&mut self, entry: &Entry, path: &Path, at: &Path, content: &mut impl Read) -> Result<()> {
        let is_compose = path == Path::new(COMPOSE_FILE);
        if is_compose && entry.size > LONGEST_COMPOSE {
            return Err(bad(format!("{TOP}/{COMPOSE_FILE} in it is too long ({} bytes)", entry.size)));
        }
        let mut file = File::create(at).with_context(|| format!("failed to create {}", at.display()))?;
        let mut kept = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = content.read(&mut buffer).map_err(|error| reading("the file", error))?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n]).with_context(|| format!("failed to write {}", at.display()))?;
            if is_compose {
                kept.extend_from_slice(&buffer[..n]);
            }
        }
        if is_compose {
            self.compose = Some(kept);
        }
        set_mode(at, if entry.mode & 0o111 == 0 { 0o644 } else { 0o755 })?;
        pack::set_time(at, entry.modified)
    }

    /// Directories get their times last: whatever is put into one changes it.
    fn settle(&mut self) -> Result<()> {
        self.directories.iter().rev().try_for_each(|(path, time)| pack::set_time(path, *time))
    }
}

/// Whether `..` stands behind a name.
fn climbs_late(link: &Path) -> bool {
    let mut names = link.components().skip_while(|part| !matches!(part, Component::Normal(_)));
    names.any(|part| part == Component::ParentDir)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("failed to set the mode of {}", path.display()))
}
