//! The formats habuild writes itself, judged by the tools that others read them with.
#![expect(clippy::disallowed_methods, reason = "tests start the tools they compare with")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod formats {
    pub(crate) mod cpio;
    pub(crate) mod fat;
    pub(crate) mod gpt;
    pub(crate) mod qcow2;
    pub(crate) mod verity;
}

use std::path::Path;
use std::process::Command;

/// Runs a tool, which must be installed and succeed, and returns what it said on both streams.
fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).env("LC_ALL", "C").env("TZ", "UTC").output();
    let output = output.unwrap_or_else(|error| panic!("{tool} is needed for this test: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{said}", output.status);
    said
}

/// The path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Bytes that look random and are the same every time (xorshift64*).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
