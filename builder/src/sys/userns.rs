//! Re-enters habuild in a user namespace, where it is root over a range of ids, a mount namespace and nothing else.
//!
//! Root and an ordinary user take the same road, so that the kernel gives both the same overlay, the same extended
//! attributes and the same refusals, and thus the same bits. Root maps the first 65536 ids onto themselves; an
//! ordinary user maps itself to 0 and its subordinate ids (`/etc/subuid`, `newuidmap`) to the rest.
//!
//! Invariant: called before any thread is started (`unshare(CLONE_NEWUSER)` refuses otherwise).
#![expect(clippy::disallowed_methods, reason = "one of the two files that make namespaces")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, User};

use crate::report::{Failure, Fault};

/// The hidden subcommand that the child side answers to.
pub(crate) const COMMAND: &str = "__namespace";

/// How many ids an image may use: 0 to 65535.
const IDS: u32 = 65536;

/// What the child says when it is in its namespaces.
const ENTERED: &[u8; 3] = b"in\n";
/// What the parent says when the ids are mapped.
const GO: &[u8; 3] = b"go\n";
/// How long a child may take to enter its namespaces.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where this user's subordinate ids start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    /// Root: ids are mapped onto themselves.
    Own,
    /// The first subordinate user id and group id.
    Subordinate { uid: u32, gid: u32 },
}

/// Says whether this host lets habuild build, before anything is begun.
pub(crate) fn check_host() -> Result<()> {
    find_ids()?;
    let probe = Command::new("/proc/self/exe")
        .args([COMMAND, "--probe"])
        .stdin(Stdio::null())
        .output()
        .context("failed to start habuild again")?;
    if probe.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&probe.stderr);
    let words = words.trim().trim_start_matches("habuild: ").replace("\n  because:", ":");
    Err(Failure::new(Fault::Environment, format!("this host does not let a build make a user namespace: {words}"))
        .remedy(namespace_remedy())
        .into())
}

/// The switch that this host has turned off, as far as it can be told.
fn namespace_remedy() -> String {
    let off = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    let switch = if off("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "sysctl kernel.unprivileged_userns_clone=1"
    } else if off("/proc/sys/user/max_user_namespaces", "0") {
        "sysctl user.max_user_namespaces=15000"
    } else if off("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    } else {
        return "inside a container, allow it user namespaces (for Docker: --privileged)".into();
    };
    format!("as root: {switch}")
}

fn find_ids() -> Result<Ids> {
    if Uid::effective().is_root() {
        return Ok(Ids::Own);
    }
    let uid = Uid::effective();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let first = |file: &str| -> Option<u32> {
        let text = fs::read_to_string(file).ok()?;
        subordinate_range(&text, &user, uid.as_raw())
    };
    let (Some(sub_uid), Some(sub_gid)) = (first("/etc/subuid"), first("/etc/subgid")) else {
        return Err(Failure::new(
            Fault::Environment,
            format!("user {user} has no range of {IDS} subordinate ids in /etc/subuid and /etc/subgid"),
        )
        .remedy(format!("as root: usermod --add-subuids 524288-589823 --add-subgids 524288-589823 {user}"))
        .into());
    };
    for tool in ["newuidmap", "newgidmap"] {
        if !on_path(tool) {
            return Err(Failure::new(Fault::Environment, format!("{tool} is not installed"))
                .remedy("install package uidmap: apt-get install uidmap")
                .into());
        }
    }
    Ok(Ids::Subordinate { uid: sub_uid, gid: sub_gid })
}

/// Whether the host has a program of that name.
#[must_use]
pub(crate) fn on_path(tool: &str) -> bool {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(tool).exists())
}

/// The first id of a range in `/etc/subuid`'s form (`name-or-id:first:count`) that is large enough.
fn subordinate_range(text: &str, name: &str, id: u32) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        let first: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        ((who == name || who == id.to_string()) && count >= IDS - 1).then_some(first)
    })
}

/// Runs `habuild ARGUMENTS…` as root of a new user namespace, with `input` as its standard input, and returns its
/// exit code. The child dies with this process.
pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Result<u8> {
    let ids = find_ids()?;
    // The child's standard input is a socket, since the child has a word to say before it is told anything.
    let (mut to_child, stdin) = UnixStream::pair().context("failed to make a socket")?;
    let mut child = Command::new("/proc/self/exe")
        .arg(COMMAND)
        .args(arguments)
        .stdin(OwnedFd::from(stdin))
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit())
        .spawn()
        .context("failed to start habuild again")?;
    let result = (|| {
        wait_for_namespace(&to_child, PATIENCE)?;
        map_ids(child.id(), ids)?;
        to_child.write_all(GO).context("the child in the user namespace is gone")?;
        // A child that has failed already has said why itself: a broken pipe is not the news.
        let _ = to_child.write_all(input).and_then(|()| to_child.shutdown(Shutdown::Write));
        Ok(())
    })();
    if let Err(error) = result {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    let status = child.wait().context("failed to wait for the build")?;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok(u8::try_from(code).unwrap_or(70)),
        (None, signal) => {
            Err(Failure::new(Fault::Step, format!("the build was ended by signal {}", signal.unwrap_or_default()))
                .into())
        }
    }
}

