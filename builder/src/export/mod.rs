//! Stage 5: artifacts, manifest and checksums: complete, or not there at all.
//!
//! Everything is written in a staging directory inside the output directory and renamed when all of it is there. The
//! manifest goes first and comes last: without it the output directory counts as empty.

pub mod manifest;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::assemble::Disk;
use crate::bake::Baked;
use crate::formats::{qcow2, raw};
use crate::plan::Plan;
use crate::report::{self, Event, Failure, Fault};
use crate::spec::image::Format;
use crate::sys::digest::Digest;
use crate::sys::file;
use manifest::{Artifact, Manifest};

/// The checksums' file name.
pub const SUMS: &str = "SHA256SUMS";

/// Held by the build that writes to an output directory.
const LOCK: &str = ".habuild.lock";

/// zlib's level for qcow2 clusters: what the levels above save is not worth their time.
const DEFLATE_LEVEL: u32 = 6;

/// Writes a disk in one format to an empty file; tells the bytes done and the bytes to do.
type Convert = fn(&Disk, &mut File, &mut dyn FnMut(u64, u64)) -> Result<()>;

/// Writes the artifacts of `plan` into `output`; `lock` is the lock's file name and text.
pub fn run(plan: &Plan, baked: &Baked, disk: &Disk, output: Output, lock: (&str, &str)) -> Result<Vec<PathBuf>> {
    let staging = Staging::new(output)?;
    let layers: Vec<_> = baked.layers.iter().chain(std::iter::once(&baked.initrd)).collect();
    let mut manifest = Manifest::new(plan, &layers, disk);
    for format in &plan.image.artifacts.formats {
        let artifact = write(*format, plan, disk, &staging.path)?;
        manifest.artifacts.push(artifact);
    }
    let text = manifest.text()?;
    let (lock_name, lock_text) = lock;
    let others = [
        (manifest::FILE.to_owned(), Digest::of(text.as_bytes())),
        (lock_name.to_owned(), Digest::of(lock_text.as_bytes())),
    ];
    file::write(&staging.path.join(lock_name), lock_text)?;
    file::write(&staging.path.join(SUMS), manifest.sums(&others))?;
    file::write(&staging.path.join(manifest::FILE), &text)?;
    staging.commit(&manifest, lock_name)
}

fn write(format: Format, plan: &Plan, disk: &Disk, staging: &Path) -> Result<Artifact> {
    let convert: Convert = match format {
        Format::Raw => |disk, out, progress| raw::write(&disk.path, out, progress),
        Format::Qcow2 => convert_to_qcow2,
    };
    let extension = format.extension();
    let name = format!("{}.{extension}", plan.image.name);
    let event = Event::start("export", extension);
    let path = staging.join(&name);
    let mut out = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("failed to create {}", path.display()))?;
    convert(disk, &mut out, &mut |done, total| report::progress(extension, done, total))
        .with_context(|| format!("failed to write {}", path.display()))?;
    out.sync_all().with_context(|| format!("failed to write {}", path.display()))?;
    drop(out);
    let (sha256, size) = Digest::of_file(&path)?;
    let time = TimeSpec::new(plan.epoch, 0);
    utimensat(nix::fcntl::AT_FDCWD, &path, &time, &time, UtimensatFlags::NoFollowSymlink)
        .with_context(|| format!("failed to set the time of {}", path.display()))?;
    event.done("written", &format!("{name}, {}", report::size(size)));
    Ok(Artifact { file: name, format, size, sha256 })
}

fn convert_to_qcow2(disk: &Disk, out: &mut File, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let options = qcow2::Options { level: DEFLATE_LEVEL, incompressible: disk.incompressible.clone(), threads };
    qcow2::write(&disk.path, out, &options, progress)
}

/// An output directory that no other build writes to.
#[derive(Debug)]
pub struct Output {
    directory: PathBuf,
    _lock: file::Lock,
}

impl Output {
    /// Makes the directory and takes it, unless another build has.
    pub fn take(directory: &Path) -> Result<Self> {
        prepare_output(directory)?;
        let lock = file::try_lock(&directory.join(LOCK))?.ok_or_else(|| {
            Failure::new(Fault::Environment, format!("another build is writing to {}", directory.display()))
                .remedy("wait for it, or name another directory with --output")
        })?;
        Ok(Self { directory: directory.into(), _lock: lock })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.directory.join(LOCK));
    }
}

