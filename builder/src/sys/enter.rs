//! Mounts: overlays for the build itself, and the child side of a [`Sandbox`].
//!
//! Everything here happens inside the user namespace of [`super::userns`]: no mount of this file is seen by the host,
//! and all of them are gone when the build's last process is.
#![expect(clippy::disallowed_methods, reason = "one of the two files that make namespaces, the only one that mounts")]

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::statvfs::{FsFlags, statvfs};

use super::sandbox::Sandbox;
use crate::report::{Failure, Fault};

const NOTHING: Option<&str> = None;

/// The most bytes of options that mount(2) takes: a page with its closing zero. What is longer is cut off unsaid.
const LONGEST_OPTIONS: usize = 4095;

/// An overlay mount; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Overlay {
    at: PathBuf,
}

impl Overlay {
    /// Mounts `lowers` (top first) with the writable `upper` at `at`. `work` is an empty directory beside `upper`.
    ///
    /// `userxattr`: `trusted.*` attributes are refused in a user namespace. `volatile`: nothing is flushed to disk
    /// while packages are installed; a layer counts only once it is packed, hashed and renamed into the store.
    pub(crate) fn mount(lowers: &[PathBuf], upper: &Path, work: &Path, at: &Path) -> Result<Self> {
        let mut options = String::from("userxattr,volatile,lowerdir=");
        for (i, lower) in lowers.iter().enumerate() {
            if i > 0 {
                options.push(':');
            }
            options.push_str(&escape(lower)?);
        }
        options.push_str(&format!(",upperdir={},workdir={}", escape(upper)?, escape(work)?));
        if options.len() > LONGEST_OPTIONS {
            let length = options.len();
            let words =
                format!("an overlay of {} layers at {} has {length} bytes of paths", lowers.len(), at.display());
            return Err(Failure::new(Fault::Environment, format!("{words}, and the kernel reads {LONGEST_OPTIONS}"))
                .remedy("put the cache where its path is shorter, with --cache, or name fewer layers")
                .into());
        }
        mount(Some("overlay"), at, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .with_context(|| format!("failed to mount an overlay at {}", at.display()))?;
        Ok(Self { at: at.into() })
    }

    /// Where it is mounted.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

/// A path as overlayfs' option parser reads it.
fn escape(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,"))
}

/// The hidden subcommand `__sandbox DESCRIPTION PROGRAM ARGUMENTS…`. Returns the command's exit code.
pub(crate) fn run(arguments: &[String]) -> Result<u8> {
    let [description, program, rest @ ..] = arguments else { bail!("a sandbox needs a description and a program") };
    die_with_parent()?;
    if std::process::id() == 1 {
        return inside(description, program, rest);
    }
    // IPC, host name and network are empty from here on; process ids from the next process on.
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWNET,
    )
    .context("failed to make the sandbox's namespaces")?;
    let status = Command::new("/proc/self/exe")
        .arg(super::sandbox::COMMAND)
        .args(arguments)
        .status()
        .context("failed to start habuild again")?;
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(70),
        (None, signal) => u8::try_from(128 + signal.unwrap_or(0)).unwrap_or(70),
    })
}

/// A build that is killed takes its sandboxes with it: this process dies with its parent, and process 1 takes the rest.
fn die_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("prctl(PR_SET_PDEATHSIG)")
}

