//! The only room that starts programs: every tool by name, three failures told apart, a line that can be pasted.
#![expect(clippy::disallowed_methods, reason = "the one place that makes a Command")]

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use anyhow::{Context as _, Result};

use crate::report::{Failure, Fault};

/// How much of a failed program's words an error quotes, in bytes.
const QUOTED: usize = 2048;

/// A tool of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Solves packages and fetches the index.
    AptGet,
    /// Shows packages of the index.
    AptCache,
    /// Reads a package's control file.
    DpkgDeb,
    /// Bootstraps the base layer.
    Mmdebstrap,
    /// Starts an image.
    QemuSystem,
    /// Makes the snapshot that an image is started on.
    QemuImg,
}

impl Tool {
    /// Every tool that `habuild image` needs, for saying at once what is missing.
    pub const FOR_IMAGE: [Self; 4] = [Self::AptGet, Self::AptCache, Self::DpkgDeb, Self::Mmdebstrap];

    /// The program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::AptGet => "apt-get",
            Self::AptCache => "apt-cache",
            Self::DpkgDeb => "dpkg-deb",
            Self::Mmdebstrap => "mmdebstrap",
            Self::QemuSystem => "qemu-system-x86_64",
            Self::QemuImg => "qemu-img",
        }
    }

    /// The package of Debian and Ubuntu that holds it.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Self::AptGet | Self::AptCache => "apt",
            Self::DpkgDeb => "dpkg",
            Self::Mmdebstrap => "mmdebstrap",
            Self::QemuSystem => "qemu-system-x86",
            Self::QemuImg => "qemu-utils",
        }
    }
}

/// A program with its arguments. Standard input is empty; the environment is `PATH`, `HOME`, `TMPDIR` and a C locale.
#[derive(Debug)]
pub struct Cmd {
    command: Command,
    tool: Option<Tool>,
}

impl Cmd {
    /// A tool of the host.
    #[must_use]
    pub fn new(tool: Tool) -> Self {
        let mut cmd = Self::program(tool.program());
        cmd.tool = Some(tool);
        cmd
    }

    /// A program by path: our own, or one that a person named.
    #[must_use]
    pub fn program(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null());
        for name in ["PATH", "HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // Tools of the build lie in sbin, which an ordinary user's PATH may lack.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
        command.env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8");
        Self { command, tool: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Gives a standard input, output or error other than the default (empty, captured, captured).
    #[must_use]
    pub fn stdin(mut self, stdin: Stdio) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Runs to the end; what it prints is captured.
    pub fn run(mut self) -> Result<Output> {
        let output = self.command.output().map_err(|error| self.not_started(error))?;
        let words = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        self.judge(output.status, &words)?;
        Ok(output)
    }

    /// Runs to the end and gives its standard output as text.
    pub fn output_text(mut self) -> Result<String> {
        let output = self.command.output().map_err(|error| self.not_started(error))?;
        self.judge(output.status, &output.stderr)?;
        String::from_utf8(output.stdout).with_context(|| format!("{} printed no UTF-8", self.line()))
    }

    /// Runs to the end; each line that it prints, on either stream, goes to the log as it comes.
    pub fn run_logged(mut self) -> Result<()> {
        let (reader, writer) = std::io::pipe().context("failed to make a pipe")?;
        let second = writer.try_clone().context("failed to copy a pipe")?;
        self.command.stdout(writer).stderr(second);
        let mut child = self.command.spawn().map_err(|error| self.not_started(error))?;
        // The command keeps the pipe's writing ends until they are replaced: the reader would never see its end.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut tail: Vec<u8> = Vec::new();
        let mut lines = BufReader::new(reader);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).context("failed to read a program's output")? > 0 {
            tracing::debug!(target: "habuild::log", "{}", String::from_utf8_lossy(&line).trim_end());
            tail.append(&mut line);
            if tail.len() > 8 * QUOTED {
                tail.drain(..tail.len() - 4 * QUOTED);
            }
        }
        let status = child.wait().with_context(|| format!("failed to wait for {}", self.line()))?;
        self.judge(status, &tail)
    }

    /// Starts it; the guard ends it when dropped.
    pub fn spawn(mut self, stdout: Stdio, stderr: Stdio) -> Result<Running> {
        let child = self.command.stdout(stdout).stderr(stderr).spawn().map_err(|error| self.not_started(error))?;
        Ok(Running { child, line: self.line() })
    }

    fn not_started(&self, error: std::io::Error) -> anyhow::Error {
        match self.tool {
            Some(tool) if error.kind() == std::io::ErrorKind::NotFound => {
                Failure::new(Fault::Environment, format!("{} is not installed", tool.program()))
                    .remedy(format!("install package {0}: apt-get install {0}", tool.package()))
                    .into()
            }
            _ => Failure::new(Fault::Environment, format!("failed to start {}", self.line())).because(error).into(),
        }
    }

    fn judge(&self, status: ExitStatus, words: &[u8]) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        let from = words.len().saturating_sub(QUOTED);
        let quoted = String::from_utf8_lossy(words.get(from..).unwrap_or_default()).trim().to_owned();
        let name = self.tool.map_or_else(
            || Path::new(self.command.get_program()).display().to_string(),
            |tool| tool.program().to_owned(),
        );
        Err(Failure::new(Fault::Step, format!("{name} failed with {how}:\n{quoted}\nthe command was: {}", self.line()))
            .into())
    }

    /// The command as a person could paste it.
    #[must_use]
    pub fn line(&self) -> String {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        words.map(|word| quote(word.to_os_string())).collect::<Vec<_>>().join(" ")
    }
}

/// A program under way; ended and reaped when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    line: String,
}

impl Running {
    /// The child process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().with_context(|| format!("failed to wait for {}", self.line))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn quote(word: OsString) -> String {
    let text = word.to_string_lossy().into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_three_failures_apart() {
        let missing = Cmd::program("/nowhere/program").run().unwrap_err();
        assert_eq!(crate::report::fault_of(&missing), Fault::Environment);
        let bad = Cmd::program("sh").args(["-c", "echo it broke >&2; exit 7"]).run().unwrap_err().to_string();
        assert!(
            bad.contains("exit code 7") && bad.contains("it broke") && bad.contains("'echo it broke >&2; exit 7'"),
            "{bad}"
        );
        let ended = Cmd::program("sh").args(["-c", "kill -9 $$"]).run().unwrap_err().to_string();
        assert!(ended.contains("signal 9"), "{ended}");
        Cmd::program("sh").args(["-c", "echo a; echo b >&2"]).run_logged().unwrap();
    }
}
