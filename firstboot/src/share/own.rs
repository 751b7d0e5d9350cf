//! What lies in `.habuild/`, opened as what it must be: a directory, plain files of a bounded length, never by way of a link.
//! Whoever can write the share could otherwise lead root to a file of the node, or have it wait for ever.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::OFlags;

use crate::trouble::Trouble;

/// No file of ours comes near it.
const LONGEST: u64 = 1 << 20;

/// Makes the directory, and root's alone whatever it was.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let opened = open(path, OFlags::DIRECTORY)?;
    if opened.metadata()?.permissions().mode() & 0o077 != 0 {
        opened.set_permissions(Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Reads a file, and closes it to others; `true` when it was open to them.
pub(super) fn read_private(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    let (file, bytes) = opened(path)?;
    // Whoever could read it is not known any more; who can from now on is.
    let was_open = file.metadata()?.permissions().mode() & 0o077 != 0;
    if was_open {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok((bytes, was_open))
}

/// Reads a file.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    opened(path).map(|(_, bytes)| bytes)
}

fn opened(path: &Path) -> io::Result<(File, Vec<u8>)> {
    // One that nobody writes to (a pipe) must not hold us.
    let mut file = open(path, OFlags::NONBLOCK)?;
    if !file.metadata()?.is_file() {
        return Err(wrong("is no plain file"));
    }
    let mut bytes = Vec::new();
    (&mut file).take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(wrong("is longer than 1 MiB"));
    }
    Ok((file, bytes))
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = (flags | OFlags::NOFOLLOW).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        let link = error.raw_os_error() == Some(Errno::ELOOP as i32);
        if link || error.kind() == ErrorKind::NotADirectory {
            return wrong("is a link, or something else than it should be");
        }
        error
    })
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// What is wrong with `shown`: what is not what it must be stays so, anything else may pass.
pub(super) fn trouble(shown: &str, error: &io::Error) -> Trouble {
    let message = format!("{shown}: {error}");
    match error.kind() {
        ErrorKind::InvalidData | ErrorKind::IsADirectory | ErrorKind::NotADirectory => Trouble::lasting(message)
            .hint("nobody but habuild has anything to do there: look what it is, and move it away"),
        _ => Trouble::passing(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn only_what_it_must_be() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("victim"), "x").unwrap();
        fs::set_permissions(at("victim"), Permissions::from_mode(0o644)).unwrap();
        symlink(at("victim"), at("link")).unwrap();
        symlink(dir.path(), at("linked")).unwrap();
        fs::write(at("long"), vec![0; (1 << 20) + 1]).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        for name in ["link", "pipe", "long", "."] {
            let error = read_private(&at(name)).unwrap_err();
            assert!(!trouble(name, &error).passing, "{name}: {error}");
        }
        for name in ["linked", "victim"] {
            let error = directory(&at(name)).unwrap_err();
            assert!(!trouble(name, &error).passing, "{name}: {error}");
        }
        assert_eq!(fs::metadata(at("victim")).unwrap().mode() & 0o777, 0o644, "nothing behind a link is touched");
        assert_eq!(read_private(&at("victim")).unwrap(), (b"x".to_vec(), true));
        assert_eq!(read_private(&at("victim")).unwrap(), (b"x".to_vec(), false));
        assert!(trouble("none", &read(&at("none")).unwrap_err()).passing);
        fs::create_dir(at("open")).unwrap();
        fs::set_permissions(at("open"), Permissions::from_mode(0o755)).unwrap();
        directory(&at("open")).unwrap();
        assert_eq!(fs::metadata(at("open")).unwrap().mode() & 0o777, 0o700);
    }
}
