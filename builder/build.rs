//! Digests of the sources that decide bits, so that a changed builder is an input of the keys like any other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (name, rooms) in
        [("HABUILD_BAKE_ID", &["bake", "sys"][..]), ("HABUILD_DISK_ID", &["assemble", "export", "formats"])]
    {
        let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        for room in rooms {
            let room = Path::new("src").join(room);
            println!("cargo:rerun-if-changed={}", room.display());
            read_sources(&room, &mut files)?;
        }
        let mut hasher = Sha256::new();
        for (path, content) in &files {
            hasher.update(format!("{} {}\n", path.display(), content.len()));
            hasher.update(content);
        }
        let digest: String = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        println!("cargo:rustc-env={name}={digest}");
    }
    Ok(())
}

fn read_sources(directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            read_sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(path.clone(), std::fs::read(&path)?);
        }
    }
    Ok(())
}
