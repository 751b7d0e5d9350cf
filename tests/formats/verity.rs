//! The hash device, judged by veritysetup.

use std::fs;

use habuild::formats::verity;
use habuild::sys::digest::Digest;
use uuid::Uuid;

use crate::{noise, run, text};

#[test]
fn the_hash_device_equals_veritysetups_and_verifies() {
    let salt: [u8; 32] = noise(3, 32).try_into().unwrap();
    let salt_text: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
    let uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
    let directory = tempfile::tempdir().unwrap();
    let [data, ours, theirs] = ["data", "ours", "theirs"].map(|name| directory.path().join(name));
    for blocks in [1, 2, 127, 128, 129, 511, 513, 128 * 128, 128 * 128 + 1] {
        fs::write(&data, noise(blocks, blocks as usize * verity::BLOCK)).unwrap();
        let root = verity::format(&data, &ours, &salt, uuid, 2).unwrap().to_string();

        let _ = fs::remove_file(&theirs);
        let (salt, uuid) = (format!("--salt={salt_text}"), format!("--uuid={uuid}"));
        let said = run("veritysetup", &["format", &salt, &uuid, text(&data), text(&theirs)]);
        let their_root = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
        assert_eq!(root, their_root, "{blocks} blocks");
        assert!(fs::read(&ours).unwrap() == fs::read(&theirs).unwrap(), "{blocks} blocks");
        run("veritysetup", &["verify", text(&data), text(&ours), &root]);
        // And the other way: what veritysetup wrote, read by ours.
        verity::verify(&data, &theirs, &Digest::parse(&root).unwrap(), 2).unwrap();
    }
}
