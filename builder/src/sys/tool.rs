//! The external tools that habuild may call: their programs, and the packages that hold them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::report::{Failure, Fault};

/// An external tool that habuild may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// Starts virtual machines.
    QemuSystem,
    /// Makes disk overlays and converts disks.
    QemuImg,
    /// Resolves and downloads packages.
    AptGet,
    /// Asks the package index.
    AptCache,
    /// Reads a package's control file.
    DpkgDeb,
    /// Makes a root file system from packages.
    Mmdebstrap,
    /// The same, for releases that mmdebstrap cannot do.
    Debootstrap,
    /// Reaches a test machine.
    Ssh,
    /// Makes keys for test machines.
    SshKeygen,
    /// Ties a child's life to ours.
    Setpriv,
}

impl Tool {
    /// What `habuild image` needs, so that all that is missing is named at once.
    pub const FOR_IMAGE: [Self; 5] = [Self::AptGet, Self::AptCache, Self::DpkgDeb, Self::Mmdebstrap, Self::Debootstrap];

    /// The program's name, looked for in `PATH`.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::QemuSystem => "qemu-system-x86_64",
            Self::QemuImg => "qemu-img",
            Self::AptGet => "apt-get",
            Self::AptCache => "apt-cache",
            Self::DpkgDeb => "dpkg-deb",
            Self::Mmdebstrap => "mmdebstrap",
            Self::Debootstrap => "debootstrap",
            Self::Ssh => "ssh",
            Self::SshKeygen => "ssh-keygen",
            Self::Setpriv => "setpriv",
        }
    }

    /// The Debian package that holds it.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Self::QemuSystem => "qemu-system-x86",
            Self::QemuImg => "qemu-utils",
            Self::AptGet | Self::AptCache => "apt",
            Self::DpkgDeb => "dpkg",
            Self::Mmdebstrap => "mmdebstrap",
            Self::Debootstrap => "debootstrap",
            Self::Ssh | Self::SshKeygen => "openssh-client",
            Self::Setpriv => "util-linux",
        }
    }

    /// Where the program is, if it is installed.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        find(OsStr::new(self.program()), &search_path())
    }

    /// The failure that says that the tool is missing, and how to get it.
    #[must_use]
    pub fn missing(self) -> Failure {
        Failure::new(Fault::Environment, format!("{} is not installed", self.program()))
            .remedy(format!("install package {0}: apt-get install {0}", self.package()))
    }
}

/// `PATH`, with the directories of system tools behind it: an ordinary user's often lacks them.
pub(super) fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    for dir in ["/usr/sbin", "/sbin"] {
        if !std::env::split_paths(&path).any(|known| known == Path::new(dir)) {
            path.push(":");
            path.push(dir);
        }
    }
    path
}

/// Where `program` is: in `path`, or where it says itself.
pub(super) fn find(program: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if program.as_encoded_bytes().contains(&b'/') {
        return Some(PathBuf::from(program)).filter(|file| file.exists());
    }
    std::env::split_paths(path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
