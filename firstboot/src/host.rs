//! The machine: files under a root, and the consoles. The only door to anything outside the process.
//!
//! Invariant: every path is taken below `root`, so that a test is a directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// More than any node config; what is longer is cut there and refused by its reader.
const READ_LIMIT: u64 = 1024 * 1024;

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

    /// A path of the machine as a path of ours.
    fn below(&self, path: &Path) -> PathBuf {
        // On the machine itself a relative path means what it means in a shell.
        if self.root == Path::new("/") {
            return path.to_owned();
        }
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Reads a regular file.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Content> {
        // Without NONBLOCK, opening a named pipe waits for a writer for ever.
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(self.below(path))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(READ_LIMIT).read_to_end(&mut bytes)?;
        Ok(Content { bytes, exposed: metadata.mode() & 0o077 != 0 })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reaches_every_console_and_a_missing_one_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/class/tty/console")).unwrap();
        std::fs::create_dir_all(root.path().join("dev")).unwrap();
        std::fs::write(root.path().join("sys/class/tty/console/active"), "tty0 ttyS9 ../passwd ttyS0\n").unwrap();
        for name in ["dev/tty0", "dev/ttyS0", "passwd"] {
            std::fs::write(root.path().join(name), "before\n").unwrap();
        }
        let host = Host::new(root.path());
        host.announce("habuild: one");
        host.announce("habuild: two");
        for name in ["dev/tty0", "dev/ttyS0"] {
            let text = std::fs::read_to_string(root.path().join(name)).unwrap();
            assert_eq!(text, "before\nhabuild: one\nhabuild: two\n", "{name}");
        }
        assert_eq!(std::fs::read_to_string(root.path().join("passwd")).unwrap(), "before\n");
        assert!(!root.path().join("dev/ttyS9").exists());
    }

    #[test]
    fn only_regular_files_are_read() {
        let root = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&root.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let host = Host::new(root.path());
        assert_eq!(host.read(Path::new("/pipe")).unwrap_err().to_string(), "is not a regular file");
        assert_eq!(host.read(Path::new("/")).unwrap_err().to_string(), "is not a regular file");
        assert_eq!(host.read(Path::new("/none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
