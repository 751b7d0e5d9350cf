//! qcow2, judged by qemu-img.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use habuild::formats::qcow2::{self, Options};

use crate::{noise, run, text};

const MIB: u64 = 1 << 20;

/// Bytes that deflate well, by a factor that differs from stretch to stretch.
fn prose(seed: u64, length: usize) -> Vec<u8> {
    let noise = noise(seed, length);
    (0..length).map(|i| if i / 1000 % 3 == 0 { noise[i] & 15 } else { (i / 7 % 50) as u8 }).collect()
}

/// A disk of `size` bytes with `parts` at their offsets and holes elsewhere, converted and compared.
fn check(size: u64, parts: &[(u64, Vec<u8>)], incompressible: Option<Range<u64>>) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let [raw, one, four] = ["disk.raw", "one.qcow2", "four.qcow2"].map(|name| directory.path().join(name));
    let disk = File::create(&raw).unwrap();
    disk.set_len(size).unwrap();
    parts.iter().for_each(|(at, bytes)| disk.write_all_at(bytes, *at).unwrap());
    for (path, threads) in [(&one, 1), (&four, 4)] {
        let options = Options { level: 2, incompressible: incompressible.clone().into_iter().collect(), threads };
        let mut last = (0, 0);
        qcow2::write(&raw, &mut File::create(path).unwrap(), &options, &mut |done, of| last = (done, of)).unwrap();
        assert_eq!(last.0, last.1);
    }
    assert!(fs::read(&one).unwrap() == fs::read(&four).unwrap(), "the number of threads changes the image");
    let said = run("qemu-img", &["check", "-f", "qcow2", text(&one)]);
    assert!(said.contains("No errors were found on the image."), "{said}");
    let said = run("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", text(&raw), text(&one)]);
    assert!(said.contains("Images are identical."), "{said}");
    let said = run("qemu-img", &["info", text(&one)]);
    assert!(said.contains("compat: 1.1") && said.contains("compression type: zlib"), "{said}");
    fs::metadata(&one).unwrap().len()
}

#[test]
fn a_mixed_disk_reads_back_and_shrinks() {
    let parts = [
        (0, prose(1, 3 * MIB as usize)),
        (4 * MIB + 1536, noise(2, 5 * MIB as usize + 777)),
        (12 * MIB, vec![0; MIB as usize]),
        (13 * MIB, prose(3, 100)),
        (600 * MIB, prose(4, 9 * MIB as usize)),
        (700 * MIB, [prose(5, 65536), noise(6, 65536), prose(7, 65536), noise(8, 65536 * 2), prose(9, 65536)].concat()),
    ];
    let length = check(1 << 30, &parts, None);
    assert!(length < 12 * MIB, "{length}");
    // Stored without a try, the same disk is larger and as right.
    assert!(check(1 << 30, &parts, Some(600 * MIB..609 * MIB)) > length + 3 * MIB);
}

#[test]
fn odd_sizes_and_empty_disks_are_right() {
    check(512, &[], None);
    check(512, &[(0, prose(1, 512))], None);
    check(65536 + 512, &[(65536, noise(1, 512))], None);
    check(10 * MIB + 1536, &[(10 * MIB, prose(1, 1536)), (0, noise(2, 70_000))], Some(0..10 * MIB + 1536));
    assert!(check(9 << 40, &[(8 << 40, noise(1, 4096))], None) < MIB);
}

#[test]
fn a_disk_of_broken_sectors_is_refused_by_name() {
    let raw = tempfile::NamedTempFile::new().unwrap();
    let mut out = tempfile::tempfile().unwrap();
    let options = Options { level: 1, incompressible: Vec::new(), threads: 1 };
    for length in [0, 511] {
        raw.as_file().set_len(length).unwrap();
        let error = qcow2::write(raw.path(), &mut out, &options, &mut |_, _| ()).unwrap_err();
        assert!(error.to_string().contains(text(raw.path())), "{error}");
    }
}
