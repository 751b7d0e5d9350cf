//! qcow2, judged by qemu-img.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use habuild::formats::qcow2::{self, Options, Reader};

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
    let mut reader = Reader::open(File::open(&one).unwrap()).unwrap();
    assert_eq!(reader.size(), size);
    for (at, bytes) in parts {
        let mut found = vec![1; bytes.len()];
        reader.seek(SeekFrom::Start(*at)).and_then(|_| reader.read_exact(&mut found)).unwrap();
        assert!(found == *bytes, "{at}");
    }
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

#[test]
fn what_qemu_img_wrote_is_read_in_every_cluster_size_and_both_versions() {
    let directory = tempfile::tempdir().unwrap();
    let [raw, image] = ["disk.raw", "disk.qcow2"].map(|name| directory.path().join(name));
    let mut disk = vec![0; 9 * MIB as usize + 1536];
    disk[..3 << 20].copy_from_slice(&prose(1, 3 << 20));
    disk[(5 << 20) + 512..][..1 << 20].copy_from_slice(&noise(2, 1 << 20));
    let end = disk.len() - 100;
    disk[end..].fill(9);
    fs::write(&raw, &disk).unwrap();
    for (options, compressed) in [
        ("compat=1.1,cluster_size=512", true),
        ("compat=0.10,cluster_size=4k", true),
        ("compat=1.1,cluster_size=64k", false),
        ("compat=0.10,cluster_size=64k", true),
        ("compat=1.1,cluster_size=2M", true),
    ] {
        let mut arguments = vec!["convert", "-O", "qcow2", "-o", options];
        arguments.extend(compressed.then_some("-c"));
        arguments.extend([text(&raw), text(&image)]);
        run("qemu-img", &arguments);
        let mut found = Vec::new();
        Reader::open(File::open(&image).unwrap()).unwrap().read_to_end(&mut found).unwrap();
        assert!(found == disk, "{options}");
    }
    for (arguments, words) in [
        (
            ["create", "-f", "qcow2", "-o", "compression_type=zstd", text(&image), "1M"].to_vec(),
            "incompatible features",
        ),
        (["create", "-f", "qcow2", "-F", "raw", "-b", text(&raw), text(&image)].to_vec(), "backing file"),
    ] {
        run("qemu-img", &arguments);
        let error = Reader::open(File::open(&image).unwrap()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
