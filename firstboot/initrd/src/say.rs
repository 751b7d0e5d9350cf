//! What the initrd says: lines in the kernel's log, and words on every console when the node cannot be started.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot};

use crate::failure::Failure;

/// The kernel's levels (`syslog(2)`).
const CRITICAL: u8 = 2;
const WARNING: u8 = 4;
const INFORMATION: u8 = 6;

/// A line for the log.
pub fn note(text: &str) {
    log(INFORMATION, text);
}

/// A line for the log of what is not as it should be.
pub fn warn(text: &str) {
    log(WARNING, text);
}

fn log(level: u8, text: &str) {
    // One record is one write. Whoever cannot even log has nobody to tell.
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = log.write_all(format!("<{level}>habuild: {text}\n").as_bytes());
    }
}

/// Says what went wrong on every console, and starts the machine again as the kernel's `panic=` says: after so many
/// seconds, at once if it is below 0, not at all if it is 0.
pub fn fail(failure: &Failure) -> ! {
    let seconds = fs::read_to_string("/proc/sys/kernel/panic").ok().and_then(|text| text.trim().parse::<i64>().ok());
    let seconds = seconds.unwrap_or_default();
    let then = match seconds {
        0 => "the machine stays like this (panic=0 on the kernel's command line)".to_owned(),
        ..0 => "the machine starts again".to_owned(),
        seconds => format!("the machine starts again in {seconds} seconds (panic={seconds})"),
    };
    let words = format!("this node cannot be started: {failure}\nto do: {}\n{then}", failure.remedy());
    log(CRITICAL, &words);
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    for console in active.split_ascii_whitespace() {
        if let Ok(mut console) = OpenOptions::new().write(true).open(format!("/dev/{console}")) {
            // A console in raw mode needs both.
            let _ = console.write_all(format!("\nhabuild: {words}\n").replace('\n', "\r\n").as_bytes());
        }
    }
    if seconds == 0 {
        loop {
            thread::park();
        }
    }
    thread::sleep(Duration::from_secs(seconds.try_into().unwrap_or_default()));
    start_again()
}

/// Starts the machine again, now.
pub fn start_again() -> ! {
    nix::unistd::sync();
    let refused = match reboot(RebootMode::RB_AUTOBOOT) {
        Ok(never) => match never {},
        Err(refused) => refused,
    };
    // The end of process 1 is a panic, and so a start again.
    log(CRITICAL, &format!("the machine cannot be started again: {refused}"));
    std::process::exit(1)
}
