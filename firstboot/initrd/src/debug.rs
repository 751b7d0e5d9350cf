//! A shell for whoever asks for one with `habuild.debug` on the kernel's command line: the root's own, with all that the root has,
//! while the root is verified and the state is not mounted.

#![expect(clippy::disallowed_methods, reason = "starts a shell")]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;

use crate::disks::Devices;
use crate::failure::Failure;
use crate::{mounts, say};

/// Gives a console to what it runs (util-linux).
const SETSID: &str = "/usr/bin/setsid";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the shell on the console until it ends.
pub fn shell(why: &str, devices: &Devices) {
    if let Err(failure) = run(why, devices) {
        say::warn(&format!("no shell: {failure}"));
    }
}

fn run(why: &str, devices: &Devices) -> Result<(), Failure> {
    // The last one is where `/dev/console` leads, and unlike it can be a session's terminal.
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let path = format!("/dev/{}", active.split_ascii_whitespace().next_back().unwrap_or("console"));
    let failed = |error| Failure::system(format!("open {path}"), error);
    let mut options = OpenOptions::new();
    // It is to be the shell's terminal, not this process'.
    options.read(true).write(true).custom_flags(nix::libc::O_NOCTTY);
    let mut console = options.open(&path).map_err(failed)?;
    let words = format!(
        "\nhabuild: {why}\nhabuild: a shell of the image's root, which is read-only; the state is {}. `exit` goes on.\n",
        devices.state.display()
    );
    console.write_all(words.replace('\n', "\r\n").as_bytes()).map_err(failed)?;
    let (input, output) = (console.try_clone().map_err(failed)?, console.try_clone().map_err(failed)?);
    let mut shell = Command::new(SETSID);
    shell.args(["--ctty", "--wait", "/bin/sh"]).env("PATH", PATH).env("PS1", "habuild# ");
    shell.stdin(input).stdout(output).stderr(console);
    mounts::inside_root(|| shell.status())?
        .map(drop)
        .map_err(|error| Failure::system(format!("run {SETSID} of the root"), error))
}
