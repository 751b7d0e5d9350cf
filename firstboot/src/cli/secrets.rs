//! `habuild-firstboot secrets`: the cluster's secrets out to a backup, and back.
//!
//! A passphrase comes from the terminal or from a file, never from the command line, where every process sees it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::{Machine, print, said};
use crate::host::Host;
use crate::share::backup::{self, Imported, Lock, Opener};
use crate::steps::proof;
use crate::trouble::Trouble;

#[derive(Debug, Subcommand)]
pub(super) enum Secrets {
    /// Print the share's secrets, encrypted, for a safe place outside the cluster
    Export(Export),
    /// Put the secrets of such a backup back on the share
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    machine: Machine,
    /// Encrypt to the owner of this public key (age1…); may be given several times
    #[arg(long, value_name = "KEY", conflicts_with = "passphrase_file")]
    recipient: Vec<String>,
    /// Encrypt with the passphrase in this file; without this and --recipient, the terminal asks for one
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Write to this new file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    machine: Machine,
    /// The backup; - reads standard input
    backup: PathBuf,
    /// Open it with the secret key in this file, as age-keygen writes it
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    identity: Option<PathBuf>,
    /// Open it with the passphrase in this file; without this and --identity, the terminal asks for it
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

pub(super) fn run(command: &Secrets) -> ExitCode {
    match command {
        Secrets::Export(args) => match export(args) {
            // A reader that has gone, which other commands let pass, leaves half a backup.
            Ok(Some(text)) => match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    let trouble = Trouble::lasting(format!("the backup was not taken by standard output: {error}"));
                    said(&trouble.hint("what came of it is no backup: try again, or name a file with --output"))
                }
            },
            Ok(None) => ExitCode::SUCCESS,
            Err(trouble) => said(&trouble),
        },
        Secrets::Import(args) => match import(args) {
            Ok(done) => print(done).map_or_else(|code| code, |()| ExitCode::SUCCESS),
            Err(trouble) => said(&trouble),
        },
    }
}

/// The encrypted text, unless a file took it.
fn export(args: &Export) -> Result<Option<String>, Trouble> {
    let host = Host::new(&args.machine.root);
    let share = proof::proved(&host)?;
    let lock = match &args.passphrase_file {
        Some(path) => Lock::passphrase(&line_of(path)?)?,
        None if !args.recipient.is_empty() => Lock::recipients(&args.recipient)?,
        None => Lock::passphrase(&new_passphrase()?)?,
    };
    let text = backup::export(&host, &share.mountpoint, &lock)?;
    let Some(path) = &args.output else { return Ok(Some(text)) };
    let failed = |error: io::Error| Trouble::lasting(format!("{} cannot be written: {error}", path.display()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            failed(error).hint("name a file that is not there yet: no backup is overwritten")
        }
        _ => failed(error).hint("name a file in a directory that is there and can be written"),
    })?;
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        // Half a backup would pass for one.
        let _ = fs::remove_file(path);
        return Err(failed(error).hint("name a place with room"));
    }
    Ok(None)
}

fn import(args: &Import) -> Result<&'static str, Trouble> {
    let host = Host::new(&args.machine.root);
    let share = proof::proved(&host)?;
    let backup = if args.backup == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(&args.backup)
    };
    let backup = backup.map_err(|error| Trouble::lasting(format!("{}: {error}", args.backup.display())))?;
    let opener = match (&args.identity, &args.passphrase_file) {
        (Some(path), _) => {
            let text = fs::read_to_string(path).map_err(|error| error.to_string());
            text.and_then(|text| Opener::identities(&text))
                .map_err(|what| Trouble::lasting(format!("{}: {what}", path.display())))?
        }
        (None, Some(path)) => Opener::passphrase(&line_of(path)?),
        (None, None) => Opener::passphrase(&ask("passphrase of the backup: ")?),
    };
    let done = backup::import(&host, &share.mountpoint, &backup, &opener, &share.instance)?;
    Ok(match done {
        Imported::Same => "the share has these secrets already: nothing to do\n",
        Imported::Restored => "restored; now on every node that waits: systemctl restart habuild-firstboot\n",
        Imported::Replaced => {
            "restored; what was there is .habuild/secrets.json.before-import now. \
             On every node that waits: systemctl restart habuild-firstboot\n"
        }
    })
}

/// The first line of a file.
fn line_of(path: &Path) -> Result<String, Trouble> {
    let wrong = |what: String| Trouble::lasting(format!("{}: {what}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(wrong("its first line is empty, and should be the passphrase".to_owned())),
    }
}

fn new_passphrase() -> Result<String, Trouble> {
    let first = ask("passphrase for the backup: ")?;
    if ask("once more: ")? == first { Ok(first) } else { Err(Trouble::lasting("the two passphrases differ")) }
}

/// Asks on the terminal, without showing what is typed.
fn ask(what: &str) -> Result<String, Trouble> {
    let asked = || -> io::Result<String> {
        let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        write!(terminal, "{what}")?;
        let hidden = Hidden::begin(terminal.try_clone()?)?;
        let mut line = String::new();
        BufReader::new(&terminal).read_line(&mut line)?;
        drop(hidden);
        writeln!(terminal)?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    };
    asked().map_err(|error| {
        Trouble::lasting(format!("no terminal to ask for a passphrase on: {error}"))
            .hint("give --passphrase-file, or a key: --recipient to export, --identity to import")
    })
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn begin(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}
