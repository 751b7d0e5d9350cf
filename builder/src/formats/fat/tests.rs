//! What a FAT volume holds and refuses; `tests/formats` has the tools judge it.

use std::io::Cursor;

use super::*;

fn volume(size: u64) -> FatVolume<'static> {
    FatVolume { size, label: "ESP", volume_id: 0xdead_beef, hidden_sectors: 4096, epoch: 1_795_478_401 }
}

fn bytes(text: &str) -> FatContent {
    FatContent::Bytes(text.as_bytes().to_vec())
}

fn written(tree: &FatTree, size: u64) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    tree.write(&mut out, &volume(size)).unwrap();
    out.into_inner()
}

#[test]
fn the_order_of_adding_changes_nothing() {
    let paths = ["vmlinuz", "EFI/BOOT/BOOTX64.EFI", "grub/grub.cfg", "EFI/a long name"];
    let (mut forth, mut back) = (FatTree::new(), FatTree::new());
    paths.iter().for_each(|path| forth.add_file(path, bytes(path)).unwrap());
    paths.iter().rev().for_each(|path| back.add_file(path, bytes(path)).unwrap());
    assert!(written(&forth, 34 * MIB) == written(&back, 34 * MIB));
}

#[test]
fn the_backup_boot_sector_equals_the_first_and_says_where_the_volume_lies() {
    let image = written(&FatTree::new(), 34 * MIB);
    assert_eq!(image[..1024], image[6 * 512..8 * 512]);
    assert_eq!(image[28..32], 4096u32.to_le_bytes());
    assert_eq!(image[67..71], 0xdead_beef_u32.to_le_bytes());
}

#[test]
fn a_volume_starts_where_the_output_stands() {
    let mut tree = FatTree::new();
    tree.add_file("f", bytes("content")).unwrap();
    let mut out = Cursor::new(vec![0xaa; 512]);
    out.set_position(512);
    tree.write(&mut out, &volume(34 * MIB)).unwrap();
    assert!(out.into_inner()[512..] == written(&tree, 34 * MIB));
}

#[test]
fn equal_names_and_files_as_directories_are_refused() {
    let mut tree = FatTree::new();
    tree.add_file("/a/b", bytes("")).unwrap();
    for path in ["A/B", "a/b/c", "a", "a//c", "", "a:c"] {
        assert!(tree.add_file(path, bytes("")).is_err(), "{path:?}");
    }
    tree.add_file("a/c", bytes("")).unwrap();
}

#[test]
fn too_many_bytes_are_told_by_how_much_and_fit_the_smallest_volume() {
    let mut tree = FatTree::new();
    tree.add_file("large", FatContent::File { path: "/absent".into(), length: 100 * MIB }).unwrap();
    let error = tree.write(&mut Cursor::new(Vec::new()), &volume(64 * MIB)).unwrap_err().to_string();
    let capacity = Geometry::of(64 * MIB).unwrap().capacity();
    let needed = 100 * MIB + 512;
    assert_eq!(
        error,
        format!(
            "the files of FAT volume \"ESP\" need {needed} bytes, {} more than the {capacity} that it can hold",
            needed - capacity
        )
    );

    let smallest = tree.smallest().unwrap();
    assert_eq!(smallest, 101 * MIB);
    let error = tree.write(&mut Cursor::new(Vec::new()), &volume(smallest)).unwrap_err();
    assert!(format!("{error:#}").contains("failed to copy /absent"), "{error:#}");
    assert!(FatTree::new().write(&mut Cursor::new(Vec::new()), &volume(32 * MIB)).is_err());
}

#[test]
fn a_host_file_of_another_length_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().write_all(b"12345").unwrap();
    for (length, fine) in [(4, false), (5, true), (6, false)] {
        let mut tree = FatTree::new();
        tree.add_file("f", FatContent::File { path: file.path().into(), length }).unwrap();
        assert_eq!(tree.write(&mut Cursor::new(Vec::new()), &volume(34 * MIB)).is_ok(), fine, "{length}");
    }
}

#[test]
fn labels_are_upper_case_and_short() {
    for (label, fine) in [("CIDATA", true), ("cidata", false), ("", false), ("TWELVE LONGS", false), ("A B", true)] {
        assert_eq!(stored_label(label).is_ok(), fine, "{label:?}");
    }
}
