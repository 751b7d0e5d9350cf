//! Digests of the code that decides bits, so that a changed builder is an input of the keys like any other: sources of
//! this crate and of the contract, and the crates that write what is baked, as `Cargo.lock` pins them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The environment variables that the crate is compiled with, and the sources that they stand for: directories and files.
const IDS: [(&str, &[&str]); 2] = [
    (
        "HABUILD_BAKE_ID",
        &["src/bake", "src/sys", "../firstboot/contract/src/harbor", "../firstboot/contract/src/version.rs"],
    ),
    ("HABUILD_DISK_ID", &["src/assemble", "src/export", "src/formats"]),
];

/// Crates that write bits of a layer or a disk: tars, compressed streams, JSON. What the others compute has one right
/// answer (digests) or reaches no image.
const WRITERS: [&str; 4] = ["flate2", "serde_json", "tar", "zlib-rs"];

const LOCK: &str = "../Cargo.lock";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={LOCK}");
    let crates = pinned(&std::fs::read_to_string(LOCK)?, &WRITERS)?;
    for (name, directories) in IDS {
        let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        for directory in directories {
            println!("cargo:rerun-if-changed={directory}");
            read_sources(Path::new(directory), &mut files)?;
        }
        let mut hasher = Sha256::new();
        for (path, content) in &files {
            hasher.update(format!("{} {}\n", path.display(), content.len()));
            hasher.update(content);
        }
        hasher.update(&crates);
        let digest: String = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        println!("cargo:rustc-env={name}={digest}");
    }
    Ok(())
}

/// Reads a file, or the sources below a directory, but for files of tests, which decide nothing.
fn read_sources(directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> std::io::Result<()> {
    if directory.is_file() {
        files.insert(directory.to_owned(), std::fs::read(directory)?);
        return Ok(());
    }
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            read_sources(&path, files)?;
        } else if name.ends_with(".rs") && !name.ends_with("_tests.rs") {
            files.insert(path.clone(), std::fs::read(&path)?);
        }
    }
    Ok(())
}

/// The versions and checksums of the named crates in the text of a `Cargo.lock`, one a line. Each must be there: a
/// crate that was replaced is replaced in the list too.
pub(crate) fn pinned(lock: &str, names: &[&str]) -> Result<String, String> {
    let mut lines = String::new();
    for name in names {
        let mut found = false;
        for package in lock.split("[[package]]") {
            let field = |key: &str| {
                let start = format!("{key} = \"");
                package.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix('"'))
            };
            if field("name") == Some(name) {
                found = true;
                let (version, checksum) = (field("version").unwrap_or_default(), field("checksum").unwrap_or_default());
                lines.push_str(&format!("{name} {version} {checksum}\n"));
            }
        }
        if !found {
            return Err(format!("{LOCK} has no crate {name}: correct WRITERS in builder/build.rs"));
        }
    }
    Ok(lines)
}
