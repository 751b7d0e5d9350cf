//! The machine's disks: read as they appear, until one holds this image or the time is over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::command_line::RootHash;
use crate::failure::Failure;
use crate::gpt::{Fault, Table};
use crate::modules::Modules;
use crate::say;
use crate::search::{self, Disk, Place};

const BLOCK: &str = "/sys/class/block";
/// As long as systemd waits for a device.
const PATIENCE: Duration = Duration::from_secs(90);
/// After this time it is said what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(5);
/// Between two looks, before and after it was said. A disk's uevents would say the same; most disks are there at once.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(250)];
/// Sysfs counts in sectors of this size, whatever the disk's are.
const SYSFS_SECTOR: u64 = 512;

/// The devices of this image.
#[derive(Debug)]
pub struct Devices {
    /// The disk that they are on.
    pub disk: PathBuf,
    /// The state's number among its partitions.
    pub state_number: u32,
    /// The root.
    pub root: PathBuf,
    /// Its verity tree.
    pub tree: PathBuf,
    /// The state.
    pub state: PathBuf,
}

/// Waits for the disk with the root `hash`; drivers are loaded meanwhile.
pub fn wait_for(hash: &RootHash, modules: &mut Modules) -> Result<Devices, Failure> {
    let began = Instant::now();
    let mut disks = BTreeMap::new();
    let mut said = false;
    loop {
        modules.load_for_devices();
        read_new(&mut disks);
        let place = search::find(disks.values(), hash)?;
        let missing = match place.as_ref().map(devices) {
            Some(Ok(devices)) => return Ok(devices),
            Some(Err(missing)) => Some(missing),
            None => None,
        };
        if began.elapsed() >= PATIENCE {
            return Err(missing.unwrap_or_else(|| Failure::NoRoot {
                guid: search::guids(hash).0,
                waited: PATIENCE,
                disks: disks.values().map(Disk::to_string).collect(),
                modules: modules.failed.clone(),
            }));
        }
        if began.elapsed() >= SAY_AFTER && !said {
            said = true;
            say::note(&format!("waiting for a disk with partition {}", search::guids(hash).0));
        }
        thread::sleep(PAUSES[usize::from(said)]);
    }
}

/// Reads the disks that were not there before. One without a size has no medium.
fn read_new(disks: &mut BTreeMap<String, Disk>) {
    for entry in fs::read_dir(BLOCK).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let (size, sector) = lengths(&name);
        if size > 0 && !path.join("partition").exists() && !disks.contains_key(&name) {
            let table = File::open(Path::new("/dev").join(&name))
                .map_err(Fault::Unreadable)
                .and_then(|disk| table(&disk, size, sector))
                .map(|table| table.partitions)
                .map_err(|fault| fault.to_string());
            disks.insert(name.clone(), Disk { name, size, sector, table });
        }
    }
}

/// The table of a disk of `size` bytes with sectors of `sector` bytes.
pub fn table(disk: &File, size: u64, sector: u64) -> Result<Table, Fault> {
    Table::read(size / sector, sector, |offset, length| {
        let mut bytes = vec![0; length];
        disk.read_exact_at(&mut bytes, offset).map(|()| bytes)
    })
}

/// The lengths of a disk and of its sectors, in bytes, as the kernel has them.
pub fn lengths(disk: &str) -> (u64, u64) {
    let path = Path::new(BLOCK).join(disk);
    let size = number(&path.join("size")).unwrap_or_default() * SYSFS_SECTOR;
    (size, number(&path.join("queue/logical_block_size")).unwrap_or(SYSFS_SECTOR))
}

/// The devices that the kernel made for the partitions.
fn devices(place: &Place) -> Result<Devices, Failure> {
    let of = |wanted: u32| {
        let parts = fs::read_dir(Path::new(BLOCK).join(&place.disk)).into_iter().flatten().flatten();
        let mut parts = parts.filter(|part| number(&part.path().join("partition")) == Some(wanted.into()));
        let device = parts.next().map(|part| Path::new("/dev").join(part.file_name())).filter(|path| path.exists());
        device.ok_or_else(|| Failure::NoDevice { disk: place.disk.clone(), number: wanted })
    };
    Ok(Devices {
        disk: Path::new("/dev").join(&place.disk),
        state_number: place.state,
        root: of(place.root)?,
        tree: of(place.tree)?,
        state: of(place.state)?,
    })
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
