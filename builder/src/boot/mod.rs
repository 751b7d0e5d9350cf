//! `habuild boot`: starts an image under QEMU and watches its serial console.
//!
//! Invariant: the image is never changed. The machine writes to an overlay in a temporary directory that also holds
//! the seed; both are gone when [`run()`] returns, on Ctrl-C too. QEMU ends with habuild even if habuild is killed
//! (SIGKILL), which then leaves only the temporary directory behind.

mod accelerator;
pub mod console;
mod guest;
mod machine;
mod qemu;
mod run;
mod seed;
mod terminal;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

pub use self::guest::trial;
pub use self::machine::{Goal, Machine, Outcome};
use crate::report::{Failure, Fault};
use crate::spec::image::Firmware;
use crate::spec::names::ByteSize;

/// What `habuild boot` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The getty's login prompt.
    Login,
    /// The line `habuild: ready`.
    Ready,
}

/// A port of this host that leads to a port of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub host: u16,
    /// The machine's port.
    pub guest: u16,
}

/// What executes the machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// KVM where it is seen to boot this image, else emulation.
    Auto,
    /// KVM or nothing.
    Kvm,
    /// Emulation.
    Tcg,
}

/// How to boot an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The disk: qcow2 or raw, told apart by its first bytes.
    pub image: PathBuf,
    /// cloud-init's user-data; without it, a user for the person at the console.
    pub user_data: Option<PathBuf>,
    /// What to wait for; without it the machine runs until it powers off.
    pub until: Option<Until>,
    /// The firmware.
    pub firmware: Firmware,
    /// How long to wait for `until`.
    pub timeout: Duration,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// Ports of this host that lead to the machine.
    pub forwards: Vec<Forward>,
    /// Enlarges the disk, as a cloud does; the image's own size otherwise.
    pub disk_size: Option<ByteSize>,
    /// What executes the machine's instructions.
    pub accelerator: Accelerator,
    /// Connects standard input, and goes on after `until` was reached.
    pub interactive: bool,
    /// Shows the console on standard output.
    pub show_console: bool,
    /// A directory that remembers whether KVM works here, so that it is tried once for each start of the host.
    pub cache: Option<PathBuf>,
}

impl Options {
    /// The defaults: BIOS, 2 processors, 2 GiB, 10 minutes, nothing to wait for.
    #[must_use]
    pub fn new(image: impl Into<PathBuf>) -> Self {
        Self {
            image: image.into(),
            user_data: None,
            until: None,
            firmware: Firmware::Bios,
            timeout: Duration::from_secs(600),
            memory_mib: 2048,
            cpus: 2,
            forwards: Vec::new(),
            disk_size: None,
            accelerator: Accelerator::Auto,
            interactive: false,
            show_console: true,
            cache: None,
        }
    }
}

/// Boots the image, and returns when what was waited for is reached, or the machine has powered off.
///
/// At a terminal the keys go to the machine as they are typed, except Ctrl-C, which ends it.
pub fn run(options: &Options) -> Result<()> {
    let signals = terminal::Signals::hold()?;
    let mut machine = Machine::start(options)?;
    signals.send_to(machine.events());
    let connected = options.interactive || options.until.is_none();
    let _keys = connected.then(|| terminal::Keys::connect(machine.keyboard())).transpose()?;
    if let Some(until) = options.until {
        let outcome = machine.wait(Goal::Until(until), Some(options.timeout))?;
        if let Outcome::Interrupted(signal) = outcome {
            bail!(Failure::new(Fault::Step, format!("interrupted by {signal} while waiting for {}", until.words())));
        }
        tracing::info!("{}: {} after {} s", options.image.display(), until.words(), machine.age().as_secs());
    }
    if connected {
        machine.wait(Goal::End, None)?;
    }
    Ok(())
}

impl Until {
    /// What is waited for, as a message says it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Login => "the login prompt",
            Self::Ready => "the line `habuild: ready`",
        }
    }
}
