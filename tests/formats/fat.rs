//! FAT32, judged by fsck.vfat and mtools.

use std::fs::{self, File};

use habuild::formats::fat::{FatContent, FatTree, FatVolume};

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