/// Process 1 of the sandbox: mounts, changes the root, becomes the command.
fn inside(description: &str, program: &str, arguments: &[String]) -> Result<u8> {
    let sandbox: Sandbox = serde_json::from_str(description).context("a sandbox description that cannot be read")?;
    let Sandbox { root, binds, tmpfs, directory, environment } = &sandbox;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).context("private mounts")?;
    nix::unistd::sethostname("localhost").context("sethostname")?;
    let whole_host = root.as_path() == Path::new("/");
    if whole_host {
        mount_proc(Path::new("/"))?;
    } else {
        mount(Some(root), root, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
            .with_context(|| format!("failed to bind {}", root.display()))?;
        mount_devices(root)?;
        mount_proc(root)?;
        for path in tmpfs {
            let at = below(root, path);
            mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0755"))
                .with_context(|| format!("failed to mount a tmpfs at {}", at.display()))?;
        }
    }
    for bind in binds {
        let at = below(root, &bind.target);
        if !at.exists() {
            make_target(&bind.source, &at)?;
        }
        mount(Some(bind.source.as_path()), &at, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
            .with_context(|| format!("failed to bind {} to {}", bind.source.display(), at.display()))?;
        if bind.read_only {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | locked_flags(&at)?;
            mount(NOTHING, &at, NOTHING, flags, NOTHING)
                .with_context(|| format!("failed to make {} read-only", at.display()))?;
        }
    }
    if !whole_host {
        nix::unistd::chdir(root).with_context(|| format!("failed to enter {}", root.display()))?;
        nix::unistd::pivot_root(".", ".").context("pivot_root")?;
        umount2(".", MntFlags::MNT_DETACH).context("failed to leave the host's root")?;
    }
    nix::unistd::chdir(directory).with_context(|| format!("failed to enter {}", directory.display()))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .exec();
    Err(error).with_context(|| format!("failed to start {program} in the sandbox"))
}

/// The mount's flags that a user namespace may not drop (`mount_namespaces(7)`): a remount must name them again.
fn locked_flags(at: &Path) -> Result<MsFlags> {
    let flags = statvfs(at).with_context(|| format!("failed to read the mount flags of {}", at.display()))?.flags();
    let known = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    Ok(known.into_iter().filter(|(is, _)| flags.contains(*is)).map(|(_, set)| set).collect())
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Makes a mount point like `source`; it lies on one of the sandbox's tmpfs, so nothing of it stays.
fn make_target(source: &Path, at: &Path) -> Result<()> {
    let parent = if source.is_dir() { at } else { at.parent().unwrap_or(at) };
    std::fs::create_dir_all(parent).with_context(|| format!("failed to make {}", parent.display()))?;
    if !source.is_dir() {
        std::fs::write(at, b"").with_context(|| format!("failed to make {}", at.display()))?;
    }
    Ok(())
}

/// `/proc` for the new process ids. A container may hide parts of its own `/proc`, and the kernel then refuses a new
/// one: the host's is shown instead, which package scripts can live with.
fn mount_proc(root: &Path) -> Result<()> {
    let at = root.join("proc");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if mount(Some("proc"), &at, Some("proc"), flags, NOTHING).is_ok() || root == Path::new("/") {
        return Ok(());
    }
    mount(Some("/proc"), &at, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
        .with_context(|| format!("failed to show /proc at {}", at.display()))
}

/// A `/dev` with the few devices that scripts use, bound from the host: making devices is refused here.
fn mount_devices(root: &Path) -> Result<()> {
    let dev = root.join("dev");
    mount(Some("tmpfs"), &dev, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0755"))
        .with_context(|| format!("failed to mount a tmpfs at {}", dev.display()))?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let (source, at) = (Path::new("/dev").join(name), dev.join(name));
        make_target(&source, &at)?;
        mount(Some(source.as_path()), &at, NOTHING, MsFlags::MS_BIND, NOTHING)
            .with_context(|| format!("failed to show {}", source.display()))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        std::os::unix::fs::symlink(target, dev.join(name)).with_context(|| format!("failed to make /dev/{name}"))?;
    }
    for name in ["shm", "pts"] {
        std::fs::create_dir(dev.join(name)).with_context(|| format!("failed to make /dev/{name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fault_of;

    #[test]
    fn options_that_are_longer_than_the_kernel_reads_are_told() {
        let long = PathBuf::from("/".to_owned() + &"a".repeat(200)).join("b".repeat(200));
        let error = Overlay::mount(&vec![long.clone(); 10], &long, &long, &long).unwrap_err();
        assert_eq!(fault_of(&error), Fault::Environment, "{error:#}");
        assert!(error.to_string().contains("4095"), "{error:#}");
    }
}
