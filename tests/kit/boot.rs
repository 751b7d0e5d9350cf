//! `habuild boot` as a process of its own.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use habuild::sys::cmd::{Cmd, Running};

/// `habuild boot IMAGE`, to be given options; what its machine's console says can be read.
pub(crate) fn command(image: &Path) -> Cmd {
    Cmd::program(env!("CARGO_BIN_EXE_habuild")).arg("boot").arg(image).stdout(Stdio::piped())
}

/// The processes that it has started: the emulator.
pub(crate) fn children(habuild: &Running) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", habuild.id())).into_iter().flatten().flatten();
    let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    children.collect::<String>().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
