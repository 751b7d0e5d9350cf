//! Whether KVM can be used: it is tried with the image itself, since nothing simpler tells.
//!
//! On some hosts (virtual machines that pass a half-working KVM on) `/dev/kvm` opens, a boot sector runs, GRUB runs,
//! and Linux hangs right after it was unpacked; or QEMU itself gives up. So a first machine runs under KVM on trial:
//! if QEMU fails, or its console stays silent, before Linux has run for a second, it is started again under
//! emulation. The answer holds for as long as the host runs, and is remembered under its boot id.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Accelerator;
use crate::report::{Failure, Fault};

/// How long a console may be silent on trial. A healthy boot writes something every few seconds.
pub(super) const TRIAL_SILENCE: Duration = Duration::from_secs(20);

/// What a machine is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    /// KVM, which is not known to work.
    KvmOnTrial,
    /// KVM.
    Kvm,
    /// Emulation.
    Tcg,
}

impl Engine {
    /// QEMU's arguments.
    pub(super) fn args(self) -> [&'static str; 4] {
        match self {
            Self::KvmOnTrial | Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// Chooses what to start with.
pub(super) fn choose(wanted: Accelerator, cache: Option<&Path>) -> Result<Engine> {
    // Opened, not only looked at: rights and a missing module show here.
    let device = || File::options().read(true).write(true).open("/dev/kvm");
    match wanted {
        Accelerator::Tcg => Ok(Engine::Tcg),
        Accelerator::Kvm => match device() {
            Ok(_) => Ok(Engine::Kvm),
            Err(error) => Err(Failure::new(Fault::Environment, "failed to open /dev/kvm")
                .remedy("become a member of group kvm, enable virtualisation, or let habuild emulate")
                .because(error)
                .into()),
        },
        Accelerator::Auto => Ok(match (device(), remembered(cache)) {
            (Ok(_), Some(true)) => Engine::Kvm,
            (Ok(_), None) => Engine::KvmOnTrial,
            (Err(_), _) | (_, Some(false)) => {
                tracing::info!("KVM does not work here: the machine is emulated, several times slower");
                Engine::Tcg
            }
        }),
    }
}

/// Remembers whether KVM works on this host until it is started again.
pub(super) fn remember(cache: Option<&Path>, works: bool) {
    if let (Some(cache), Some(boot)) = (cache, boot_id()) {
        let written = fs::create_dir_all(cache).and_then(|()| fs::write(cache.join("kvm"), line(&boot, works)));
        // Not worth failing for: the next boot tries again.
        if let Err(error) = written {
            tracing::debug!("failed to write {}: {error}", cache.join("kvm").display());
        }
    }
}

fn remembered(cache: Option<&Path>) -> Option<bool> {
    let (text, boot) = (fs::read_to_string(cache?.join("kvm")).ok()?, boot_id()?);
    [true, false].into_iter().find(|&works| text == line(&boot, works))
}

fn line(boot: &str, works: bool) -> String {
    format!("{boot} {}\n", if works { "works" } else { "fails" })
}

fn boot_id() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_until_the_host_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        assert_eq!(remembered(Some(&cache)), None);
        for works in [true, false] {
            remember(Some(&cache), works);
            assert_eq!(remembered(Some(&cache)), Some(works));
        }
        fs::write(cache.join("kvm"), line("another-boot", true)).unwrap();
        assert_eq!(remembered(Some(&cache)), None);
    }
}
