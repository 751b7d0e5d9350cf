//! A sandbox as data: what a command sees of the file system, and that it has no network.
//!
//! The description is plain and serialisable: it travels as one argument to [`super::enter`], which carries it out in
//! a fresh single-threaded child, so a failure prints a line that a person can paste.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::cmd::Cmd;

/// The hidden subcommand that carries out a sandbox.
pub(crate) const COMMAND: &str = "__sandbox";

/// What a sandboxed command sees. It always has its own process ids, host name and an empty network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    /// The directory that becomes `/`.
    pub(super) root: PathBuf,
    /// Bind mounts, in order; each target is below the new root and exists there.
    pub(super) binds: Vec<Bind>,
    /// Empty in-memory directories on top of the root, in order (before the binds).
    pub(super) tmpfs: Vec<PathBuf>,
    /// Working directory inside.
    pub(super) directory: PathBuf,
    /// The whole environment of the command.
    pub(super) environment: Vec<(String, String)>,
}

/// One bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bind {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
}

impl Sandbox {
    /// A sandbox whose root is `root`, with `/proc`, a small `/dev`, and empty `/run` and `/tmp`.
    #[must_use]
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.into(),
            binds: Vec::new(),
            tmpfs: vec!["/run".into(), "/tmp".into()],
            directory: "/".into(),
            environment: [
                ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
                ("LANG", "C.UTF-8"),
                ("LC_ALL", "C.UTF-8"),
                ("HOME", "/root"),
                ("TZ", "UTC"),
                ("DEBIAN_FRONTEND", "noninteractive"),
                ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
                // No initrd while packages are installed: it is made once, by `bake::initrd`.
                ("INITRD", "No"),
            ]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        }
    }

    /// The host's own root, as it is, for a tool of the host.
    #[must_use]
    pub(crate) fn host() -> Self {
        let mut sandbox = Self::new(Path::new("/"));
        sandbox.tmpfs.clear();
        sandbox
    }

    /// Shows `source` at `target`.
    #[must_use]
    pub(crate) fn bind(mut self, source: &Path, target: &str) -> Self {
        self.binds.push(Bind { source: source.into(), target: target.into(), read_only: false });
        self
    }

    /// Shows `source` at `target`, not to be written.
    #[must_use]
    pub(crate) fn bind_read_only(mut self, source: &Path, target: &str) -> Self {
        self.binds.push(Bind { source: source.into(), target: target.into(), read_only: true });
        self
    }

    /// Sets a variable of the command's environment.
    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The command that runs `program` inside; output and errors are the caller's to choose.
    pub(crate) fn command<A: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Cmd> {
        let description = serde_json::to_string(self).context("a sandbox that cannot be described")?;
        Ok(Cmd::program("/proc/self/exe").arg(COMMAND).arg(description).arg(program).args(arguments))
    }
}
