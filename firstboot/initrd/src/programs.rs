//! The root's own programs, run before the root is the root.

#![expect(clippy::disallowed_methods, reason = "starts programs of the root")]

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use crate::failure::Failure;
use crate::mounts;

/// Runs `program` of the mounted root with `arguments`, and returns what it said.
pub fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Result<Output, Failure> {
    mounts::inside_root(|| Command::new(program).args(arguments).stdin(Stdio::null()).output())?
        .map_err(|error| Failure::system(format!("run {program} of the root"), error))
}

/// What a program said, on both outputs.
#[must_use]
pub fn said(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