/// A directory inside the output directory, removed unless committed.
#[derive(Debug)]
struct Staging {
    path: PathBuf,
    output: Output,
}

impl Staging {
    fn new(output: Output) -> Result<Self> {
        let path = output.directory.join(".partial");
        // Left by a build that was killed: its lock is free.
        file::remove(&path)?;
        file::make_directory(&path)?;
        Ok(Self { path, output })
    }

    fn commit(&self, manifest: &Manifest, lock_name: &str) -> Result<Vec<PathBuf>> {
        let directory = &self.output.directory;
        let old = Manifest::read(directory);
        for name in [manifest::FILE, SUMS] {
            remove_file(&directory.join(name))?;
        }
        let artifacts: Vec<&str> = manifest.artifacts.iter().map(|artifact| artifact.file.as_str()).collect();
        // What an earlier build of other formats left would not belong to this manifest.
        for artifact in old.iter().flat_map(|old| &old.artifacts) {
            if !artifacts.contains(&artifact.file.as_str()) {
                remove_file(&directory.join(&artifact.file))?;
            }
        }
        for name in artifacts.iter().copied().chain([lock_name, SUMS, manifest::FILE]) {
            file::rename(&self.path.join(name), &directory.join(name))?;
        }
        Ok(artifacts.iter().map(|name| directory.join(name)).collect())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = file::remove(&self.path);
    }
}

/// Removes what an earlier build wrote. That was a file: a directory of that name is somebody's own.
fn remove_file(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok_and(|found| found.is_file()) { file::remove(path) } else { Ok(()) }
}

/// Makes the output directory and says at once when it cannot be written.
pub fn prepare_output(directory: &Path) -> Result<()> {
    let usable = file::make_directory(directory).and_then(|()| {
        let probe = directory.join(format!(".probe.{}", std::process::id()));
        file::write(&probe, b"")?;
        file::remove(&probe)
    });
    usable.map_err(|error| {
        Failure::new(Fault::Environment, format!("the output directory {} cannot be written", directory.display()))
            .because(error)
            .remedy("name another with --output")
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_old_manifest_names_is_removed_only_when_it_is_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path();
        fs::create_dir(out.join("old.raw")).unwrap();
        fs::write(out.join("old.raw/mine"), "mine").unwrap();
        fs::write(out.join(manifest::FILE), manifest::tests::manifest("old.raw").text().unwrap()).unwrap();
        let staging = Staging::new(Output::take(out).unwrap()).unwrap();
        for name in ["new.raw", "lock", SUMS, manifest::FILE] {
            fs::write(staging.path.join(name), "new").unwrap();
        }
        staging.commit(&manifest::tests::manifest("new.raw"), "lock").unwrap();
        assert!(out.join("old.raw/mine").exists() && out.join("new.raw").exists());
    }

    #[test]
    fn an_old_manifest_removes_its_artifacts_and_nothing_outside() {
        let directory = tempfile::tempdir().unwrap();
        let (out, victim) = (directory.path().join("out"), directory.path().join("victim"));
        fs::write(&victim, "mine").unwrap();
        let commit = |old: &str| {
            fs::create_dir_all(&out).unwrap();
            fs::write(out.join("old.raw"), "old").unwrap();
            fs::write(out.join(manifest::FILE), manifest::tests::manifest(old).text().unwrap()).unwrap();
            let staging = Staging::new(Output::take(&out).unwrap()).unwrap();
            for name in ["new.raw", "lock", SUMS, manifest::FILE] {
                fs::write(staging.path.join(name), "new").unwrap();
            }
            staging.commit(&manifest::tests::manifest("new.raw"), "lock").unwrap();
            out.join("old.raw").exists()
        };
        assert!(!commit("old.raw"));
        for outside in [victim.to_str().unwrap(), "../victim"] {
            assert!(commit(outside));
            assert!(victim.exists(), "{outside}");
        }
    }
}
