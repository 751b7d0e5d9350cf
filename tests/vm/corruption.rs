//! Damages one byte of an image's root and sees that the node never hands it out: the boot panics.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use habuild::boot::{Goal, Machine, Options, Until};
use habuild::spec::image::Firmware;
use habuild::sys::cmd::Cmd;

use crate::disk::Disk;
use crate::machine::{Node, options};
use crate::turns::turn;

/// A flag of squashfs' superblock: a metadata block with the compressor's options follows it.
const COMPRESSOR_OPTIONS: u64 = 0x400;

/// The root file system inside a raw disk.
pub(crate) struct Root {
    disk: PathBuf,
    file: File,
    /// Where it begins in the disk, in bytes.
    start: u64,
}

/// Boots a copy of `image` with the byte of the root changed that `place` names, and expects dm-verity's panic.
pub(crate) fn panics(image: &Path, place: impl Fn(&Root) -> u64) {
    let _turn = turn(1);
    let (_disk, root) = damaged(image, place);
    let options = Options { disk_size: None, ..options(&root.disk, Firmware::Bios) };
    let mut machine = Machine::start(&options).unwrap();
    panicked(&mut machine);
}

/// Boots a copy of `image` in which `program`, which no boot needs, is damaged: the node runs until somebody reads it.
pub(crate) fn panics_late(image: &Path, program: &str) {
    let _turn = turn(1);
    // Behind the block that it may share with the file before it.
    let (_disk, root) = damaged(image, |root| root.first_byte_of(program) + 8192);
    let mut node = Node::start(&root.disk, Firmware::Bios, "", &[]).logged_in();
    // The connection ends without an answer.
    let read = node.root(&format!("cat /{program} >/dev/null"));
    assert!(read.is_err(), "the damaged program was read: {read:?}");
    panicked(&mut node.machine);
}

fn panicked(machine: &mut Machine) {
    let error = machine.wait(Goal::Until(Until::Login), Some(Duration::from_secs(600))).unwrap_err().to_string();
    assert!(error.contains("the boot failed") && error.contains("Kernel panic"), "{error}");
    assert!(error.contains("verity"), "{error}");
}

/// A copy of `image` with that byte of its root changed.
fn damaged(image: &Path, place: impl Fn(&Root) -> u64) -> (Disk, Root) {
    let disk = Disk::of(image);
    let root = Root::find(&disk);
    let place = root.start + place(&root);
    let mut byte = root.bytes(place, 1);
    byte[0] ^= 0x01;
    root.file.write_all_at(&byte, place).unwrap();
    (disk, root)
}

impl Root {
    fn find(disk: &Disk) -> Self {
        let root = Self { disk: disk.path.clone(), file: disk.file(), start: disk.partition("root").0 };
        assert_eq!(root.bytes(root.start, 4), b"hsqs", "the root is not squashfs");
        root
    }

    /// Where the first stored byte of the file at `path` lies in the root.
    ///
    /// Found by trying: the root is blanked from its first data byte up to a place, and the first place at which the
    /// file's beginning can no longer be read is just behind that byte. No knowledge of squashfs but its header, and
    /// 30 or so runs of unsquashfs.
    pub(crate) fn first_byte_of(&self, path: &str) -> u64 {
        // Data lies between the superblock (96 bytes), with what mksquashfs told its compressor, and the inode table. Blanked,
        // those options would keep every file from being read.
        let options = if number(&self.bytes(self.start + 24, 2)) & COMPRESSOR_OPTIONS == 0 {
            0
        } else {
            2 + (number(&self.bytes(self.start + 96, 2)) & 0x7fff)
        };
        let (first, tables) = (96 + options, number(&self.bytes(self.start + 64, 8)));
        let original = self.bytes(self.start + first, usize::try_from(tables - first).unwrap());
        let whole = self.head_of(path).expect("the file cannot be read before anything was damaged");
        let zeros = vec![0; original.len()];
        // Blanked up to `good` the file reads well, blanked up to `bad` it does not. The disk stays as `blanked` says.
        let (mut good, mut bad, mut blanked) = (0, original.len(), 0);
        while bad - good > 1 {
            let middle = good.midpoint(bad);
            let change = if middle > blanked { &zeros[blanked..middle] } else { &original[middle..blanked] };
            self.file.write_all_at(change, self.start + first + blanked.min(middle) as u64).unwrap();
            blanked = middle;
            if self.head_of(path).as_ref() == Some(&whole) { good = middle } else { bad = middle }
        }
        self.file.write_all_at(&original, self.start + first).unwrap();
        first + good as u64
    }

    /// The beginning of the file at `path`, as far as it can be read.
    fn head_of(&self, path: &str) -> Option<Vec<u8>> {
        let offset = self.start.to_string();
        let read = Cmd::program("unsquashfs").args(["-o", &offset, "-cat"]).arg(&self.disk).arg(path).run_unchecked();
        let (output, _) = read.unwrap();
        output.stdout.get(..4096).map(<[u8]>::to_vec)
    }

    fn bytes(&self, place: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, place).unwrap();
        bytes
    }
}

/// A little-endian number.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

#[test]
fn finds_a_files_first_byte() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    for (name, seed) in [("a", 1_u32), ("b", 2), ("c", 3)] {
        let mut state = seed;
        // Noise does not compress: the file is stored as it is and can be found by its bytes.
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        std::fs::write(tree.join(name), noise.take(300_000).collect::<Vec<u8>>()).unwrap();
    }
    let disk = dir.path().join("root.squashfs");
    // As images have it: with options, which stand where the data would begin.
    let options = ["-quiet", "-noappend", "-comp", "zstd", "-Xcompression-level", "3"];
    Cmd::program("mksquashfs").args([&tree, &disk]).args(options).run().unwrap();
    let image = std::fs::read(&disk).unwrap();
    let wanted = &std::fs::read(tree.join("b")).unwrap()[..64];
    let place = image.windows(64).position(|window| window == wanted).unwrap() as u64;
    let root = Root { file: File::options().read(true).write(true).open(&disk).unwrap(), disk, start: 0 };
    assert_eq!(root.first_byte_of("b"), place);
    assert!(std::fs::read(&root.disk).unwrap() == image, "the search left a trace");
}
