//! The `debugfs` script for a new ext4: what nobody can make in a user namespace, and every inode's times.
//!
//! Invariant: equal trees and marks, equal script; a name that a script cannot hold is an error, never skipped.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use walkdir::WalkDir;

use super::content::Content;
use crate::bake::docker::marks::What;
use crate::report::{Failure, Fault};
use crate::sys::file;

/// The script for the file system made of `content`; values that it reads are files in `out`, which it sees at `seen`.
pub(super) fn script(content: &Content, epoch: i64, out: &Path, seen: &str) -> Result<Vec<u8>> {
    let mut script = Script::default();
    // What has no inode in the tree, with its own time.
    let mut made: BTreeMap<&Path, i64> = BTreeMap::new();
    for (i, mark) in content.marks.iter().enumerate() {
        match &mark.what {
            What::Whiteout => {
                script.make(&mark.path, "c 0 0")?;
                made.insert(&mark.path, epoch);
            }
            What::Opaque => script.on("ea_set", &mark.path, "trusted.overlay.opaque y")?,
            What::Owner { uid, gid } => script.owner(&mark.path, (*uid, *gid))?,
            What::Attribute { name, value } => {
                file::write(&out.join(format!("attribute.{i}")), value)?;
                script.on(&format!("ea_set -f {seen}/attribute.{i}"), &mark.path, &quoted(OsStr::new(name))?)?;
            }
            What::Node(node) => {
                let (major, minor) = node.device;
                let (kind, bits) = match node.kind {
                    'c' => (format!("c {major} {minor}"), 0o020_000),
                    'b' => (format!("b {major} {minor}"), 0o060_000),
                    _ => ("p".to_owned(), 0o010_000),
                };
                script.make(&mark.path, &kind)?;
                script.on("sif", &mark.path, format!("mode 0{:o}", bits | node.mode))?;
                script.owner(&mark.path, node.owner)?;
                made.insert(&mark.path, node.modified);
            }
        }
    }
    for (path, time) in made {
        // `mknod` would give the directory a second entry of that name, and say nothing.
        let there = content.source_of(path).is_some_and(|source| source.symlink_metadata().is_ok());
        ensure!(!there, "{} is both a file and a mark", path.display());
        script.times(path, time, epoch)?;
    }
    script.times(Path::new("/"), epoch, epoch)?;
    script.times(Path::new("/lost+found"), epoch, epoch)?;
    // What is mounted upon a directory comes after it.
    for (at, from) in &content.trees {
        let depth = usize::from(at == Path::new("/"));
        for entry in WalkDir::new(from).min_depth(depth).sort_by_file_name() {
            let entry = entry.with_context(|| format!("failed to walk {}", from.display()))?;
            let metadata = entry.metadata().with_context(|| format!("failed to read {}", entry.path().display()))?;
            let name = entry.path().strip_prefix(from).context("a walk that left its tree")?;
            // A path that ends in a slash is another to debugfs.
            let path = if name.as_os_str().is_empty() { at.clone() } else { at.join(name) };
            script.times(&path, metadata.mtime(), epoch)?;
        }
    }
    Ok(script.bytes)
}

/// Says what went wrong in a script: `debugfs` goes on after an error and exits with 0. On standard error it names
/// its version, once and first; every other line is a command that it could not carry out.
pub(super) fn check(said: &[u8]) -> Result<()> {
    let said = String::from_utf8_lossy(said);
    let mut lines = said.lines().filter(|line| !line.trim().is_empty());
    let version = lines.next().unwrap_or_default();
    ensure!(version.starts_with("debugfs "), "debugfs did not begin: {version:?}");
    match lines.next() {
        Some(line) => Err(anyhow!("debugfs: {line}")),
        None => Ok(()),
    }
}

#[derive(Debug, Default)]
struct Script {
    bytes: Vec<u8>,
}

impl Script {
    /// `COMMAND PATH REST`
    fn on(&mut self, command: &str, path: &Path, rest: impl AsRef<[u8]>) -> Result<()> {
        let path = quoted(path.as_os_str())?;
        for part in [command.as_bytes(), b" ", &path, b" ", rest.as_ref(), b"\n"] {
            self.bytes.extend_from_slice(part);
        }
        Ok(())
    }

    /// Makes a device or pipe: `mknod` takes a name in the current directory only.
    fn make(&mut self, path: &Path, kind: &str) -> Result<()> {
        let (parent, name) = path.parent().zip(path.file_name()).context("a device without a name")?;
        self.on("cd", parent, "")?;
        self.on("mknod", &PathBuf::from(name), kind)?;
        self.on("cd", Path::new("/"), "")
    }

    fn owner(&mut self, path: &Path, (uid, gid): (u32, u32)) -> Result<()> {
        self.on("sif", path, format!("uid {uid}"))?;
        self.on("sif", path, format!("gid {gid}"))
    }

