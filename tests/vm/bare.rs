//! A machine of disks and a serial console, and nothing else: for what happens before there is a node.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use habuild::sys::cmd::{Cmd, Running, Tool};

/// Emulation on a busy host is slow; without a disk, the initrd waits for 90 seconds.
const PATIENCE: Duration = Duration::from_secs(400);

pub(crate) struct Bare {
    // Dropping it ends QEMU.
    _qemu: Running,
    keys: ChildStdin,
    console: Receiver<Vec<u8>>,
    pub(crate) said: String,
}

impl Bare {
    /// Starts it with raw `disks`, on virtio or what `controller` and `device` of QEMU's make; what it writes to them is lost.
    pub(crate) fn start(disks: &[&Path], controller: &[&str], device: &str) -> Self {
        let mut command = Cmd::new(Tool::QemuSystem)
            .args(["-no-user-config", "-nodefaults", "-display", "none", "-machine", "q35", "-vga", "std"])
            .args([
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                "1024",
                "-no-reboot",
                "-serial",
                "stdio",
            ])
            .args(controller);
        for (number, disk) in disks.iter().enumerate() {
            let drive = format!("id=d{number},if=none,format=raw,snapshot=on,file={}", disk.display());
            command = command.args(["-drive", &drive, "-device", &format!("{device},drive=d{number}")]);
        }
        let mut qemu = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keys, mut pipe) = (qemu.stdin().unwrap(), qemu.stdout().unwrap());
        let (sender, console) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { _qemu: qemu, keys, console, said: String::new() }
    }

    /// Waits until the console has said `words` behind what was waited for before.
    pub(crate) fn says(&mut self, words: &str) {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.said.find(words) {
                self.said.drain(..at + words.len());
                return;
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            match self.console.recv_timeout(left) {
                Ok(bytes) => self.said.push_str(&String::from_utf8_lossy(&bytes).replace('\r', "")),
                Err(error) => panic!("{words:?} was not said ({error}):\n{}", self.said),
            }
        }
    }

    /// Types `text` and the Enter key.
    pub(crate) fn types(&mut self, text: &str) {
        self.keys.write_all(format!("{text}\n").as_bytes()).unwrap();
    }
}
