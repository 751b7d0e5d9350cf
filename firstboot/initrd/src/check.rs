//! The check of the state's file system, by the release's own e2fsck, before it is mounted.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::failure::Failure;
use crate::state::{Content, LOOKED_AT};
use crate::{programs, say};

/// In the node's root. Releases without a merged `/usr` have it there too.
const E2FSCK: &str = "/sbin/e2fsck";

/// What a check ended with (`e2fsck(8)`).
const UNCORRECTED: i32 = !0b11;
const START_AGAIN: i32 = 0b10;

/// Checks the file system of the device `state` with the programs of the mounted root, and repairs what can be repaired
/// without asking. One that was left clean is only looked at.
pub fn state(state: &Path) -> Result<(), Failure> {
    let mut bytes = [0; LOOKED_AT];
    File::open(state)
        .and_then(|file| file.read_exact_at(&mut bytes, 0))
        .map_err(|error| Failure::system(format!("read {}", state.display()), error))?;
    let content = Content::of(&bytes);
    if content != Content::Ext {
        return Err(Failure::State { path: state.to_owned(), content });
    }
    let output = programs::run(E2FSCK, [OsStr::new("-p"), state.as_os_str()])?;
    let said = programs::said(&output);
    say::note(&format!("e2fsck: {said}"));
    match output.status.code() {
        Some(code) if code & UNCORRECTED == 0 && code & START_AGAIN != 0 => say::start_again(),
        Some(code) if code & UNCORRECTED == 0 => Ok(()),
        code => Err(Failure::Check { path: state.to_owned(), code, said }),
    }
}