    fn times(&mut self, path: &Path, modified: i64, epoch: i64) -> Result<()> {
        for (field, time) in [("atime", modified), ("ctime", epoch), ("mtime", modified), ("crtime", epoch)] {
            self.on("sif", path, format!("{field} @{time}"))?;
            // The nanoseconds and the epoch bits of each time.
            self.on("sif", path, format!("{field}_extra 0"))?;
        }
        Ok(())
    }
}

/// A word of a script: in quotes, which are doubled inside.
fn quoted(word: &OsStr) -> Result<Vec<u8>> {
    let bytes = word.as_bytes();
    if bytes.iter().any(|byte| b"\n\r".contains(byte)) {
        let words = format!("{word:?}: a name with a line break cannot be put on the state file system");
        return Err(Failure::new(Fault::Input, words).into());
    }
    let mut quoted = vec![b'"'];
    for byte in bytes {
        quoted.extend_from_slice(if *byte == b'"' { b"\"\"" } else { std::slice::from_ref(byte) });
    }
    quoted.push(b'"');
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::bake::docker::marks::{Mark, Node};
    use crate::sys::cmd::Cmd;

    #[test]
    fn marks_come_first_and_names_are_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let name = OsStr::from_bytes(b"a \"b\" \xff");
        fs::create_dir(directory.path().join(name)).unwrap();
        let path = Path::new("/").join(name);
        let node = Node { kind: 'b', device: (8, 1), mode: 0o640, owner: (70_000, 6), modified: 5 };
        let marks = [
            Mark { path: path.join("x"), what: What::Whiteout },
            Mark { path: path.clone(), what: What::Opaque },
            Mark { path: path.join("sda"), what: What::Node(node) },
        ];
        let of = |marks: &[Mark]| Content { marks: marks.to_vec(), ..Content::of(directory.path()) };
        let script = script(&of(&marks), 9, directory.path(), "/run/out").unwrap();
        let begins: &[u8] = b"cd \"/a \"\"b\"\" \xff\" \nmknod \"x\" c 0 0\ncd \"/\" \n\
            ea_set \"/a \"\"b\"\" \xff\" trusted.overlay.opaque y\n";
        assert!(script.starts_with(begins), "{}", String::from_utf8_lossy(&script));
        let text = String::from_utf8_lossy(&script);
        assert!(text.contains("mknod \"sda\" b 8 1\n") && text.contains("/sda\" mode 060640\n"), "{text}");
        assert!(text.contains("/sda\" uid 70000\n") && text.contains("/sda\" mtime @5\n"), "{text}");
        fs::write(directory.path().join("twice"), "").unwrap();
        let twice = [Mark { path: "/twice".into(), what: What::Whiteout }];
        assert!(super::script(&of(&twice), 9, directory.path(), "").is_err());
        let broken = [Mark { path: "/a\nb".into(), what: What::Opaque }];
        assert!(super::script(&of(&broken), 9, directory.path(), "").is_err());
    }

    #[test]
    fn errors_of_a_script_are_seen() {
        assert!(check(b"debugfs 1.47.0 (5-Feb-2023)\n").is_ok());
        let error = check(b"debugfs 1.47.0 (5-Feb-2023)\n/x: File not found by ext2_lookup \n").unwrap_err();
        assert!(error.to_string().contains("/x: File not found"));
        // Its greeting comes first and once: nothing else of its own is harmless.
        assert!(check(b"debugfs 1.47.0 (5-Feb-2023)\ndebugfs went wrong\n").is_err());
        assert!(check(b"").is_err(), "debugfs did not begin");
    }

    #[test]
    fn every_command_that_debugfs_could_not_carry_out_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (image, script) = (directory.path().join("image"), directory.path().join("script"));
        fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
        Cmd::program("mke2fs").args(["-q", "-t", "ext4"]).arg(&image).run().unwrap();
        let run = |text: &str| {
            fs::write(&script, text).unwrap();
            let debugfs = Cmd::program("debugfs").args(["-w", "-f"]).arg(&script).arg(&image);
            check(&debugfs.stdout(std::process::Stdio::null()).run().unwrap().stderr)
        };
        run("mknod \"pipe\" p\nsif \"/pipe\" mode 010640\nea_set \"/pipe\" trusted.x y\n").unwrap();
        for failing in [
            "sif \"/none\" uid 5",
            "sif \"/pipe\" uid x",
            "sif \"/pipe\" none 5",
            "ea_set \"/none\" trusted.x y",
            "ea_set -f /none \"/pipe\" trusted.x",
            "cd \"/none\"",
            "cd \"/pipe\"",
        ] {
            assert!(run(&format!("sif \"/pipe\" uid 1\n{failing}\nsif \"/pipe\" uid 2\n")).is_err(), "{failing}");
        }
    }
}
