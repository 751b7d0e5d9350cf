//! Reads a machine's serial console: bytes in, signs out.
//!
//! Pure. Firmware, boot loader, kernel, systemd and our own agent all write to the same console, with escape
//! sequences between; a [`Scanner`] cuts that into plain lines and names the lines that decide about a boot.

use std::collections::VecDeque;

/// Something that the console said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// The kernel runs: a line of its own, that many seconds after its start.
    Kernel(u64),
    /// A getty asks for a user name.
    Login,
    /// The node is ready; the line.
    Ready(String),
    /// A first-boot step failed (it may be tried again); the line.
    StepFailed(String),
    /// The kernel gave up; the line.
    Panic(String),
    /// systemd or the initrd gave up and wants a person; the line.
    Emergency(String),
    /// Firmware or boot loader found nothing to start; the line.
    NoBoot(String),
}

impl Sign {
    /// The line, when this machine will not come up any more.
    #[must_use]
    pub fn hopeless(&self) -> Option<&str> {
        match self {
            Self::Panic(line) | Self::Emergency(line) | Self::NoBoot(line) => Some(line),
            _ => None,
        }
    }
}

/// How many lines are kept.
const KEPT: usize = 10_000;
/// A line is cut here: a machine that never ends its line must not fill our memory.
const LONGEST: usize = 4096;

/// The state of an escape sequence between two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    /// After ESC.
    Begun,
    /// After ESC and a byte that announces one more, as in `ESC ( B`.
    One,
    /// Inside `ESC [ … letter`.
    Control,
    /// Inside `ESC ] … BEL`.
    Text,
}

/// Cuts a console into lines and finds signs in them.
#[derive(Debug)]
pub struct Scanner {
    lines: VecDeque<String>,
    line: Vec<u8>,
    escape: Escape,
    /// A carriage return was seen: either half of a line end, or the line is about to be written over.
    returned: bool,
    /// The unfinished line's prompt was reported.
    prompted: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner of an empty console.
    #[must_use]
    pub fn new() -> Self {
        Self { lines: VecDeque::new(), line: Vec::new(), escape: Escape::None, returned: false, prompted: false }
    }

    /// Takes the next bytes, in pieces of any size, and returns the signs in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Sign> {
        let mut signs = Vec::new();
        for &byte in bytes {
            self.byte(byte, &mut signs);
        }
        signs
    }

    /// The last `count` lines, escape sequences and empty lines left out, the unfinished one included.
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<String> {
        let unfinished = Some(text(&self.line)).filter(|line| !line.trim().is_empty());
        let mut lines: Vec<String> = unfinished.into_iter().collect();
        lines.extend(self.lines.iter().rev().take(count.saturating_sub(lines.len())).cloned());
        lines.reverse();
        lines
    }

    fn byte(&mut self, byte: u8, signs: &mut Vec<Sign>) {
        match self.escape {
            Escape::None => {}
            Escape::Begun => {
                self.escape = match byte {
                    b'[' => Escape::Control,
                    b']' => Escape::Text,
                    b'(' | b')' | b'#' | b'%' => Escape::One,
                    _ => Escape::None,
                };
                return;
            }
            Escape::One => return self.escape = Escape::None,
            Escape::Control => {
                if (0x40..=0x7e).contains(&byte) {
                    self.escape = Escape::None;
                    // The cursor jumps: what follows is another line to a person's eye. GRUB draws so.
                    if b"HfABdJ".contains(&byte) {
                        self.end_line(signs);
                    }
                }
                return;
            }
            Escape::Text => {
                match byte {
                    0x07 => self.escape = Escape::None,
                    0x1b => self.escape = Escape::One,
                    _ => {}
                }
                return;
            }
        }
        match byte {
            0x1b => return self.escape = Escape::Begun,
            b'\r' => return self.returned = true,
            b'\n' => {
                self.returned = false;
                return self.end_line(signs);
            }
            _ => {}
        }
        if std::mem::take(&mut self.returned) || self.line.len() >= LONGEST {
            self.end_line(signs);
        }
        if byte >= b' ' || byte == b'\t' {
            self.line.push(byte);
            // Prompts wait for a person: their line does not end.
            if matches!(byte, b':' | b'>') && !self.prompted {
                let prompt = prompt(&text(&self.line));
                self.prompted = prompt.is_some();
                signs.extend(prompt);
            }
        }
    }

    fn end_line(&mut self, signs: &mut Vec<Sign>) {
        self.prompted = false;
        let line = text(&std::mem::take(&mut self.line));
        if line.trim().is_empty() {
            return;
        }
        signs.extend(sign(&line));
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}

/// What an unfinished line asks, when it asks.
fn prompt(line: &str) -> Option<Sign> {
    let line = line.trim();
    if matches!(line, "grub>" | "grub rescue>" | "Shell>") {
        return Some(Sign::NoBoot(line.to_owned()));
    }
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["login:"] => Some(Sign::Login),
        // "Last login: …" greets who has logged in.
        [host, "login:"] if host != "Last" && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) => {
            Some(Sign::Login)
        }
        _ => None,
    }
}

