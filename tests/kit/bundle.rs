//! The stand-in's bundle, and the image archive in it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// The bundle that `make stand-in` builds.
pub(crate) fn stand_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/stand-in/cfg.tgz")
}

/// The image archive in a bundle, as `docker load` takes it.
pub(crate) fn archive(bundle: &Path) -> Vec<u8> {
    let mut tar = tar::Archive::new(GzDecoder::new(File::open(bundle).unwrap()));
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().to_string_lossy().ends_with(".tar.gz") {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            return bytes;
        }
    }
    panic!("{} holds no image archive", bundle.display())
}
