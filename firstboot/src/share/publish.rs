//! Publishing a file on the share once: of many nodes that try, one wins, and nobody ever reads half a file.
//!
//! Written to a draft, flushed, linked to its name. CephFS refuses `renameat2` with NOREPLACE; a link made before the
//! flush would be an empty file after a power cut (both seen, Linux 6.8).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Publishes `bytes` as `directory/name`; `false` when somebody else did before. `who` names this node in drafts.
pub(super) fn publish(directory: &Path, name: &str, bytes: &[u8], who: &str) -> io::Result<bool> {
    // Two nodes may have one id, from a seed that somebody copied, and one process number.
    let mut number = [0; 8];
    rustix::rand::getrandom(&mut number, rustix::rand::GetRandomFlags::empty())?;
    let draft = directory.join(format!("{}{who}.{:016x}", prefix(name), u64::from_ne_bytes(number)));
    let place = directory.join(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, &place);
    let won = match &linked {
        Ok(()) => true,
        // A request that was repeated after its answer was lost finds its own work done.
        Err(_) => same_file(&file, &place),
    };
    if let (Err(error), false) = (linked, won) {
        // Drafts go as soon as the name is there: ours may have, before we could link it.
        let lost = matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound);
        if !lost || !place.exists() {
            let _ = remove(&draft);
            return Err(error);
        }
    }
    File::open(directory)?.sync_all()?;
    sweep(directory, name)?;
    Ok(won)
}

/// Removes every draft of a name that is there. Nobody needs one any more: who tries to link it has lost either way. So
/// what killed nodes leave goes without asking anybody's clock.
fn sweep(directory: &Path, name: &str) -> io::Result<()> {
    let prefix = prefix(name);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn prefix(name: &str) -> String {
    format!(".{name}.draft-")
}

fn same_file(file: &File, place: &Path) -> bool {
    match (file.metadata(), fs::metadata(place)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wins_and_nothing_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".x.json.draft-dead.1"), "half").unwrap();
        fs::write(dir.path().join(".y.json.draft-other.1"), "of another name").unwrap();
        assert!(publish(dir.path(), "x.json", b"one", "a").unwrap());
        assert!(!publish(dir.path(), "x.json", b"two", "b").unwrap());
        assert_eq!(fs::read(dir.path().join("x.json")).unwrap(), b"one");
        let mode = fs::metadata(dir.path().join("x.json")).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".y.json.draft-other.1", "x.json"]);
    }

    #[test]
    fn what_cannot_be_published_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(publish(&dir.path().join("none"), "x", b"", "a").is_err());
    }
}