/// What a whole line says.
fn sign(line: &str) -> Option<Sign> {
    let said = |needle: &str| line.contains(needle);
    let owned = || line.trim().to_owned();
    if said("habuild: ready") {
        Some(Sign::Ready(owned()))
    } else if said("habuild: failed") {
        Some(Sign::StepFailed(owned()))
    } else if said("Kernel panic - not syncing") {
        Some(Sign::Panic(owned()))
    } else if EMERGENCY.iter().any(|words| said(words)) {
        Some(Sign::Emergency(owned()))
    } else if NO_BOOT.iter().any(|words| said(words)) {
        Some(Sign::NoBoot(owned()))
    } else {
        kernel_seconds(line).map(Sign::Kernel)
    }
}

/// What systemd, the initrd and those of others print when they give up.
const EMERGENCY: [&str; 7] = [
    "habuild: this node cannot be started",
    "You are in emergency mode",
    "You are in rescue mode",
    "Entering emergency mode",
    "Cannot open access to console, the root account is locked",
    "Freezing execution",
    "ALERT!  ",
];

/// What SeaBIOS and EDK2 print when nothing starts. GRUB's own errors are not here: it goes on after some of them,
/// and its prompt follows the others.
const NO_BOOT: [&str; 4] =
    ["No bootable device", "not a bootable disk", "No bootable option or device was found", "UEFI Interactive Shell"];

/// The whole seconds of a kernel line such as `[   12.345678] text`.
fn kernel_seconds(line: &str) -> Option<u64> {
    let (stamp, _) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let (seconds, fraction) = stamp.trim_start().split_once('.')?;
    if fraction.len() != 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    seconds.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signs of `console`, fed whole and byte by byte alike; kernel lines left out.
    fn signs(console: &str) -> Vec<Sign> {
        let whole = Scanner::new().feed(console.as_bytes());
        let mut scanner = Scanner::new();
        let single: Vec<Sign> = console.bytes().flat_map(|byte| scanner.feed(&[byte])).collect();
        assert_eq!(whole, single);
        whole.into_iter().filter(|sign| !matches!(sign, Sign::Kernel(_))).collect()
    }

    #[test]
    fn finds_the_login_prompt() {
        assert_eq!(signs("Ubuntu 24.04 LTS node ttyS0\r\n\r\nnode login: "), [Sign::Login]);
        assert_eq!(signs("\x1b[H\x1b[Jlogin: "), [Sign::Login]);
        assert_eq!(signs("node login: [   70.1] x\nnode login: "), [Sign::Login, Sign::Login]);
        // Not a prompt: greetings, units, questions.
        assert_eq!(signs("Last login: Tue\n[  OK  ] Started user login: x\nsystemd: y login: z\nmy node login: "), []);
    }

    #[test]
    fn finds_what_the_node_says() {
        assert_eq!(
            signs("node login: habuild: step storage ok 1.2s\r\nhabuild: ready in 20 s\r\n"),
            [Sign::Login, Sign::Ready("habuild: ready in 20 s".into())]
        );
        let line = "habuild: failed step=storage: no monitor";
        assert_eq!(signs(&format!("{line}\n")), [Sign::StepFailed(line.into())]);
        assert_eq!(signs("habuild: ready"), [], "the line is not complete");
    }

    #[test]
    fn finds_what_is_hopeless() {
        for console in [
            "[    1.25] x\n[    9.123456] Kernel panic - not syncing: dm-verity device corrupted\n",
            "You are in emergency mode. After logging in\n",
            "[    2.5] habuild: this node cannot be started: no disk has the root partition\n",
            "\x1b[1mNo bootable device.\x1b[0m\r\n",
            "error: no such partition.\r\nEntering rescue mode...\r\ngrub rescue> ",
            "grub> ",
            "BdsDxe: No bootable option or device was found.\r\n",
        ] {
            let signs = signs(console);
            assert!(matches!(&signs[..], [sign] if sign.hopeless().is_some()), "{console:?}: {signs:?}");
        }
        assert_eq!(signs("error: no suitable video mode found.\nBooting in blind mode\n"), []);
    }

    #[test]
    fn knows_kernel_lines() {
        let mut scanner = Scanner::new();
        assert_eq!(scanner.feed(b"[    0.000000] Linux version 6\n"), [Sign::Kernel(0)]);
        assert_eq!(scanner.feed(b"[   12.000001] systemd[1]: x\n[  OK  ] y\n[1.2] z\n"), [Sign::Kernel(12)]);
    }

    #[test]
    fn keeps_plain_lines() {
        let mut scanner = Scanner::new();
        scanner.feed(b"\x1b[0;32m  OK  \x1b[0m one\r\n\r\n\x1b]0;title\x07two\rthree\n\x1b(Bfo\xffur\x1b[4;1Hfi");
        assert_eq!(scanner.tail(9), ["  OK   one", "two", "three", "fo\u{fffd}ur", "fi"]);
        assert_eq!(scanner.tail(2), ["fo\u{fffd}ur", "fi"]);
        let mut scanner = Scanner::new();
        scanner.feed(&[b'x'; 3 * LONGEST]);
        assert_eq!(scanner.tail(9).len(), 3);
    }
}