/// Waits until the child says that it is in its namespaces. One that ends without a word has failed.
fn wait_for_namespace(mut child: &UnixStream, patience: Duration) -> Result<()> {
    child.set_read_timeout(Some(patience)).context("failed to set a socket's time-out")?;
    let mut word = [0; ENTERED.len()];
    if child.read_exact(&mut word).is_ok() && &word == ENTERED {
        return Ok(());
    }
    Err(Failure::new(Fault::Environment, "the build could not enter a user namespace")
        .remedy(namespace_remedy())
        .into())
}

fn map_ids(pid: u32, ids: Ids) -> Result<()> {
    match ids {
        Ids::Own => {
            for file in ["uid_map", "gid_map"] {
                fs::write(format!("/proc/{pid}/{file}"), format!("0 0 {IDS}"))
                    .with_context(|| format!("failed to write /proc/{pid}/{file}"))?;
            }
        }
        Ids::Subordinate { uid, gid } => {
            let own = [("newuidmap", Uid::effective().as_raw(), uid), ("newgidmap", Gid::effective().as_raw(), gid)];
            for (tool, outside, first) in own {
                let output = Command::new(tool)
                    .args([pid.to_string(), "0".into(), outside.to_string(), "1".into()])
                    .args(["1".into(), first.to_string(), (IDS - 1).to_string()])
                    .stdin(Stdio::null())
                    .output()
                    .with_context(|| format!("failed to start {tool}"))?;
                if !output.status.success() {
                    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    return Err(Failure::new(Fault::Environment, format!("{tool} refused: {words}"))
                        .remedy("see /etc/subuid and /etc/subgid, and that newuidmap and newgidmap are set-uid root")
                        .into());
                }
            }
        }
    }
    Ok(())
}

/// The child side. Enters the namespaces, waits to be mapped, and becomes `habuild ARGUMENTS…`.
/// With `--probe` it only tries. Returns only on failure, or after a probe.
pub(crate) fn enter(arguments: &[String]) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).context("unshare(CLONE_NEWUSER)")?;
    if arguments.first().is_some_and(|argument| argument == "--probe") {
        return Ok(());
    }
    let written = nix::unistd::write(std::io::stdin(), ENTERED).context("failed to tell the parent")?;
    anyhow::ensure!(written == ENTERED.len(), "failed to tell the parent");
    // No more than the word is read: what follows it belongs to the program that this becomes.
    let mut word = [0_u8; GO.len()];
    for byte in &mut word {
        let n = nix::unistd::read(std::io::stdin(), std::slice::from_mut(byte))
            .context("failed to hear from the parent")?;
        anyhow::ensure!(n == 1, "the parent is gone");
    }
    anyhow::ensure!(&word == GO, "the parent process answered with something else than GO");
    nix::unistd::setgroups(&[]).context("setgroups")?;
    nix::unistd::setgid(Gid::from_raw(0)).context("setgid")?;
    nix::unistd::setuid(Uid::from_raw(0)).context("setuid")?;
    // Set after the change of ids, which clears it.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).context("prctl(PR_SET_PDEATHSIG)")?;
    nix::mount::mount(
        None::<&str>,
        "/",
        None::<&str>,
        nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .context("failed to make the mounts private")?;
    // The mask of whoever builds decides no mode of an image.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let error = Command::new("/proc/self/exe").args(arguments).exec();
    Err(error).context("failed to become the build")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_says_that_it_is_in_its_namespaces() {
        let (parent, mut child) = UnixStream::pair().unwrap();
        let short = Duration::from_millis(10);
        assert!(wait_for_namespace(&parent, short).is_err(), "it has said nothing");
        child.write_all(ENTERED).unwrap();
        wait_for_namespace(&parent, PATIENCE).unwrap();
        child.write_all(b"no\n").unwrap();
        assert!(wait_for_namespace(&parent, PATIENCE).is_err());
        drop(child);
        assert!(wait_for_namespace(&parent, PATIENCE).is_err(), "it has ended");
    }

    #[test]
    fn finds_a_large_enough_range_by_name_or_id() {
        let text = "other:1:65536\nann:100000:1000\nann:200000:65536\n1001:300000:65536\n";
        assert_eq!(subordinate_range(text, "ann", 1000), Some(200_000));
        assert_eq!(subordinate_range(text, "bob", 1001), Some(300_000));
        assert_eq!(subordinate_range(text, "eve", 1002), None);
    }
}
