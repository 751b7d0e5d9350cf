//! What the initrd says when it cannot start a node.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use habuild::boot::{Goal, Machine, Options, Until};
use habuild::formats::gpt::Table;
use habuild::spec::image::Firmware;
use habuild::sys::cmd::{Cmd, Tool};

use crate::machine::options;
use crate::turns::turn;

/// As much of a partition's start as any of its formats needs to be known.
const START: usize = 64 << 10;

/// Boots a copy of `image` whose partition of this name begins with nothing, and expects `words`.
pub(crate) fn says(image: &Path, name: &str, words: &str) {
    let _turn = turn(1);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let disk = dir.path().join("disk.raw");
    Cmd::new(Tool::QemuImg).args(["convert", "-O", "raw"]).arg(image).arg(&disk).run().unwrap();
    let file = File::options().read(true).write(true).open(&disk).unwrap();
    let table = Table::read(&mut &file, file.metadata().unwrap().len()).unwrap();
    let partition = table.partitions.iter().find(|partition| partition.name == name).unwrap();
    file.write_all_at(&[0; START], partition.first_lba * 512).unwrap();
    let options = Options { disk_size: None, ..options(&disk, Firmware::Bios) };
    let mut machine = Machine::start(&options).unwrap();
    let error = machine.wait(Goal::Until(Until::Login), Some(Duration::from_secs(600))).unwrap_err().to_string();
    assert!(error.contains("the boot failed") && error.contains("this node cannot be started"), "{error}");
    assert!(error.contains(words), "{error}");
}
