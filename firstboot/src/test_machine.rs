//! For tests: a directory that looks like a machine, with programs that note how they were called.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::host::Host;

/// A machine without anything; the calls of its programs are in its `/calls`.
pub(crate) struct TestMachine {
    root: TempDir,
    pub(crate) host: Host,
}

impl TestMachine {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        Self { root, host }
    }

    pub(crate) fn file(&self, path: &str, text: &str) -> &Self {
        let at = self.root.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
        self
    }

    /// A program that notes its arguments, and then does `script` in the machine's directory.
    pub(crate) fn program(&self, name: &str, script: &str) -> &Self {
        let path = format!("usr/bin/{name}");
        let root = self.root.path().display();
        self.file(&path, &format!("#!/bin/sh\ncd '{root}'\necho \"{name} $*\" >>calls\n{script}\n"));
        fs::set_permissions(self.root.path().join(path), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// The calls so far, which are forgotten.
    pub(crate) fn calls(&self) -> Vec<String> {
        let at: &Path = &self.root.path().join("calls");
        let calls = fs::read_to_string(at).unwrap_or_default();
        let _ = fs::remove_file(at);
        calls.lines().map(str::to_owned).collect()
    }
}
