//! The verified root: a device of the kernel's device mapper, made of the root's partition and its tree.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};

use devicemapper::{DM, DevId, DmFlags, DmName, DmOptions, DmResult, DmUuid};

use crate::command_line::RootHash;
use crate::disks::Devices;
use crate::failure::Failure;
use crate::superblock::{SIZE, Superblock};

/// The device's name: what `root=/dev/mapper/root` of the kernel's command line means to systemd's tools.
const NAME: &str = "root";

/// Opens it and returns its device.
pub fn open(devices: &Devices, hash: &RootHash) -> Result<PathBuf, Failure> {
    let superblock = superblock(devices)?;
    let (data, tree) = (devices.root.display().to_string(), devices.tree.display().to_string());
    let table = superblock.table(hash, &data, &tree);
    let minor = make(&superblock, &table).map_err(|error| Failure::Verity { table, cause: error.to_string() })?;
    // As udev would: systemd looks for it by this name.
    let link = Path::new("/dev/mapper").join(NAME);
    symlink(format!("../dm-{minor}"), &link)
        .map_err(|error| Failure::system(format!("make the link {}", link.display()), error))?;
    Ok(link)
}

fn superblock(devices: &Devices) -> Result<Superblock, Failure> {
    let path = &devices.tree;
    let length = File::open(&devices.root)
        .and_then(|mut data| data.seek(SeekFrom::End(0)))
        .map_err(|error| Failure::system(format!("read {}", devices.root.display()), error))?;
    let mut bytes = [0; SIZE];
    File::open(path)
        .and_then(|tree| tree.read_exact_at(&mut bytes, 0))
        .map_err(|error| Failure::system(format!("read {}", path.display()), error))?;
    Superblock::parse(&bytes, length).map_err(|fault| Failure::Superblock { path: path.clone(), fault: fault.0 })
}

/// Makes the device and returns its minor number.
fn make(superblock: &Superblock, table: &str) -> DmResult<u32> {
    let mapper = DM::new()?;
    let name = DmName::new(NAME)?;
    // libcryptsetup's form: by it systemd knows at shutdown what the device is.
    let uuid = format!("CRYPT-VERITY-{}-{NAME}", superblock.uuid.simple());
    let read_only = DmOptions::default().set_flags(DmFlags::DM_READONLY);
    let device = mapper.device_create(name, Some(DmUuid::new(&uuid)?), read_only)?;
    let id = DevId::Name(name);
    let target = (0, superblock.sectors(), "verity".to_owned(), table.to_owned());
    mapper.table_load(&id, &[target], read_only)?;
    // Without the flag that suspends, this resumes.
    mapper.device_suspend(&id, DmOptions::default())?;
    Ok(device.device().minor)
}
