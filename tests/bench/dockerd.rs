//! A real dockerd to compare with: the distribution's packages, unpacked and run by path in namespaces of their own, so
//! that nothing is installed or started on this machine.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use habuild::sys::cmd::{Cmd, Running};
use tempfile::TempDir;

use crate::boot::children;

const PACKAGES: [&str; 3] = ["docker.io", "containerd", "runc"];

/// Docker's programs.
#[derive(Debug)]
pub(crate) struct Docker {
    path: String,
}

impl Docker {
    /// Fetches the packages into the directory `at`, once.
    pub(crate) fn fetch(at: &Path) -> Self {
        if !at.join("usr/bin/docker").exists() {
            fs::create_dir_all(at).unwrap();
            Cmd::program("apt-get").arg("download").args(PACKAGES).current_dir(at).run().unwrap();
            for name in fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()) {
                if name.extension().is_some_and(|extension| extension == "deb") {
                    Cmd::program("dpkg").arg("-x").arg(&name).arg(at).run().unwrap();
                    fs::remove_file(&name).unwrap();
                }
            }
        }
        let own = ["usr/sbin", "usr/bin"].map(|name| at.join(name).display().to_string()).join(":");
        Self { path: format!("{own}:/usr/sbin:/usr/bin:/sbin:/bin") }
    }

    fn program(&self, program: &str) -> Cmd {
        Cmd::program(program).env("PATH", &self.path)
    }

    pub(crate) fn version(&self) -> String {
        let text = self.program("dockerd").arg("--version").output_text().unwrap();
        text.split([' ', ',']).nth(2).unwrap_or_default().to_owned()
    }

    /// Starts dockerd on the data root `data`.
    pub(crate) fn start<'a>(&'a self, data: &Path) -> Dockerd<'a> {
        let scratch = tempfile::tempdir().unwrap();
        let configuration = scratch.path().join("daemon.json");
        fs::write(&configuration, "{}").unwrap();
        let socket = scratch.path().join("docker.sock");
        let mut unshare = Cmd::program("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "dockerd"])
            .env("PATH", &self.path)
            .args(["--bridge=none", "--iptables=false", "--storage-driver=overlay2", "--config-file"])
            .arg(&configuration)
            .arg("--data-root")
            .arg(data)
            .arg("--exec-root")
            .arg(scratch.path().join("exec"))
            .arg("--pidfile")
            .arg(scratch.path().join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", socket.display()))
            .ends_with_us()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let words = BufReader::new(unshare.stderr().unwrap());
        let (sender, listens) = channel();
        let reader = thread::spawn(move || {
            let mut said = String::new();
            for line in words.lines().map_while(Result::ok) {
                if line.contains("API listen on") {
                    let _ = sender.send(Ok(()));
                }
                said += &line;
                said.push('\n');
            }
            let _ = sender.send(Err(said));
        });
        if let Err(said) = listens.recv().unwrap() {
            panic!("dockerd does not start here:\n{said}");
        }
        Dockerd { docker: self, unshare, reader: Some(reader), socket, _scratch: scratch }
    }
}

/// One that runs; it ends when dropped, with everything that it started.
#[derive(Debug)]
pub(crate) struct Dockerd<'a> {
    docker: &'a Docker,
    unshare: Running,
    reader: Option<JoinHandle<()>>,
    socket: PathBuf,
    _scratch: TempDir,
}

impl Dockerd<'_> {
    fn docker(&self) -> Cmd {
        self.docker.program("docker").arg("--host").arg(format!("unix://{}", self.socket.display()))
    }

    /// `docker load`, and what it costs dockerd.
    pub(crate) fn load(&self, saved: &Path) -> Cost {
        let pid = children(&self.unshare)[0].to_string();
        // The peak begins anew.
        fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        let (begun, before) = (Instant::now(), Cost::of(&pid, 0.0));
        self.docker().args(["load", "--quiet", "--input"]).arg(saved).run().unwrap();
        let cost = Cost::of(&pid, begun.elapsed().as_secs_f64());
        Cost { processor: cost.processor - before.processor, ..cost }
    }

    /// How many images it has.
    pub(crate) fn images(&self) -> usize {
        self.docker().args(["images", "--quiet"]).output_text().unwrap().lines().count()
    }
}

impl Drop for Dockerd<'_> {
    fn drop(&mut self) {
        self.unshare.kill();
        // Its words end when the last of its processes has gone.
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

/// What something costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// Seconds of processors: on a busy machine they say more.
    pub(crate) processor: f64,
    /// The most memory held at a time, in bytes.
    pub(crate) memory: u64,
}

impl Cost {
    /// What a process, and what it has started and waited for, has used up so far; but the memory is its own.
    pub(crate) fn of(pid: &str, seconds: f64) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let memory = line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        // Hundredths of a second: its own in user space and in the kernel, its children's.
        let ticks = fields.skip(11).take(4).map(|field| field.parse::<f64>().unwrap()).sum::<f64>();
        Self { seconds, processor: ticks / 100.0, memory }
    }
}
