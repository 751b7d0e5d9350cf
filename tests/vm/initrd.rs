//! What the initrd says of disks that are not as they should be, and the shell that it gives.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use habuild::sys::cmd::Cmd;

use crate::bare::Bare;
use crate::disk::Disk;
use crate::turns::turn;

/// As much of a partition's start as any of its formats needs to be known.
const START: usize = 64 << 10;
const VIRTIO: &str = "virtio-blk-pci";

impl Disk {
    /// Writes `bytes` to the start of the partition of this name, and zeroes behind them.
    fn begin(&self, name: &str, bytes: &[u8]) {
        let mut start = vec![0; START];
        start[..bytes.len()].copy_from_slice(bytes);
        self.file().write_all_at(&start, self.partition(name).0).unwrap();
    }

    /// Changes words of the boot loader's configuration into others of the same length.
    fn configure(&self, words: &str, others: &str) {
        assert_eq!(words.len(), others.len());
        let (start, end) = self.partition("esp");
        let mut esp = vec![0; usize::try_from(end - start).unwrap()];
        self.file().read_exact_at(&mut esp, start).unwrap();
        let places = esp.windows(words.len()).enumerate().filter(|(_, window)| *window == words.as_bytes());
        let places: Vec<u64> = places.map(|(at, _)| start + at as u64).collect();
        assert_eq!(places.len(), 1, "{words} is there {} times", places.len());
        self.file().write_all_at(others.as_bytes(), places[0]).unwrap();
    }

    fn boot(&self) -> Bare {
        Bare::start(&[&self.path], &[], VIRTIO)
    }
}

/// Each disk that cannot be started is told from the others, with what to do.
pub(crate) fn refuses(image: &Path) {
    let _turn = turn(1);
    type Change = fn(&Disk);
    let cases: [(Change, &[&str]); 7] = [
        (
            |disk| disk.begin("state", b""),
            &["the state partition /dev/vda5 holds nothing but zeroes", "run e2fsck there"],
        ),
        (|disk| disk.begin("state", b"LUKS\xba\xbe\0\x02"), &["holds an encrypted volume (LUKS)"]),
        (|disk| disk.begin("state", b"an essay"), &["holds no ext4 file system"]),
        (|disk| disk.begin("root-verity", b""), &["the verity superblock of /dev/vda4 cannot be used"]),
        (cut, &["the disk vda has 4096 MiB, and its partitions end at", "at least as large as the image"]),
        (|disk| disk.configure("habuild.root=", "habuild.toor="), &["no habuild.root=", "correct grub/grub.cfg"]),
        (unrepairable, &["cannot be repaired unattended (e2fsck: exit code 4)", "run e2fsck there"]),
    ];
    for (change, words) in cases {
        let disk = Disk::of(image);
        change(&disk);
        refused(&mut disk.boot(), words);
    }
    let (disk, other) = (Disk::of(image), Disk::of(image));
    let mut both = Bare::start(&[&disk.path, &other.path], &[], VIRTIO);
    refused(&mut both, &["is there 2 times: vda (partition 3), vdb (partition 3)", "detach all disks"]);
    // SeaBIOS reads from this one, so GRUB does; the initrd has no driver for it.
    let mut unknown = Bare::start(&[&disk.path], &["-device", "lsi53c895a"], "scsi-hd");
    refused(
        &mut unknown,
        &["no disk has the root partition", "these disks were found: none", "attach the disk with this image"],
    );
}

fn refused(machine: &mut Bare, words: &[&str]) {
    machine.says("this node cannot be started");
    words.iter().for_each(|words| machine.says(words));
    machine.says("the machine starts again in 10 seconds (panic=10)");
}

/// The end of the disk is not there.
fn cut(disk: &Disk) {
    disk.file().set_len(4 << 30).unwrap();
}

/// The state's root directory is gone, and nobody unmounted it.
fn unrepairable(disk: &Disk) {
    let script = disk.path.with_extension("script");
    fs::write(&script, "clri <2>\ndirty\n").unwrap();
    let state = format!("{}?offset={}", disk.path.display(), disk.partition("state").0);
    Cmd::program("debugfs").args(["-w", "-f"]).arg(&script).arg(&state).run().unwrap();
}

/// Whoever asks for a shell gets one of the verified root, before anything is done to the state; and the boot goes on.
pub(crate) fn shell(image: &Path) {
    let _turn = turn(1);
    let disk = Disk::of(image);
    disk.configure("8250.nr_uarts=4", "habuild.debug  ");
    let mut machine = disk.boot();
    machine.says("a shell of the image's root, which is read-only; the state is /dev/vda5");
    machine.says("habuild# ");
    machine.types("findmnt --noheadings --output FSTYPE / ; stty size; echo $((6 * 7)) $(id --user)");
    machine.says("squashfs");
    machine.says("42 0");
    machine.types("exit");
    machine.says("Welcome to");
}
