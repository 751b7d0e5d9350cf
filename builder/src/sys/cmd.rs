//! External programs: the only place that creates a process.
//!
//! A [`Cmd`] starts with an environment of its own (`PATH`, `HOME`, `TMPDIR`, `LANG=C.UTF-8`) and with nothing on
//! standard input, so that a tool behaves alike on every host. What can go wrong is told apart: the program is not
//! installed, it could not be started, or it ended badly ([`BadExit`]).
#![expect(clippy::disallowed_methods, reason = "this is the one place that creates processes")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result};

pub use super::exit::{BadExit, Output};
use super::exit::{TAIL, check};
pub use super::running::Running;
pub use super::tool::Tool;
use super::tool::{find, search_path};
use crate::report::{Failure, Fault};

/// A command to be run.
#[derive(Debug)]
pub struct Cmd {
    tool: Option<Tool>,
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    dir: Option<PathBuf>,
    ends_with_us: bool,
    input: Option<Vec<u8>>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
}

impl Cmd {
    /// A command that calls `tool`.
    #[must_use]
    pub fn new(tool: Tool) -> Self {
        Self { tool: Some(tool), ..Self::program(tool.program()) }
    }

    /// A command that calls a program which is no [`Tool`], such as our own executable.
    #[must_use]
    pub fn program(program: impl Into<OsString>) -> Self {
        Self {
            tool: None,
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            dir: None,
            ends_with_us: false,
            input: None,
            stdin: None,
            stdout: None,
            stderr: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the child's environment. Never for a secret: others can read it there.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Sets the directory in which the child starts.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Lets the kernel end the child (SIGKILL) when the thread that starts it ends, however that comes about, so that
    /// even a killed habuild leaves nothing running. `setpriv` does it, since no safe code of ours runs in the child.
    #[must_use]
    pub fn ends_with_us(mut self) -> Self {
        self.ends_with_us = true;
        self
    }

    /// Connects standard input; null unless said otherwise.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// Gives the child `bytes` on its standard input ([`Cmd::run`] only).
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Connects standard output, such as to a file; captured by [`Cmd::run`] unless said otherwise.
    #[must_use]
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Connects standard error; captured by [`Cmd::run`] unless said otherwise.
    #[must_use]
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// The command as a person could paste it into a shell.
    #[must_use]
    pub fn line(&self) -> String {
        let mut words = Vec::new();
        if let Some(dir) = &self.dir {
            words.push(format!("cd {} &&", quoted(dir.as_os_str())));
        }
        words.extend(self.env.iter().map(|(name, value)| format!("{}={}", name.to_string_lossy(), quoted(value))));
        words.push(quoted(&self.program));
        words.extend(self.args.iter().map(|arg| quoted(arg)));
        words.join(" ")
    }

    /// Runs the command to its end. A bad exit is an error.
    pub fn run(self) -> Result<Output> {
        let line = self.line();
        let (output, status) = self.run_unchecked()?;
        check(&line, status, &output.stderr)?;
        Ok(output)
    }

    /// Runs the command to its end and returns how it ended, whatever that was.
    pub fn run_unchecked(mut self) -> Result<(Output, ExitStatus)> {
        let line = self.line();
        self.stdout.get_or_insert_with(Stdio::piped);
        self.stderr.get_or_insert_with(Stdio::piped);
        let input = self.input.take();
        if input.is_some() {
            self.stdin = Some(Stdio::piped());
        }
        let mut running = self.spawn()?;
        // The input is written beside the reading: a child that answers before it has read all would wait for ever.
        let writer = input.zip(running.stdin()).map(|(bytes, mut pipe)| {
            std::thread::spawn(move || match pipe.write_all(&bytes) {
                // The child need not read all of it; whether that is right shows in its exit code.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
                _ => Ok(()),
            })
        });
        let ended = running.finish().with_context(|| format!("failed to wait for `{line}`"))?;
        if let Some(Ok(written)) = writer.map(std::thread::JoinHandle::join) {
            written.with_context(|| format!("failed to write to `{line}`"))?;
        }
        Ok(ended)
    }

    /// Runs the command and returns its standard output, which must be UTF-8.
    pub fn output_text(self) -> Result<String> {
        let line = self.line();
        String::from_utf8(self.run()?.stdout).with_context(|| format!("`{line}` wrote something that is not UTF-8"))
    }

    /// Runs the command to its end; each line that it writes, on either stream, goes to the log as it comes.
    pub fn run_logged(mut self) -> Result<()> {
        let (reader, writer) = io::pipe().context("failed to make a pipe")?;
        self.stderr = Some(writer.try_clone().context("failed to copy a pipe")?.into());
        self.stdout = Some(writer.into());
        let mut running = self.spawn()?;
        let mut tail: Vec<u8> = Vec::new();
        let mut lines = io::BufReader::new(reader);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).context("failed to read a program's output")? > 0 {
            tracing::debug!(target: "habuild::log", "{}", String::from_utf8_lossy(&line).trim_end());
            tail.append(&mut line);
            tail.drain(..tail.len().saturating_sub(4 * TAIL));
        }
        running.wait(&tail)
    }

    /// Starts the command. The guard ends and reaps it when it is dropped.
    pub fn spawn(self) -> Result<Running> {
        let line = self.line();
        tracing::debug!(command = %line, "starting");
        let path = search_path();
        let mut command = Command::new(&self.program);
        if self.ends_with_us {
            // A missing program would be setpriv's to report, without our remedy.
            if let Some(tool) = self.tool.filter(|tool| tool.find().is_none()) {
                return Err(tool.missing().into());
            }
            command = Command::new(Tool::Setpriv.find().ok_or_else(|| Tool::Setpriv.missing())?);
            command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program);
        }
        command.args(&self.args).env_clear().env("PATH", &path).env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8");
        for name in ["HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(&self.env);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command.stdin(self.stdin.unwrap_or_else(Stdio::null));
        command.stdout(self.stdout.unwrap_or_else(Stdio::inherit));
        command.stderr(self.stderr.unwrap_or_else(Stdio::inherit));
        match command.spawn() {
            Ok(child) => Ok(Running::new(child, line)),
            // The kernel's "not found" may also mean the directory or a script's interpreter.
            Err(error) if error.kind() == io::ErrorKind::NotFound && find(&self.program, &path).is_none() => {
                let program = Path::new(&self.program).display();
                Err(match self.tool {
                    Some(tool) => tool.missing(),
                    None => Failure::new(Fault::Environment, format!("{program} does not exist")),
                }
                .into())
            }
            Err(error) => {
                Err(Failure::new(Fault::Environment, format!("failed to start `{line}`")).because(error).into())
            }
        }
    }
}

/// `word` as a shell reads it back.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fault_of;

