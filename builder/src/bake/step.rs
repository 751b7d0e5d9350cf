//! One function per step of a layer, carried out in its mounted root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::bundle::{self, Bundle};
use super::packages::Packages;
use super::pinned;
use super::rootfs::Rootfs;
use crate::plan::layer::{Source, Step};
use crate::report::{Failure, Fault};
use crate::spec::layer::Operation;
use crate::sys::digest::Digest;
use crate::sys::file;
use crate::sys::sandbox::Sandbox;

/// What steps take from outside their layer.
#[expect(missing_debug_implementations, reason = "holds a closure")]
pub struct Inputs<'a> {
    /// The cache of fetched files.
    pub packages: &'a Packages,
    /// Whether nothing may be fetched.
    pub offline: bool,
    /// The image's Harbor bundle, once it is unpacked.
    pub bundle: &'a dyn Fn() -> Result<Arc<Bundle>>,
}

/// Carries out a step.
pub fn apply(step: &Step, root: &Rootfs, inputs: &Inputs<'_>) -> Result<()> {
    match step {
        Step::File(planned) => {
            keep_directory(root, &planned.to)?;
            root.write(&planned.to, &content(&planned.source, inputs)?, planned.mode)
        }
        Step::Bundle(_) => bundle::install(&*(inputs.bundle)()?, root),
        Step::Operation(operation) => operate(operation, root),
    }
}

fn operate(operation: &Operation, root: &Rootfs) -> Result<()> {
    match operation {
        Operation::Run { command } => run(command, root),
        Operation::Enable { unit } => run(&["systemctl", "enable", "--quiet", unit].map(Into::into), root),
        Operation::Mask { units } => {
            units.iter().try_for_each(|unit| root.link(&format!("/etc/systemd/system/{unit}"), "/dev/null"))
        }
        Operation::User { name, id, home, shell } => add_user(root, name, *id, home, shell),
        Operation::Directory { path, mode } => make_directory(root, path, *mode),
        Operation::Link { path, target } => {
            keep_directory(root, path)?;
            root.link(path, target)
        }
        Operation::Remove { paths } => paths.iter().try_for_each(|path| root.remove(path)),
    }
}

/// A directory of the image never gives way to a file or a link: `/etc/systemd/system` as a destination means a file in it.
fn keep_directory(root: &Rootfs, path: &str) -> Result<()> {
    match root.join(path)?.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => {
            Err(Failure::new(Fault::Usage, format!("{path} is a directory of the image, and would be replaced"))
                .remedy("name a path in it, or remove it first")
                .into())
        }
        _ => Ok(()),
    }
}

/// The content of a planned file; an error if it is not the one that was planned.
fn content(source: &Source, inputs: &Inputs<'_>) -> Result<Vec<u8>> {
    match source {
        Source::Text(text) => Ok(text.as_bytes().to_vec()),
        Source::Url { url, sha256 } => file::read(&pinned::fetch(inputs.packages, url, *sha256, inputs.offline)?),
        Source::File { path, digest, .. } => {
            let content = file::read(path)?;
            if Digest::of(&content) != *digest {
                return Err(Failure::new(Fault::Input, format!("{} changed since it was planned", path.display()))
                    .remedy("run the build again")
                    .into());
            }
            Ok(content)
        }
    }
}

fn make_directory(root: &Rootfs, path: &str, mode: u32) -> Result<()> {
    let at = root.make_directory(path)?;
    fs::set_permissions(&at, fs::Permissions::from_mode(mode))
        .with_context(|| format!("failed to set the mode of {}", at.display()))
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
        let taken = |other: &str| {
            let mut fields = other.split(':');
            let (other, number) = (fields.next(), fields.nth(1));
            let has_id = ["/etc/passwd", "/etc/group"].contains(&path) && number == Some(&id.to_string());
            other == Some(name) || has_id
        };
        if let Some(other) = text.lines().find(|line| taken(line)) {
            let other = other.split(':').next().unwrap_or_default();
            let words = format!("user {name}: {path} has {other} already, of that name or with the id {id}");
            return Err(Failure::new(Fault::Usage, words).remedy("give it another name, or another id").into());
        }
        text.push_str(&line);
        file::write(&at, text)?;
    }
    Ok(())
}
