//! Kernel modules: those that are always loaded, and those that the machine's devices ask for.
//!
//! The builder puts into the initrd: `/usr/lib/modules/RELEASE/` with uncompressed modules, `modules.dep` and
//! `modules.alias` for them alone, and the list of what is always loaded, in that order (`modules-load.d(5)`).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::index::Index;
use crate::say;

/// What is always loaded: one name a line.
pub const LIST: &str = "/usr/lib/modules-load.d/habuild.conf";

/// The modules of the running kernel.
#[derive(Debug)]
pub struct Modules {
    directory: PathBuf,
    index: Index,
    /// Modules that were tried.
    tried: BTreeSet<String>,
    /// Devices that were looked at.
    devices: BTreeSet<PathBuf>,
    /// What could not be loaded: a name and why.
    pub failed: Vec<String>,
}

impl Modules {
    /// Reads which modules there are. Without any, everything has to be in the kernel.
    #[must_use]
    pub fn open() -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let directory = Path::new("/usr/lib/modules").join(release.trim());
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        let index = Index::parse(&read("modules.dep"), &read("modules.alias"));
        Self { directory, index, tried: BTreeSet::new(), devices: BTreeSet::new(), failed: Vec::new() }
    }

    /// Loads what is always loaded.
    pub fn load_listed(&mut self) {
        let list = fs::read_to_string(LIST).unwrap_or_default();
        let names = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        names.for_each(|name| self.load(name));
    }

    /// Loads what devices ask for that were not there before.
    pub fn load_for_devices(&mut self) {
        for bus in entries(Path::new("/sys/bus")) {
            for device in entries(&bus.join("devices")) {
                if self.devices.contains(&device) {
                    continue;
                }
                // A device that has no such file, or none any more, asks for nothing.
                let modalias = fs::read_to_string(device.join("modalias")).unwrap_or_default();
                let names: Vec<String> =
                    self.index.for_device(modalias.trim()).into_iter().map(str::to_owned).collect();
                names.iter().for_each(|name| self.load(name));
                self.devices.insert(device);
            }
        }
    }

    fn load(&mut self, name: &str) {
        for (name, file) in self.index.order(name) {
            if !self.tried.insert(name.to_owned()) {
                continue;
            }
            let loaded = File::open(self.directory.join(file)).and_then(|file| {
                match finit_module(&file, c"", ModuleInitFlags::empty()) {
                    Ok(()) | Err(Errno::EEXIST) => Ok(()),
                    Err(errno) => Err(errno.into()),
                }
            });
            match loaded {
                Ok(()) => {}
                // A module for instructions that this processor has not got.
                Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => {
                    say::note(&format!("module {name}: this machine has no use for it"));
                }
                Err(error) => {
                    say::warn(&format!("module {name} could not be loaded: {error}"));
                    self.failed.push(format!("{name}: {error}"));
                }
            }
        }
    }
}

/// The paths in a directory, which may not be there.
fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
