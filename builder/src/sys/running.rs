//! A process under way, and the guard that ends it.

use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};

use anyhow::{Context as _, Result};

use super::exit::{Output, check};

/// A process that runs. Dropping it ends that process (SIGKILL) and reaps it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    line: String,
}

impl Running {
    pub(super) fn new(child: Child, line: String) -> Self {
        Self { child, line }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The command as a person could paste it into a shell.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Takes the pipe to standard input, if it was asked for.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Takes the pipe from standard output, if it was asked for.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Takes the pipe from standard error, if it was asked for.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("failed to look at `{}`", self.line))
    }

    /// Waits for its end; a bad exit is an error with `stderr`, what is known of its standard error.
    pub fn wait(&mut self, stderr: &[u8]) -> Result<()> {
        let status = self.child.wait().with_context(|| format!("failed to wait for `{}`", self.line))?;
        check(&self.line, status, stderr)
    }

    /// Ends it at once and reaps it; no error when it has ended already.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Reads both pipes to their ends and waits.
    pub(super) fn finish(&mut self) -> io::Result<(Output, ExitStatus)> {
        let errors = self.child.stderr.take().map(|pipe| std::thread::spawn(move || read_all(pipe)));
        let stdout = self.child.stdout.take().map(read_all).transpose()?.unwrap_or_default();
        let stderr = match errors.map(std::thread::JoinHandle::join) {
            Some(Ok(read)) => read?,
            _ => Vec::new(),
        };
        Ok((Output { stdout, stderr }, self.child.wait()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_all(mut pipe: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)?;
    Ok(bytes)
}