    #[test]
    fn runs_with_an_environment_of_its_own() {
        let text = Cmd::program("sh").args(["-c", "echo $LANG ${CARGO:-none} $A; cat"]).env("A", "b").input("in");
        assert_eq!(text.output_text().unwrap(), "C.UTF-8 none b\nin");
    }

    #[test]
    fn a_bad_exit_says_what_to_paste() {
        let error = Cmd::program("sh").args(["-c", "echo \"it's bad\" >&2; exit 3"]).run().unwrap_err();
        let bad = error.downcast_ref::<BadExit>().unwrap();
        assert_eq!((bad.code, bad.stderr.as_str()), (Some(3), "it's bad"), "{bad}");
        assert_eq!(bad.command, r#"sh -c 'echo "it'\''s bad" >&2; exit 3'"#);
        let error = Cmd::program("sh").args(["-c", "kill -9 $$"]).run().unwrap_err();
        assert_eq!(error.downcast_ref::<BadExit>().unwrap().signal, Some(9));
    }

    #[test]
    fn tells_missing_from_not_startable() {
        let error = Cmd::program("/no/such/program").run().unwrap_err();
        assert_eq!(error.to_string(), "/no/such/program does not exist");
        assert_eq!(fault_of(&error), Fault::Environment);
        let error = Cmd::program("sh").current_dir("/no/such/dir").run().unwrap_err();
        assert_eq!(error.to_string(), "failed to start `cd /no/such/dir && sh`");
        let error = Cmd::program("/etc/passwd").run().unwrap_err();
        assert!(error.to_string().starts_with("failed to start"), "{error}");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let running = Cmd::program("sleep").arg("600").spawn().unwrap();
        let place = PathBuf::from(format!("/proc/{}", running.id()));
        assert!(place.exists());
        drop(running);
        assert!(!place.exists());
    }
}
