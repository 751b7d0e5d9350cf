//! The archive that a kernel unpacks as its first root: cpio in the form `newc`, as Linux' documentation describes it
//! (`driver-api/early-userspace/buffer-format`).
//!
//! Deterministic: names sorted, inodes counted, everything owned by root, no times.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const TRAILER: &str = "TRAILER!!!";
/// Headers and contents begin at a multiple of it.
const ALIGNMENT: usize = 4;

/// What lies under a name.
#[derive(Debug)]
struct Entry {
    /// Type and permission bits.
    mode: u32,
    /// A character device's numbers.
    device: (u32, u32),
    content: Vec<u8>,
}

/// An archive that is being put together. Directories above an entry come by themselves (0755).
#[derive(Debug, Default)]
pub struct Cpio {
    entries: BTreeMap<String, Entry>,
}

impl Cpio {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory, and those above it.
    pub fn add_directory(&mut self, path: &str) {
        let ends = path.char_indices().filter(|(_, c)| *c == '/').map(|(end, _)| end).chain([path.len()]);
        for end in ends {
            let name = path.get(..end).unwrap_or_default().to_owned();
            self.entries.entry(name).or_insert(Entry { mode: DIRECTORY | 0o755, device: (0, 0), content: Vec::new() });
        }
    }

    /// Adds a file. `path` has no slash at its start.
    pub fn add_file(&mut self, path: &str, permissions: u32, content: Vec<u8>) {
        self.add(path, Entry { mode: FILE | permissions, device: (0, 0), content });
    }

    /// Adds a character device by its major and minor number.
    pub fn add_device(&mut self, path: &str, permissions: u32, major: u32, minor: u32) {
        self.add(path, Entry { mode: CHARACTER_DEVICE | permissions, device: (major, minor), content: Vec::new() });
    }

    fn add(&mut self, path: &str, entry: Entry) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.add_directory(above);
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// The archive's bytes.
    ///
    /// # Errors
    /// A content of 4 GiB or more, which the form cannot say.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for (i, (name, entry)) in self.entries.iter().enumerate() {
            let number = u32::try_from(i + 1).context("too many files for an initrd")?;
            append(&mut bytes, number, name, entry).with_context(|| name.clone())?;
        }
        append(&mut bytes, 0, TRAILER, &Entry { mode: 0, device: (0, 0), content: Vec::new() })?;
        Ok(bytes)
    }
}

fn append(bytes: &mut Vec<u8>, inode: u32, name: &str, entry: &Entry) -> Result<()> {
    ensure!(!name.contains('\0'), "a name with a zero byte");
    let length = u32::try_from(entry.content.len()).context("a file of 4 GiB or more")?;
    let name_length = u32::try_from(name.len() + 1).context("a name that is too long")?;
    let links = if entry.mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
    let (major, minor) = entry.device;
    // Inode, mode, user, group, links, time, length, the file system's device, the device itself, name's length, checksum.
    let fields = [inode, entry.mode, 0, 0, links, 0, length, 0, 0, major, minor, name_length, 0];
    bytes.extend_from_slice(b"070701");
    fields.iter().for_each(|field| bytes.extend_from_slice(format!("{field:08X}").as_bytes()));
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes.extend_from_slice(&entry.content);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    Ok(())
}
