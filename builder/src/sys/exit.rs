//! How a program ended, and what it wrote.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use anyhow::Result;

/// What a command wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Standard output; empty when it was sent elsewhere.
    pub stdout: Vec<u8>,
    /// Standard error; empty when it was sent elsewhere.
    pub stderr: Vec<u8>,
}

/// A program ended with a code other than 0, or by a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadExit {
    /// The command as a person could paste it into a shell.
    pub command: String,
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The end of what it wrote to standard error.
    pub stderr: String,
}

impl fmt::Display for BadExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.command)?;
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exited with code {code}")?,
            (None, Some(signal)) => write!(f, "was ended by signal {signal}")?,
            (None, None) => write!(f, "ended badly")?,
        }
        if self.stderr.is_empty() { write!(f, " and said nothing") } else { write!(f, ": {}", self.stderr) }
    }
}

impl std::error::Error for BadExit {}

/// How much of standard error an error quotes.
pub(super) const TAIL: usize = 2048;

/// A bad exit is an error, with the end of standard error.
pub(super) fn check(line: &str, status: ExitStatus, stderr: &[u8]) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let tail = &stderr[stderr.len().saturating_sub(TAIL)..];
    let stderr = String::from_utf8_lossy(tail).trim().to_owned();
    Err(BadExit { command: line.to_owned(), code: status.code(), signal: status.signal(), stderr }.into())
}
