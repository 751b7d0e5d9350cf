//! A node that runs as a machine, reached by ssh.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use habuild::boot::{Forward, Goal, Machine, Options, Outcome, Until};
use habuild::spec::image::Firmware;
use habuild::spec::names::ByteSize;
use habuild::sys::cmd::{Cmd, Tool};
use tempfile::TempDir;

/// The disk's size: larger than the image's, so that there is something to grow into.
pub(crate) const DISK: ByteSize = ByteSize(20 << 30);
/// How long a boot may take. Emulation on a busy host is slow.
const BOOT: Duration = Duration::from_secs(900);
const USER: &str = "tester";

/// The image that the environment variable `name` names.
pub(crate) fn image(name: &str) -> PathBuf {
    let path = std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: it is the path of a qcow2 image"));
    let path = PathBuf::from(path);
    assert!(path.is_file(), "{name} is {}, which is not a file", path.display());
    path
}

/// The options with which images are booted here.
pub(crate) fn options(image: &Path, firmware: Firmware) -> Options {
    Options {
        firmware,
        disk_size: Some(DISK),
        show_console: false,
        cache: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))),
        ..Options::new(image)
    }
}

/// A node's machine.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) machine: Machine,
    dir: TempDir,
}

impl Node {
    /// Starts a machine with `more` in its user-data and with these forwards besides ssh's; does not wait for it.
    pub(crate) fn start(image: &Path, firmware: Firmware, more: &str, forwards: &[Forward]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        Cmd::new(Tool::SshKeygen).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).run().unwrap();
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let user_data = dir.path().join("user-data");
        let data = format!(
            "#cloud-config\nusers:\n  - name: {USER}\n    shell: /bin/sh\n    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n    ssh_authorized_keys:\n      - {}\n{more}",
            public.trim()
        );
        fs::write(&user_data, data).unwrap();
        let options = Options {
            user_data: Some(user_data),
            forwards: [Forward { host: 0, guest: 22 }].iter().chain(forwards).copied().collect(),
            ..options(image, firmware)
        };
        let machine = Machine::start(&options).unwrap();
        Self { machine, dir }
    }

    /// Waits until ssh answers.
    pub(crate) fn logged_in(mut self) -> Self {
        self.says(Until::Login);
        self.reach(|_boot| true);
        self
    }

    /// Waits until the console says so.
    pub(crate) fn says(&mut self, what: Until) {
        match self.machine.wait(Goal::Until(what), Some(BOOT)) {
            Ok(Outcome::Reached) => {}
            other => panic!("{other:?}"),
        }
    }

    /// The port of this host that leads to a port of the machine.
    pub(crate) fn port(&self, guest: u16) -> u16 {
        self.machine.forwards().iter().find(|forward| forward.guest == guest).unwrap().host
    }

    /// Runs a shell script as root and returns what it wrote to standard output.
    pub(crate) fn root(&self, script: &str) -> Result<String> {
        let output = Cmd::new(Tool::Ssh)
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"])
            .args(["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15", "-F", "none"])
            .arg("-i")
            .arg(self.dir.path().join("key"))
            .args(["-p", &self.port(22).to_string(), &format!("{USER}@127.0.0.1"), "sudo", "sh", "-s"])
            .input(script)
            .output_text()?;
        Ok(output)
    }

    /// Runs a script that ends this boot, and waits until ssh answers from the next.
    pub(crate) fn restart(&self, script: &str) {
        let before = self.boot_id().unwrap();
        // The connection may end before the answer comes; the new boot id tells whether it worked.
        let _ = self.root(script);
        self.reach(|boot| boot != before);
    }

    fn boot_id(&self) -> Result<String> {
        self.root("cat /proc/sys/kernel/random/boot_id").context("ssh does not answer")
    }

    /// Waits until ssh answers from a boot that `wanted` accepts.
    fn reach(&self, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + BOOT;
        loop {
            let answer = self.boot_id();
            if answer.as_ref().is_ok_and(|boot| wanted(boot)) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "no ssh within {} s: {answer:?}; the console:\n{}",
                BOOT.as_secs(),
                self.machine.tail(30).join("\n")
            );
            // ssh fails at once while nobody listens; this only keeps the loop from spinning.
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}
