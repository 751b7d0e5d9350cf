//! FAT32, judged by fsck.vfat and mtools.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use habuild::formats::fat::{FatContent, FatTree, FatVolume, Listing};

use crate::{noise, run, text};

const MIB: u64 = 1 << 20;

fn check(size: u64, label: &str, tree: &FatTree, contents: &[(&str, &[u8])]) {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("volume.img");
    let mut out = File::create(&image).unwrap();
    out.set_len(size).unwrap();
    let volume = FatVolume { size, label, volume_id: 0x1234_abcd, hidden_sectors: 4096, epoch: 1_700_000_001 };
    tree.write(&mut out, &volume).unwrap();
    assert_eq!(fs::metadata(&image).unwrap().len(), size);

    let listing = Listing::read(&mut File::open(&image).unwrap(), 0).unwrap();
    assert_eq!((listing.size, listing.label.as_str(), listing.volume_id), (size, label, 0x1234_abcd));
    for (path, content) in contents {
        assert!(content_of(&image, &listing, path) == *content, "{path} reads back otherwise");
    }

    let said = run("fsck.vfat", &["-n", "-v", text(&image)]);
    for complaint in ["ifference", "arning", "nvalid", "rong", "eclaimed", "irty"] {
        assert!(!said.contains(complaint), "{said}");
    }
    assert!(said.contains(&format!("{} files,", file_count(&said, contents.len()))), "{said}");

    let listing = run("mdir", &["-/", "-i", text(&image), "::"]);
    assert!(listing.contains(&format!("Volume in drive : is {label}")), "{listing}");
    assert!(listing.contains("Volume Serial Number is 1234-ABCD"), "{listing}");
    assert!(listing.contains("2023-11-14  22:13"), "{listing}");
    for (path, content) in contents {
        let back = directory.path().join("back");
        run("mcopy", &["-n", "-o", "-i", text(&image), &format!("::{path}"), text(&back)]);
        assert!(fs::read(&back).unwrap() == *content, "{path} reads back otherwise");
        // mdir prints a long name last on its line.
        let name = path.rsplit('/').next().unwrap();
        let upper = name.bytes().all(|b| !b.is_ascii_lowercase()) && name.len() <= 12;
        assert!(upper || listing.lines().any(|line| line.ends_with(&format!(" {name}"))), "{name}: {listing}");
    }
    assert!(run("minfo", &["-i", text(&image), "::"]).contains("disk type=\"FAT32   \""));
}

/// A file's bytes by where they lie.
fn content_of(image: &Path, listing: &Listing, path: &str) -> Vec<u8> {
    let file = listing.files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path}: {listing:?}"));
    let (volume, mut content) = (File::open(image).unwrap(), Vec::new());
    for extent in &file.extents {
        let mut bytes = vec![0; (extent.end - extent.start) as usize];
        volume.read_exact_at(&mut bytes, extent.start).unwrap();
        content.extend(bytes);
    }
    assert_eq!(content.len() as u64, file.length);
    content
}

/// fsck.vfat counts directories and the label as files too; what matters is that it saw at least ours.
fn file_count(said: &str, at_least: usize) -> usize {
    let count = said.split(" files,").next().and_then(|text| text.rsplit([' ', '\n']).next());
    let count: usize = count.unwrap().parse().unwrap();
    assert!(count >= at_least, "{said}");
    count
}

