//! The state grows to the disk's end: its partition before it is checked, its file system when it is mounted.
//!
//! A disk that was not enlarged costs a look at its table and at the file system's superblock. What cannot grow is said in the
//! kernel's log, and the node starts with what there is.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::disks::{self, Devices};
use crate::failure::Failure;
use crate::{growth, programs, say, state};

/// Tells the kernel what a disk's table says (util-linux).
const PARTX: &str = "/usr/bin/partx";
/// In the node's root. Releases without a merged `/usr` have it there too.
const RESIZE2FS: &str = "/sbin/resize2fs";
/// Grows the state's partition.
pub fn partition(devices: &Devices) {
    if let Err(failure) = grow_partition(devices) {
        say::warn(&format!("{} stays as large as it is: {failure}", devices.state.display()));
    }
}

/// Grows the state's file system, which is mounted.
pub fn filesystem(state: &Path) {
    if let Err(failure) = grow_filesystem(state) {
        say::warn(&format!("the file system on {} stays as large as it is: {failure}", state.display()));
    }
}

fn grow_partition(devices: &Devices) -> Result<(), Failure> {
    let path = &devices.disk;
    let failed = |error| Failure::system(format!("write the partition table of {}", path.display()), error);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (size, sector) = disks::lengths(&name);
    let disk = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let table = disks::table(&disk, size, sector).map_err(|fault| {
        Failure::system(format!("read {}", path.display()), std::io::Error::other(fault.to_string()))
    })?;
    let mut first = vec![0; usize::try_from(sector).unwrap_or_default()];
    disk.read_exact_at(&mut first, 0).map_err(failed)?;
    let Some(growth) = growth::plan(&table, devices.state_number, size / sector, sector, &first) else {
        return Ok(());
    };
    for write in &growth.writes {
        disk.write_all_at(&write.bytes, write.at).and_then(|()| disk.sync_all()).map_err(failed)?;
    }
    let number = devices.state_number.to_string();
    run(PARTX, &["--update".to_owned(), "--nr".to_owned(), number, path.display().to_string()])?;
    say::note(&format!("{} takes the disk's end: {} MiB", devices.state.display(), growth.length >> 20));
    Ok(())
}

fn grow_filesystem(state: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::system(format!("read {}", state.display()), error);
    let mut bytes = [0; state::LOOKED_AT];
    File::open(state).and_then(|file| file.read_exact_at(&mut bytes, 0)).map_err(failed)?;
    let name = state.file_name().unwrap_or_default().to_string_lossy();
    let (size, _) = disks::lengths(&name);
    if state::length(&bytes).is_none_or(|length| length >= size) {
        return Ok(());
    }
    run(RESIZE2FS, &[state.display().to_string()])
}

fn run(program: &str, arguments: &[String]) -> Result<(), Failure> {
    let output = programs::run(program, arguments)?;
    let said = programs::said(&output);
    if output.status.success() {
        // Each line a line of the log; partx says nothing.
        said.lines().for_each(|line| say::note(&format!("{program}: {line}")));
        return Ok(());
    }
    Err(Failure::system(format!("run {program} of the root ({})", output.status), std::io::Error::other(said)))
}
