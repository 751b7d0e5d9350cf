//! A machine that is a directory, with programs that do nothing; Harbor is a listener that answers as a healthy one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{report, text};

/// Answers every request on a port of the loopback address, for as long as the tests run.
pub(crate) fn healthy() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut head = [0; 2048];
            let read = stream.read(&mut head).unwrap_or(0);
            let status = if head[..read].starts_with(b"GET /v2/ ") { "401 Unauthorized" } else { "200 OK" };
            let body = r#"{"status":"healthy"}"#;
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    port
}

/// More than any boot takes that comes to its end.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) struct Machine {
    root: TempDir,
}

impl Machine {
    /// A node that has never booted, with a bundle of this version.
    pub(crate) fn new(version: &str, port: u16) -> Self {
        let machine = Self { root: tempfile::tempdir().unwrap() };
        let node = format!(
            "version: 1\ncluster: hub\nharbor: {{external_url: 'http://hub.example.com', http_port: {port}, admin_password: \
             'ref+file:///etc/admin'}}\nstorage: {{local: {{path: /srv/share}}}}\ndatabase: bundled\nredis: bundled\n"
        );
        for (path, content) in [
            ("etc/admin", "word\n"),
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("var/lib/cloud/data/instance-id", "i-1\n"),
            ("sys/class/tty/console/active", ""),
            ("usr/libexec/docker/cli-plugins/docker-compose", ""),
        ] {
            machine.file(path, content);
        }
        machine.tell(&node);
        machine.bundle(version);
        fs::create_dir_all(machine.at("usr/bin")).unwrap();
        symlink("/usr/bin/openssl", machine.at("usr/bin/openssl")).unwrap();
        for (name, does) in [("systemctl", ""), ("docker", PREPARES)] {
            let script = format!("#!/bin/sh\ncd '{}'\n{PULLED}\n{does}\n", machine.root.path().display());
            machine.file(&format!("usr/bin/{name}"), &script);
            fs::set_permissions(machine.at(&format!("usr/bin/{name}")), fs::Permissions::from_mode(0o755)).unwrap();
        }
        machine
    }

    /// Gives it this node config.
    pub(crate) fn tell(&self, node: &str) {
        self.file("etc/habuild/node.yaml", node);
        fs::set_permissions(self.at("etc/habuild/node.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Gives it the bundle of this version, in place of any other.
    pub(crate) fn bundle(&self, version: &str) {
        let (generation, database) = match version.starts_with("v1.1") {
            true => ("cfg", "vmware/harbor-db:__version__"),
            false => ("yml", "goharbor/harbor-db:v1"),
        };
        let record = format!(
            r#"{{"schema":1,"version":"{version}","generation":"{generation}","images":["goharbor/prepare:{version}","{database}","goharbor/valkey-photon:v1","goharbor/redis-photon:v1"]}}"#
        );
        self.file("usr/share/habuild/bundle.json", &record);
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/stand-in");
        let (from, names): (_, &[&str]) = match version.starts_with("v1.1") {
            true => ("files", &["docker-compose.yml", "harbor.cfg", "common"]),
            false => ("yml", &["harbor.yml.tmpl"]),
        };
        fs::create_dir_all(self.at("usr/share/habuild/bundle")).unwrap();
        for name in names {
            copy(&stand_in.join(from).join(name), &self.at("usr/share/habuild/bundle").join(name));
        }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn file(&self, path: &str, content: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    fn agent(&self) -> Command {
        // What lies there is gone with the boot.
        let _ = fs::remove_dir_all(self.at("run"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_habuild-firstboot"));
        command.arg("boot").arg("--root").arg(self.root.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A boot to its end. An agent that waits for what never comes would go on for ever.
    pub(crate) fn output(&self) -> Output {
        let begun = Instant::now();
        let mut child = self.agent().spawn().unwrap();
        while child.try_wait().unwrap().is_none() && begun.elapsed() < LONGEST {
            std::thread::yield_now();
        }
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        assert!(begun.elapsed() < LONGEST, "the boot did not end: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// A boot whose plug is pulled when its `call`th program has begun.
    pub(crate) fn cut_at_program(&self, call: u32) {
        self.file("plug", &call.to_string());
        let output = self.output();
        let _ = fs::remove_file(self.at("plug"));
        assert!(output.status.code().is_none_or(|code| code == 0), "{}", report(&output));
    }

    /// A boot whose plug is pulled after a time.
    pub(crate) fn cut_after(&self, time: Duration) {
        let mut child = self.agent().spawn().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < time && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// A boot that nobody disturbs; gives how long it took.
    pub(crate) fn whole(&self) -> Duration {
        let begun = Instant::now();
        let output = self.output();
        assert!(output.status.success() && text(&output.stderr).contains("habuild: ready"), "{}", report(&output));
        begun.elapsed()
    }

    /// What lies below `var`, `etc` and `srv`: modes, and the content of what is the same on every node.
    pub(crate) fn state(&self) -> BTreeMap<String, String> {
        let (mut found, mut open) = (BTreeMap::new(), ["var", "etc", "srv"].map(|name| self.at(name)).to_vec());
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
                let name = path.strip_prefix(self.root.path()).unwrap().display().to_string();
                if metadata.is_dir() {
                    open.push(path);
                    found.insert(name, format!("{:o}", metadata.mode()));
                    continue;
                }
                let content = fs::read_to_string(&path).unwrap_or_default();
                let own = [
                    "secret",
                    "key",
                    "passwd",
                    "checked",
                    "prepared",
                    "started",
                    "cluster-",
                    "nodes/",
                    "docker-compose",
                    "/env",
                    "root.crt",
                    "app.conf",
                ];
                let shown = if own.iter().any(|own| name.contains(own)) { String::new() } else { content };
                found.insert(name, format!("{:o} {shown}", metadata.mode()));
            }
        }
        found
    }

    pub(crate) fn secrets(&self) -> Option<Vec<u8>> {
        fs::read(self.at("srv/share/.habuild/secrets.json")).ok()
    }
}

/// Counts down to the program at which the plug is pulled: the agent is gone, and so is the program.
const PULLED: &str = "if [ -e plug ]; then
    read -r left < plug
    if [ \"$left\" -le 1 ]; then kill -9 $PPID; exit 1; fi
    echo $((left - 1)) > plug
fi";

/// What the bundle's `prepare` would write, with another random number at each run.
const PREPARES: &str = "case \"$*\" in run*)
    cd var/lib/habuild/prepare
    for name in core jobservice registryctl; do
        /bin/mkdir -p config/$name
        echo CORE_SECRET=$$ > config/$name/env
        echo JOBSERVICE_SECRET=$$ >> config/$name/env
    done
    echo CSRF_KEY=$$ >> config/core/env
    echo ROBOT_SCANNER_NAME_PREFIX=$$ >> config/core/env
    echo \"services: {core: {image: c, env_file: [./common/config/core/env], volumes: ['/data/registry:/storage']}, \
proxy: {image: p, ports: ['80:8080']}}\" > compose_location/docker-compose.yml
esac";

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}
