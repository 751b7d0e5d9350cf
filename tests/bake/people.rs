//! Who starts habuild, with what around it, and what they are told.
#![allow(clippy::disallowed_methods, reason = "starts habuild and looks at its exit code")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::places::run;

/// Who builds as an ordinary user when the tests run as root; `make setup-tests` makes it.
pub(crate) const USER: &str = "habuild-test";

/// A program in `directory` that becomes `program` under a mask, in a working directory, with more in its environment.
/// Whatever starts it (sudo, setpriv) cannot change these any more.
pub(crate) fn elsewhere(directory: &Path, program: &Path, surroundings: &str) -> PathBuf {
    let script = directory.join("habuild-elsewhere");
    fs::write(&script, format!("#!/bin/sh\n{surroundings}\nexec {} \"$@\"\n", program.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// The exit code, and the message that a person gets.
pub(crate) fn failure(command: &mut Command) -> (i32, String) {
    let output: Output = command.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "{command:?} succeeded");
    let words = String::from_utf8(output.stderr).unwrap();
    // Progress lines come first; the message begins at the one `habuild: `.
    assert_eq!(words.matches("habuild: ").count(), 1, "not one message:\n{words}");
    let message = words[words.find("habuild: ").unwrap()..].trim().to_owned();
    (output.status.code().expect("ended by a signal"), message)
}

/// A command as the ordinary user `name`. The tests run as root, or sudo is there.
pub(crate) fn as_user(name: &str, home: &Path, program: &Path) -> Command {
    let id = |kind: &str| run(Command::new("id").args([kind, name])).trim().to_owned();
    let mut command = root_command("setpriv");
    command.args(["--reuid", &id("-u"), "--regid", &id("-g"), "--clear-groups"]);
    command.args(["env", "-i", "PATH=/usr/bin:/bin"]).arg(format!("HOME={}", home.display())).arg(program);
    command
}

/// A command as root.
pub(crate) fn root_command(program: &str) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        return Command::new(program);
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).status();
    assert!(
        sudo.is_ok_and(|status| status.success()),
        "this test needs root: run as root, or with sudo that asks nothing"
    );
    let mut command = Command::new("sudo");
    command.arg("-n").arg(program);
    command
}
