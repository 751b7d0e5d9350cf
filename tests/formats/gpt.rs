//! The partition table, judged by sfdisk and sgdisk.

use std::fs::File;

use habuild::assemble::layout::{Layout, MIB, Role};
use habuild::formats::gpt::Table;
use habuild::sys::digest::Digest;

use crate::{run, text};

#[test]
fn sfdisk_and_sgdisk_read_the_nodes_table_as_it_was_meant() {
    let wanted = [
        (Role::BiosBoot, MIB),
        (Role::Esp, 64 * MIB),
        (Role::Root, 400 * MIB + 4096),
        (Role::RootVerity, 4 * MIB),
        (Role::State, 8192 * MIB),
    ];
    let layout = Layout::of(&wanted).unwrap();
    let table = layout.table(&Digest::of(b"root"));

    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk.raw");
    // The second size is that of a disk enlarged for a cloud that wants whole GiB.
    for size in [layout.size, 10 << 30] {
        let mut out = File::options().create(true).truncate(false).write(true).open(&disk).unwrap();
        out.set_len(size).unwrap();
        table.write(&mut out, size, &[0xeb; 440]).unwrap();
        assert_eq!(Table::read(&mut File::open(&disk).unwrap(), size).unwrap(), table);

        let said = run("sfdisk", &["--verify", text(&disk)]);
        assert!(said.contains("No errors detected."), "{said}");
        let said = run("sgdisk", &["-v", text(&disk)]);
        assert!(said.contains("No problems found."), "{said}");

        let dump = run("sfdisk", &["--dump", text(&disk)]);
        assert!(dump.contains(&format!("label-id: {}", table.disk.to_string().to_uppercase())), "{dump}");
        for (number, partition) in table.partitions.iter().enumerate() {
            let attributes = if partition.attributes == 0 { "" } else { ", attrs=\"GUID:60\"" };
            let line = format!(
                "{}{} : start={:12}, size={:12}, type={}, uuid={}, name=\"{}\"{attributes}",
                disk.display(),
                number + 1,
                partition.first_lba,
                partition.sectors,
                partition.kind.to_string().to_uppercase(),
                partition.guid.to_string().to_uppercase(),
                partition.name,
            );
            assert!(dump.lines().any(|l| l == line), "{line}\n{dump}");
        }
        assert_eq!(dump.lines().filter(|line| line.contains("start=")).count(), wanted.len());
    }
}
