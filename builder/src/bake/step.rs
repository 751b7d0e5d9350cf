//! One function per step of a layer, carried out in its mounted root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result};

use super::bundle;
use super::packages::Packages;
use super::pinned;
use super::rootfs::Rootfs;
use crate::plan::layer::{PlannedFile, Source, Step};
use crate::report::{Failure, Fault};
use crate::sys::digest::Digest;
use crate::sys::file;
use crate::sys::sandbox::Sandbox;

/// Carries out a step.
pub fn apply(step: &Step, root: &Rootfs, cache: &Packages, offline: bool) -> Result<()> {
    match step {
        Step::File(planned) => copy(planned, root),
        Step::Fetch { url, sha256, to, mode } => {
            let content = file::read(&pinned::fetch(cache, url, *sha256, offline)?)?;
            root.write(to, &content, *mode)
        }
        Step::Run(command) => run(command, root),
        Step::Enable(unit) => run(&["systemctl".into(), "enable".into(), "--quiet".into(), unit.clone()], root),
        Step::Mask(units) => {
            for unit in units {
                root.link(&format!("/etc/systemd/system/{unit}"), "/dev/null")?;
            }
            Ok(())
        }
        Step::User { name, id, home, shell } => add_user(root, name, *id, home, shell),
        Step::Directory { path, mode } => {
            let at = root.make_directory(path)?;
            fs::set_permissions(&at, fs::Permissions::from_mode(*mode))
                .with_context(|| format!("failed to set the mode of {}", at.display()))
        }
        Step::Link { path, target } => root.link(path, target),
        Step::Bundle(planned) => bundle::bake(planned, root, cache, offline),
        Step::Remove(paths) => paths.iter().try_for_each(|path| root.remove(path)),
    }
}

/// Copies a planned file, and stops if it is not the one that was planned.
fn copy(planned: &PlannedFile, root: &Rootfs) -> Result<()> {
    match &planned.source {
        Source::Text(text) => root.write(&planned.to, text.as_bytes(), planned.mode),
        Source::File { path, digest, .. } => {
            let content = file::read(path)?;
            if Digest::of(&content) != *digest {
                return Err(Failure::new(Fault::Input, format!("{} changed since it was planned", path.display()))
                    .remedy("run the build again")
                    .into());
            }
            root.write(&planned.to, &content, planned.mode)
        }
    }
}

fn run(command: &[String], root: &Rootfs) -> Result<()> {
    let (program, arguments) = command.split_first().context("a command without a program")?;
    Sandbox::new(root.path()).command(program, arguments)?.run_logged()
}

/// Adds a system user by hand: `useradd` would write the build's day, and its backups.
fn add_user(root: &Rootfs, name: &str, id: u32, home: &str, shell: &str) -> Result<()> {
    let lines = [
        ("/etc/passwd", format!("{name}:x:{id}:{id}::{home}:{shell}\n")),
        ("/etc/group", format!("{name}:x:{id}:\n")),
        ("/etc/shadow", format!("{name}:!:1::::::\n")),
        ("/etc/gshadow", format!("{name}:!::\n")),
    ];
    for (path, line) in lines {
        let at = root.join(path)?;
        let mut text = file::read_text(&at)?;
        if text.lines().any(|other| other.split(':').next() == Some(name)) {
            return Err(Failure::new(Fault::Usage, format!("user {name}: {path} has one of that name already")).into());
        }
        text.push_str(&line);
        file::write(&at, text)?;
    }
    Ok(())
}
