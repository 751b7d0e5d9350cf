//! `habuild boot`: an image in a virtual machine.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::paths;
use super::say::tell;
use crate::boot::{self, Accelerator, Forward, Options, Until};
use crate::report::{Failure, Fault};
use crate::spec::image::Firmware;
use crate::spec::names::ByteSize;

/// `habuild boot`.
#[derive(Debug, Args)]
pub(super) struct BootArgs {
    /// The image: qcow2 or raw; it is not changed
    image: PathBuf,
    /// cloud-init user-data [default: a user for the person at the console]
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Stop when the node says so on its console [default: when it powers off]
    #[arg(long, value_enum)]
    until: Option<UntilArg>,
    /// The firmware that starts the disk
    #[arg(long, value_enum, default_value = "bios")]
    firmware: FirmwareArg,
    /// How long to wait for --until
    #[arg(long, value_name = "SECONDS", default_value = "600")]
    timeout: u64,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value = "2048")]
    memory: u32,
    /// Processors
    #[arg(long, value_name = "N", default_value = "2")]
    cpus: u32,
    /// A port of 127.0.0.1 that leads to a port of the node, such as 2222:22 (repeatable; host port 0: a free one)
    #[arg(long, value_name = "HOST:GUEST", value_parser = forward)]
    forward: Vec<Forward>,
    /// Enlarge the disk, as a cloud does, such as 20GiB
    #[arg(long, value_name = "SIZE")]
    disk_size: Option<ByteSize>,
    /// What executes the node's instructions; auto tries KVM and takes emulation where it does not boot
    #[arg(long, value_enum, default_value = "auto")]
    accelerator: AcceleratorArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum UntilArg {
    Login,
    Ready,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FirmwareArg {
    Bios,
    Uefi,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AcceleratorArg {
    Auto,
    Kvm,
    Tcg,
}

fn forward(text: &str) -> Result<Forward, String> {
    let parse = || {
        let (host, guest) = text.split_once(':')?;
        let (host, guest) = (host.parse().ok()?, guest.parse().ok()?);
        (guest != 0).then_some(Forward { host, guest })
    };
    parse().ok_or_else(|| format!("{text:?} is not HOST:GUEST, such as 2222:22"))
}

/// Boots the image.
pub(super) fn run(args: &BootArgs) -> Result<u8> {
    if !args.image.is_file() {
        return Err(Failure::new(Fault::Usage, format!("there is no image {}", args.image.display()))
            .remedy("make image bakes one; it lies below out/")
            .into());
    }
    let options = Options {
        user_data: args.user_data.clone(),
        until: args.until.map(|until| match until {
            UntilArg::Login => Until::Login,
            UntilArg::Ready => Until::Ready,
        }),
        firmware: match args.firmware {
            FirmwareArg::Bios => Firmware::Bios,
            FirmwareArg::Uefi => Firmware::Uefi,
        },
        timeout: Duration::from_secs(args.timeout),
        memory_mib: args.memory,
        cpus: args.cpus,
        forwards: args.forward.clone(),
        disk_size: args.disk_size,
        accelerator: match args.accelerator {
            AcceleratorArg::Auto => Accelerator::Auto,
            AcceleratorArg::Kvm => Accelerator::Kvm,
            AcceleratorArg::Tcg => Accelerator::Tcg,
        },
        cache: paths::cache(None).ok(),
        ..Options::new(&args.image)
    };
    boot::run(&options)?;
    if let Some(until) = args.until {
        let what = match until {
            UntilArg::Login => "the login prompt is there",
            UntilArg::Ready => "the node says that it is ready",
        };
        tell(format_args!("habuild: {what}"));
    }
    Ok(0)
}