#[test]
fn an_efi_system_partition_reads_back_at_every_size() {
    let directory = tempfile::tempdir().unwrap();
    let (kernel, initrd) = (noise(1, 3 * 1024 * 1024 + 77), noise(2, 9 * 1024 * 1024));
    let kernel_path = directory.path().join("vmlinuz");
    fs::write(&kernel_path, &kernel).unwrap();
    let contents: [(&str, &[u8]); 6] = [
        ("EFI/BOOT/BOOTX64.EFI", b"MZ the loader"),
        ("grub/grub.cfg", b"set timeout=0\n"),
        ("grub/empty.cfg", b""),
        ("grub/Ein langer Name mit Umlaut \u{fc}.cfg", b"x"),
        ("vmlinuz", &kernel),
        ("initrd.img", &initrd),
    ];
    let mut tree = FatTree::new();
    for (path, content) in contents {
        let content = if path == "vmlinuz" {
            FatContent::File { path: kernel_path.clone(), length: content.len() as u64 }
        } else {
            FatContent::Bytes(content.to_vec())
        };
        tree.add_file(path, content).unwrap();
    }
    let ascii: Vec<_> = contents.into_iter().filter(|(path, _)| path.is_ascii()).collect();
    for mib in [34, 48, 64, 100, 300, 512, 2048] {
        check(mib * MIB, "ESP", &tree, &ascii);
    }
}

#[test]
fn a_seed_has_its_long_names_and_its_label() {
    let names = ["user-data", "meta-data", "network-config", "vendor-data"];
    let mut tree = FatTree::new();
    for name in names {
        tree.add_file(name, FatContent::Bytes(format!("#cloud-config {name}\n").into_bytes())).unwrap();
    }
    let contents = names.map(|name| format!("#cloud-config {name}\n"));
    let contents: Vec<_> = names.iter().zip(&contents).map(|(name, content)| (*name, content.as_bytes())).collect();
    check(34 * MIB, "CIDATA", &tree, &contents);
}

#[test]
fn a_directory_of_many_clusters_is_whole() {
    let names: Vec<String> = (0..700).map(|i| format!("sub/module number {i}.ko.zst")).collect();
    let mut tree = FatTree::new();
    for name in &names {
        tree.add_file(name, FatContent::Bytes(name.clone().into_bytes())).unwrap();
    }
    let some: Vec<_> = names.iter().step_by(233).map(|name| (name.as_str(), name.as_bytes())).collect();
    check(40 * MIB, "MANY", &tree, &some);
}

#[test]
fn what_mtools_wrote_is_read_long_names_and_scattered_files_too() {
    let directory = tempfile::tempdir().unwrap();
    let [image, host] = ["volume.img", "host"].map(|name| directory.path().join(name));
    for (cluster, size) in [("1", "34M"), ("8", "300M")] {
        let _ = fs::remove_file(&image);
        run("truncate", &["-s", size, text(&image)]);
        run("mkfs.vfat", &["-F", "32", "-s", cluster, "-n", "BOOT", "-i", "00c0ffee", text(&image)]);
        run("mmd", &["-i", text(&image), "::EFI", "::EFI/Ein langer Name wie dieser"]);
        let copy = |path: &str, content: &[u8]| {
            fs::write(&host, content).unwrap();
            run("mcopy", &["-n", "-o", "-i", text(&image), text(&host), &format!("::{path}")]);
        };
        // The second file is larger than the hole that the first one leaves, and so lies in two pieces or more.
        copy("hole", &noise(1, 50_000));
        copy("lower.cfg", b"x");
        run("mdel", &["-i", text(&image), "::hole"]);
        // Without FSInfo's hint the search for free clusters begins at the first.
        File::options().write(true).open(&image).unwrap().write_all_at(&[0xff; 4], 512 + 492).unwrap();
        let large = noise(2, 700_001);
        copy("EFI/Ein langer Name wie dieser/SCATTER.BIN", &large);
        let listing = Listing::read(&mut File::open(&image).unwrap(), 0).unwrap();
        assert_eq!((listing.label.as_str(), listing.volume_id), ("BOOT", 0x00c0_ffee));
        let paths: Vec<_> = listing.files.iter().map(|file| file.path.as_str()).collect();
        let scattered = "EFI/Ein langer Name wie dieser/SCATTER.BIN";
        assert_eq!(paths, [scattered, "lower.cfg"]);
        assert!(listing.files[0].extents.len() > 1, "{listing:?}");
        assert!(content_of(&image, &listing, scattered) == large);
        assert!(content_of(&image, &listing, "lower.cfg") == b"x");
    }
}
