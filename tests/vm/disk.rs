//! A raw copy of an image, to be changed before it is booted.

use std::fs::File;
use std::path::{Path, PathBuf};

use habuild::formats::gpt::Table;
use habuild::sys::cmd::{Cmd, Tool};
use tempfile::TempDir;

/// The copy; it is gone with this value.
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    _dir: TempDir,
}

impl Disk {
    pub(crate) fn of(image: &Path) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = dir.path().join("disk.raw");
        Cmd::new(Tool::QemuImg).args(["convert", "-O", "raw"]).arg(image).arg(&path).run().unwrap();
        Self { path, _dir: dir }
    }

    pub(crate) fn file(&self) -> File {
        File::options().read(true).write(true).open(&self.path).unwrap()
    }

    /// Where the partition of this name begins and ends, in bytes.
    pub(crate) fn partition(&self, name: &str) -> (u64, u64) {
        let file = self.file();
        let table = Table::read(&mut &file, file.metadata().unwrap().len()).unwrap();
        let partition = table.partitions.iter().find(|partition| partition.name == name);
        let partition = partition.unwrap_or_else(|| panic!("the disk has no partition named {name}"));
        (partition.first_lba * 512, (partition.first_lba + partition.sectors) * 512)
    }
}
