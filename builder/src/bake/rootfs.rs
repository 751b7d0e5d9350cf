//! A root file system as a directory, and paths that cannot leave it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::sys::file;

/// A directory that is the `/` of an image.
#[derive(Debug, Clone)]
pub struct Rootfs {
    path: PathBuf,
}

impl Rootfs {
    /// Takes `path` as the root.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// The root itself, on this host.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the image's `path` lies on this host. Symbolic links in its directories are followed inside the root,
    /// as they would be on the node; the last component is not followed.
    pub fn join(&self, path: &str) -> Result<PathBuf> {
        self.resolve(path, false)
    }

    /// As [`Self::join`], following the last component too when `follow` says so.
    fn resolve(&self, path: &str, follow: bool) -> Result<PathBuf> {
        let mut pending: Vec<OsString> = components(Path::new(path));
        pending.reverse();
        let mut inside: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == ".." {
                inside.pop();
                continue;
            }
            let mut here = self.path.clone();
            here.extend(&inside);
            here.push(&name);
            if (follow || !pending.is_empty())
                && let Ok(target) = fs::read_link(&here)
            {
                links += 1;
                ensure!(links <= 40, "too many symbolic links in {path}");
                if target.is_absolute() {
                    inside.clear();
                }
                pending.extend(components(&target).into_iter().rev());
                continue;
            }
            inside.push(name);
        }
        let mut here = self.path.clone();
        here.extend(inside);
        Ok(here)
    }

    /// Makes a directory of the image with its parents (0755, root).
    pub fn make_directory(&self, path: &str) -> Result<PathBuf> {
        let at = self.resolve(path, true)?;
        file::make_directory_with_mode(&at, 0o755)?;
        Ok(at)
    }

    /// Writes a file of the image, in place of whatever is there, making its directories.
    pub fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let at = self.place(path)?;
        file::write(&at, content)?;
        fs::set_permissions(&at, fs::Permissions::from_mode(mode))
            .with_context(|| format!("failed to set the mode of {}", at.display()))
    }

    /// Makes a symbolic link of the image, in place of whatever file or link is there.
    pub fn link(&self, path: &str, target: &str) -> Result<()> {
        let at = self.place(path)?;
        symlink(target, &at).with_context(|| format!("failed to make link {}", at.display()))
    }

    /// Removes a file or tree of the image, if it is there.
    pub fn remove(&self, path: &str) -> Result<()> {
        file::remove(&self.join(path)?)
    }

    /// Reads a file of the image; `None` when there is none.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let at = self.resolve(path, true)?;
        match fs::read(&at) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", at.display())),
        }
    }

    /// The entries of a directory of the image, sorted; empty when there is none.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        let at = self.resolve(path, true)?;
        let Ok(entries) = fs::read_dir(&at) else { return Ok(Vec::new()) };
        let mut names = entries
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("failed to list {}", at.display()))?;
        names.sort();
        Ok(names)
    }

    /// Whether the image has this path (a dangling link counts).
    pub fn has(&self, path: &str) -> Result<bool> {
        Ok(self.join(path)?.symlink_metadata().is_ok())
    }

    fn place(&self, path: &str) -> Result<PathBuf> {
        let (parent, name) = path.rsplit_once('/').with_context(|| format!("{path} is not an absolute path"))?;
        let at = self.make_directory(parent)?.join(name);
        file::remove(&at)?;
        Ok(at)
    }
}

fn components(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_inside_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = Rootfs::new(directory.path());
        fs::create_dir_all(directory.path().join("usr/lib")).unwrap();
        symlink("/usr/lib", directory.path().join("lib")).unwrap();
        symlink("../../../../../../etc", directory.path().join("usr/lib/out")).unwrap();
        root.write("/lib/x", b"1", 0o644).unwrap();
        root.write("/lib/out/passwd", b"2", 0o600).unwrap();
        assert!(directory.path().join("usr/lib/x").exists());
        assert!(directory.path().join("etc/passwd").exists());
        assert_eq!(root.join("/../../a").unwrap(), directory.path().join("a"));
        assert_eq!(root.list("/lib").unwrap(), ["out", "x"]);
    }
}
