//! Where the lab runs: a network namespace of its own, in which the services have one address and the machines reach
//! them through QEMU's own network.
//!
//! `make lab` makes the namespaces, a process namespace among them: whatever the tests leave behind ends with it.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use habuild::sys::cmd::Cmd;

/// The address of every service of the lab. Nobody else has it: it is one of the namespace's.
pub(crate) const ADDRESS: &str = "10.77.0.1";

/// An address at which nobody answers: a monitor that is down.
pub(crate) const DEAD: &str = "10.77.0.2";

/// The lab's own directory, for as long as the tests run.
pub(crate) fn dir() -> PathBuf {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIR.get_or_init(|| {
        // In the host's own network the address below would be somebody's.
        let links = Cmd::program("ip").args(["-oneline", "link"]).output_text().unwrap();
        assert_eq!(links.lines().count(), 1, "the lab needs a network namespace of its own: run `make lab`");
        Cmd::program("ip").args(["link", "set", "lo", "up"]).run().unwrap();
        Cmd::program("ip").args(["address", "add", &format!("{ADDRESS}/32"), "dev", "lo"]).run().unwrap();
        tempfile::tempdir().unwrap()
    })
    .path()
    .to_owned()
}

/// A line of the lab's table: what was done, what was seen, and how long after `begun`.
#[expect(clippy::print_stderr, reason = "the table is for whoever runs the lab")]
pub(crate) fn told(what: &str, seen: &str, begun: Instant) {
    eprintln!("lab: | {what} | {seen} | {:.0} s |", begun.elapsed().as_secs_f64());
}

/// Waits until it is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    within(Duration::from_secs(120), what, &mut so);
}

/// Waits until it is so, for a time.
pub(crate) fn within(time: Duration, what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + time;
    while !so() {
        assert!(Instant::now() < deadline, "{what} did not come within {} s", time.as_secs());
        // What is waited for belongs to processes that tell nobody.
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Waits until a port of the lab takes connections.
pub(crate) fn listens(what: &str, port: u16) {
    until(what, || TcpStream::connect((ADDRESS, port)).is_ok());
}
