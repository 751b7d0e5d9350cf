//! What went wrong, whose fault it is, and what to do: the one place where that is decided.

use std::fmt;
use std::path::PathBuf;

/// A mistake in a file that a person wrote.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as the person named it.
    pub file: PathBuf,
    /// Line, from 1 (0: the file as a whole).
    pub line: usize,
    /// Column in characters, from 1 (0: the line as a whole).
    pub column: usize,
    /// Dotted key path such as `disk.var.size`; empty for syntax errors.
    pub key: String,
    /// A lower-case fragment without a final period.
    pub message: String,
    /// What to do, where it is known.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column.max(1))?;
        }
        write!(f, ": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// Every problem found, sorted by place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The problems.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Adds every problem of `other`.
    pub fn append(&mut self, other: Self) {
        self.problems.extend(other.problems);
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The problems in the order of files, lines and columns, each once; `Ok` when there are none.
    pub fn into_result(mut self) -> Result<(), Self> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort();
        self.problems.dedup();
        Err(self)
    }
}

impl From<Problem> for Report {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// What helps when a disk is full.
pub(crate) const FREE_SPACE: &str = "free some space (habuild cache gc --unused 7 removes what no build has used for a week), or put the cache \
                                     elsewhere with --cache; what was finished is kept";

/// Whose fault a failure is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The spec, the layer definitions or the command line: exit code 2.
    Usage,
    /// This host: a tool, a permission, a kernel feature, disk space is missing: exit code 3.
    Environment,
    /// Something that had to be fetched could not be had, or was not what it should be: exit code 4.
    Input,
    /// A step of the build failed: exit code 5.
    Step,
    /// A mistake in habuild: exit code 70.
    Bug,
}

impl Fault {
    /// The exit code, `sysexits`-like.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Environment => 3,
            Self::Input => 4,
            Self::Step => 5,
            Self::Bug => 70,
        }
    }
}

/// A failure whose fault is known. Put it at the bottom of an `anyhow` chain (or above it with `Failure::wrap`);
/// the outermost one in the chain decides the exit code.
#[derive(Debug)]
pub struct Failure {
    /// Whose fault it is.
    pub fault: Fault,
    /// A lower-case fragment: the thing and what happened to it.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// What lies below.
    pub source: Option<anyhow::Error>,
}

impl Failure {
    /// A failure with a message.
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into(), remedy: None, source: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Puts `source` below this failure.
    #[must_use]
    pub fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref())
    }
}

/// The exit code for an error chain: the outermost [`Failure`] decides, a [`Report`] is the user's to mend,
/// a full disk is the environment's, and anything else is a step that failed.
#[must_use]
pub fn fault_of(error: &anyhow::Error) -> Fault {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.fault;
        }
        if cause.downcast_ref::<Report>().is_some() {
            return Fault::Usage;
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && matches!(
                io.kind(),
                std::io::ErrorKind::StorageFull
                    | std::io::ErrorKind::QuotaExceeded
                    | std::io::ErrorKind::ReadOnlyFilesystem
            )
        {
            return Fault::Environment;
        }
    }
    Fault::Step
}

/// A step under way; says when it is done and how long it took. Dropped without a word, it failed.
#[derive(Debug)]
pub struct Event {
    stage: &'static str,
    name: String,
    began: std::time::Instant,
    over: bool,
}

impl Event {
    /// Says that a step has begun.
    #[must_use]
    pub fn start(stage: &'static str, name: &str) -> Self {
        tracing::info!(target: "habuild::event", event = "start", stage, name);
        Self { stage, name: name.into(), began: std::time::Instant::now(), over: false }
    }

    /// Says that it is done: `result` is one word, `message` is for people.
    pub fn done(mut self, result: &str, message: &str) {
        self.over = true;
        let seconds = self.began.elapsed().as_secs_f64();
        tracing::info!(target: "habuild::event", event = "done", stage = self.stage, name = %self.name, result, seconds, message);
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !self.over {
            let seconds = self.began.elapsed().as_secs_f64();
            tracing::info!(target: "habuild::event", event = "done", stage = self.stage, name = %self.name, result = "failed", seconds, message = "");
        }
    }
}

/// Says how far a step with a known length has come, in bytes.
pub fn progress(name: &str, done: u64, total: u64) {
    tracing::info!(target: "habuild::progress", name, done, total);
}

/// A size for people.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{:.0} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.0} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}
