//! External programs: the only place of the agent that creates a process.
//!
//! Invariant: a program gets an environment of its own, nothing on standard input but what it is given, and a time by
//! which it must have ended. Nothing secret is ever an argument.
#![expect(clippy::disallowed_methods, reason = "this is the one place that creates processes")]

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// For what answers at once.
const TIME: Duration = Duration::from_secs(60);

/// After SIGKILL: a process that hangs in the kernel (on a share that does not answer) does not end even then.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// How much of standard error an error quotes.
const TAIL: usize = 400;

/// A program to be run.
#[derive(Debug)]
pub(crate) struct Command {
    program: OsString,
    args: Vec<OsString>,
    path: OsString,
    directory: Option<PathBuf>,
    input: Option<Hidden>,
    time: Duration,
}

/// What goes to standard input may be secret.
struct Hidden(Vec<u8>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(input)")
    }
}

/// How a program failed.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// It could not be started.
    Start { program: String, error: io::Error },
    /// It ended with another code than 0, or by a signal.
    Exit { program: String, status: ExitStatus, stderr: String },
    /// It did not end in time.
    Time { program: String, time: Duration },
}

impl CommandError {
    /// The exit code, if it ended with one.
    pub(crate) fn code(&self) -> Option<i32> {
        match self {
            Self::Exit { status, .. } => status.code(),
            _ => None,
        }
    }

    /// The end of what it said, on one line.
    pub(crate) fn said(&self) -> String {
        match self {
            Self::Exit { stderr, .. } => stderr.lines().map(str::trim).collect::<Vec<_>>().join("; "),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { program, error } => write!(f, "{program} cannot be started: {error}"),
            Self::Time { program, time } => write!(f, "{program} did not end within {} s", time.as_secs()),
            Self::Exit { program, status, .. } => {
                match (status.code(), status.signal()) {
                    (Some(code), _) => write!(f, "{program} ended with code {code}")?,
                    (None, Some(signal)) => write!(f, "{program} was ended by signal {signal}")?,
                    (None, None) => write!(f, "{program} ended badly")?,
                }
                match self.said() {
                    said if said.is_empty() => Ok(()),
                    said => write!(f, ": {said}"),
                }
            }
        }
    }
}

impl std::error::Error for CommandError {}

impl Command {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            path: PATH.into(),
            directory: None,
            input: None,
            time: TIME,
        }
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Looks for the program there only.
    pub(crate) fn search(mut self, path: impl AsRef<OsStr>) -> Self {
        self.path = path.as_ref().to_owned();
        self
    }

    /// Runs in that directory.
    pub(crate) fn directory(mut self, directory: PathBuf) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Bytes for standard input.
    pub(crate) fn input(mut self, input: Vec<u8>) -> Self {
        self.input = Some(Hidden(input));
        self
    }

    /// By when it must have ended.
    pub(crate) fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    fn name(&self) -> String {
        let name = PathBuf::from(&self.program);
        let name = name.file_name().unwrap_or(&self.program).to_string_lossy().into_owned();
        // "docker compose" says more than "docker"; what follows may be long.
        match self.args.first().and_then(|first| first.to_str()) {
            Some(first) if first.chars().all(|c| c.is_ascii_alphabetic()) => format!("{name} {first}"),
            _ => name,
        }
    }

    fn build(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args).env_clear().env("PATH", &self.path).env("LANG", "C.UTF-8").env("HOME", "/root");
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command
    }

    /// Runs it to its end; gives what it wrote to standard output.
    pub(crate) fn run(mut self) -> Result<Vec<u8>, CommandError> {
        let program = self.name();
        let mut child = self
            .build()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| CommandError::Start { program: program.clone(), error })?;
        if let (Some(mut stdin), Some(Hidden(input))) = (child.stdin.take(), self.input.take()) {
            // A program may end without reading; its exit code tells more than a broken pipe.
            thread::spawn(move || stdin.write_all(&input));
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
        let (ended, end) = mpsc::channel();
        thread::spawn(move || ended.send(child.wait_with_output()));
        let output = match end.recv_timeout(self.time) {
            Ok(output) => output,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let _ = kill(pid, Signal::SIGKILL);
                let _ = end.recv_timeout(AFTER_KILL);
                return Err(CommandError::Time { program, time: self.time });
            }
        };
        let output = output.map_err(|error| CommandError::Start { program: program.clone(), error })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(CommandError::Exit { program, status: output.status, stderr: tail(&output.stderr) })
    }

    /// Runs it to its end; gives its standard output as text.
    pub(crate) fn text(self) -> Result<String, CommandError> {
        Ok(String::from_utf8_lossy(&self.run()?).into_owned())
    }

    /// Starts it, and sends each line that it writes; when it ends, or has been started in vain, the sender is dropped.
    pub(crate) fn lines<T: Send + 'static>(self, lines: Sender<T>, wrap: fn(String) -> T) {
        let spawned = self.build().stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        thread::spawn(move || {
            let Ok(mut child) = spawned else { return };
            if let Some(stdout) = child.stdout.take() {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if lines.send(wrap(line)).is_err() {
                        break;
                    }
                }
            }
            let _ = child.kill();
            let _ = child.wait();
        });
    }
}

fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let skip = text.chars().count().saturating_sub(TAIL);
    text.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_writes_and_reads() {
        let text = Command::new("cat").input(b"one\n".to_vec()).text().unwrap();
        assert_eq!(text, "one\n");
        // Nothing of ours is in its environment.
        let text = Command::new("env").text().unwrap();
        assert!(
            text.lines().all(|line| ["PATH=", "LANG=", "HOME="].iter().any(|name| line.starts_with(name))),
            "{text}"
        );
    }

    #[test]
    fn how_it_fails() {
        let error = Command::new("sh").args(["-c", "echo first >&2; echo second >&2; exit 7"]).run().unwrap_err();
        assert_eq!(error.to_string(), "sh ended with code 7: first; second");
        assert_eq!(error.code(), Some(7));
        let error = Command::new("habuild-none").run().unwrap_err();
        assert!(error.to_string().starts_with("habuild-none cannot be started: "), "{error}");
        let error = Command::new("sleep").args(["60"]).time(Duration::from_millis(50)).run().unwrap_err();
        assert_eq!(error.to_string(), "sleep did not end within 0 s");
        let error = Command::new("sh").args(["-c", "kill -9 $$"]).run().unwrap_err();
        assert_eq!(error.to_string(), "sh was ended by signal 9");
    }

    #[test]
    fn lines_as_they_come() {
        let (lines, got) = mpsc::channel();
        Command::new("printf").args(["a\\nb\\n"]).lines(lines, |line| line);
        assert_eq!(got.iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
