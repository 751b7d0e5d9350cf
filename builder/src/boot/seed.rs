//! The NoCloud seed: a small FAT volume from which cloud-init reads user-data where no cloud answers.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::formats::fat::{FatContent, FatTree, FatVolume};
use crate::sys::digest::Digest;

/// Writes a NoCloud seed to a new file at `path`.
///
/// Equal arguments give equal bytes. `network-config` is there and empty: cloud-init then asks for an address on the
/// first interface by DHCP, and no boot waits for an interface that has another name by then.
pub(super) fn write_nocloud(path: &Path, user_data: &[u8], instance_id: &str, hostname: &str) -> Result<()> {
    // Quoted as JSON strings, which YAML reads as they are.
    let meta_data = format!(
        "instance-id: {}\nlocal-hostname: {}\n",
        serde_json::Value::from(instance_id),
        serde_json::Value::from(hostname)
    );
    let mut tree = FatTree::new();
    let files =
        [("meta-data", meta_data.as_bytes()), ("user-data", user_data), ("vendor-data", b""), ("network-config", b"")];
    for (name, bytes) in files {
        tree.add_file(name, FatContent::Bytes(bytes.to_vec()))?;
    }
    let [a, b, c, d, ..] = Digest::of(&[meta_data.as_bytes(), user_data].concat()).0;
    let volume = FatVolume {
        size: tree.smallest()?,
        label: "CIDATA",
        volume_id: u32::from_be_bytes([a, b, c, d]),
        hidden_sectors: 0,
        epoch: 0,
    };
    let failed = || format!("failed to write the seed {}", path.display());
    let mut file = File::create_new(path).with_context(failed)?;
    tree.write(&mut file, &volume).with_context(failed)
}
