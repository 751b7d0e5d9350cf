//! The whole story, from the kernel's start of process 1 to systemd's.

use std::convert::Infallible;
use std::fs;

use crate::command_line::CommandLine;
use crate::disks::Devices;
use crate::failure::Failure;
use crate::modules::Modules;
use crate::{check, debug, disks, grow, mounts, say, verity};

/// Boots the node: returns only what went wrong.
pub fn boot() -> Result<Infallible, Failure> {
    mounts::prepare()?;
    let text = fs::read_to_string("/proc/cmdline").map_err(|error| Failure::system("read /proc/cmdline", error))?;
    let line = CommandLine::parse(&text)?;
    let mut modules = Modules::open();
    modules.load_listed();
    let devices = disks::wait_for(&line.root, &mut modules)?;
    say::note(&format!("root {}, state {}", devices.root.display(), devices.state.display()));
    let root = verity::open(&devices, &line.root)?;
    mounts::root(&root)?;
    if line.debug {
        debug::shell("nothing has been done to the state yet", &devices);
    }
    let prepared = prepare_state(&devices);
    if let (Err(failure), true) = (&prepared, line.debug) {
        debug::shell(&failure.to_string(), &devices);
    }
    prepared?;
    say::note(&format!("starting {}", line.init));
    mounts::hand_over(&line.init)
}

/// Grows, checks and mounts the state.
fn prepare_state(devices: &Devices) -> Result<(), Failure> {
    grow::partition(devices);
    check::state(&devices.state)?;
    mounts::state(&devices.state)?;
    grow::filesystem(&devices.state);
    Ok(())
}
