//! Starts one stage of cloud-init where all stages are one process, and waits for its end.
//!
//! `cloud-init --all-stages` listens on one socket for each stage. It wants the word `start`, and answers when the stage
//! has ended with a line of shell, `echo 'MESSAGE'; exit CODE;`, since cloud-init's own units run it through netcat and
//! sh, which would be two more programs at each boot.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use clap::ValueEnum;

/// Where cloud-init listens.
pub(crate) const SOCKETS: &str = "/run/cloud-init/share";

/// A stage of cloud-init.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Stage {
    /// Before the network
    Local,
    /// With the network: users, files, keys
    Network,
    /// Modules such as ntp and runcmd
    Config,
    /// User scripts
    Final,
}

impl Stage {
    fn socket(self) -> &'static str {
        match self {
            Self::Local => "local.sock",
            Self::Network => "network.sock",
            Self::Config => "config.sock",
            Self::Final => "final.sock",
        }
    }
}

/// Starts the stage and returns its message and exit code when it has ended.
pub(crate) fn run(stage: Stage, sockets: &Path) -> io::Result<(String, u8)> {
    let mut stream = UnixStream::connect(sockets.join(stage.socket()))?;
    stream.write_all(b"start")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::other(format!("cloud-init ended the stage with {answer:?}")))
}

/// Reads `echo 'MESSAGE'; exit CODE;`.
fn parse(answer: &str) -> Option<(String, u8)> {
    let (message, code) = answer.trim_end().strip_suffix(';')?.rsplit_once("; exit ")?;
    let message = message.strip_prefix("echo '")?.strip_suffix('\'')?;
    Some((message.to_owned(), code.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A cloud-init that answers once.
    fn served(answer: &'static str) -> io::Result<(String, u8)> {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("network.sock")).unwrap();
        let cloud_init = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut word = [0; 5];
            stream.read_exact(&mut word).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            word
        });
        let result = run(Stage::Network, dir.path());
        assert_eq!(&cloud_init.join().unwrap(), b"start");
        result
    }

    #[test]
    fn a_stage_ends_with_its_exit_code() {
        let answer = served("echo 'Completed socket interaction for boot stage network'; exit 0;").unwrap();
        assert_eq!(answer, ("Completed socket interaction for boot stage network".to_owned(), 0));
        let (message, code) = served("echo 'fatal error, run \"cloud-init status --long\"'; exit 1;").unwrap();
        assert_eq!((message.as_str(), code), ("fatal error, run \"cloud-init status --long\"", 1));
    }

    #[test]
    fn a_stage_without_an_answer_failed() {
        for answer in ["", "exit 0;", "echo 'a'; exit 256;", "echo 'a'; exit 0"] {
            served(answer).unwrap_err();
        }
    }

    #[test]
    fn no_socket_is_an_error() {
        run(Stage::Final, Path::new("/nonexistent")).unwrap_err();
    }
}
