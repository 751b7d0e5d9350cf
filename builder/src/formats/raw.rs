//! A raw disk copied without its holes and zeros.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::sys::sparse;

/// Copies the disk in the file `raw` to `out`, which must be empty, and leaves holes where the disk is zero.
///
/// `progress` is called now and then with the bytes done and the bytes to do; holes of `raw` count as neither.
pub(crate) fn write(raw: &Path, out: &mut File, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let length = raw.metadata().with_context(|| format!("failed to read {}", raw.display()))?.len();
    out.set_len(length).with_context(|| format!("failed to size a copy of {}", raw.display()))?;
    sparse::copy(raw, out, 0, progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    #[test]
    fn a_copy_is_equal_and_has_holes_for_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.raw");
        let disk = File::create(&path).unwrap();
        disk.set_len((20 << 20) + 512).unwrap();
        disk.write_all_at(&vec![0; 4 << 20], 0).unwrap();
        disk.write_all_at(&[1; 5000], 1 << 20).unwrap();
        disk.write_all_at(&[2; 512], 20 << 20).unwrap();
        let mut copy = File::create_new(directory.path().join("copy.raw")).unwrap();
        let mut last = (0, 1);
        write(&path, &mut copy, &mut |done, total| last = (done, total)).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(directory.path().join("copy.raw")).unwrap());
        assert!(copy.metadata().unwrap().blocks() * 512 < 1 << 20);
        assert_eq!(last.0, last.1);
    }
}
