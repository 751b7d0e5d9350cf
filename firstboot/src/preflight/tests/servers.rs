//! MariaDB, PostgreSQL and Redis as processes of one test: on loopback, in a directory of their own, gone when the test is.
#![expect(clippy::disallowed_methods, reason = "starts the servers that are looked at")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A running server. Dropping it ends the process and removes its directory.
pub(super) struct Server {
    child: Child,
    /// What ends it at once.
    end: Signal,
    pub(super) port: u16,
    directory: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let _ = kill(pid, self.end);
        let _ = self.child.wait();
    }
}

impl Server {
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// MariaDB that has run these statements as its root.
    pub(super) fn mariadb(directory: TempDir, statements: &str, options: &[&str]) -> Self {
        let (data, init) = (directory.path().join("data"), directory.path().join("init.sql"));
        fs::write(&init, statements).unwrap();
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--force"]);
        install.arg("--innodb-log-file-size=4M").arg(format!("--datadir={}", data.display()));
        // Two at a time would remove each other's temporary tables.
        install.arg(format!("--tmpdir={}", directory.path().display()));
        if is_root() {
            install.arg("--user=root");
        }
        let output = install.stdin(Stdio::null()).output().expect("mariadb-install-db: make setup installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = |option: &str, name: &str| format!("--{option}={}", directory.path().join(name).display());
        let fixed = [
            "--no-defaults".to_owned(),
            path("datadir", "data"),
            path("socket", "socket"),
            path("pid-file", "pid"),
            path("init-file", "init.sql"),
            path("tmpdir", "data"),
        ];
        // The character set is Debian's default, which is too wide for Harbor's schema.
        let small = "--bind-address=127.0.0.1 --skip-name-resolve --skip-log-bin --innodb-buffer-pool-size=8M \
                     --innodb-log-file-size=4M --innodb-flush-log-at-trx-commit=0 --innodb-use-native-aio=0 \
                     --performance-schema=0 --character-set-server=utf8mb4";
        Self::start(directory, "ready for connections", Signal::SIGKILL, |port| {
            let mut command = Command::new("mariadbd");
            command.args(&fixed).args(small.split_whitespace()).arg(format!("--port={port}")).args(options);
            if is_root() {
                command.arg("--user=root");
            }
            command
        })
    }

    /// PostgreSQL whose superuser is `admin`, with these lines in `pg_hba.conf` and these settings. What lies in the
    /// directory before is given to the server's user: PostgreSQL does not run as root.
    pub(super) fn postgres(directory: TempDir, hba: &str, settings: &[&str]) -> Self {
        let (programs, data) = (postgres_programs(), directory.path().join("data"));
        own(directory.path());
        let mut install = Command::new(programs.join("initdb"));
        install.args(["--username=admin", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"]);
        install.arg(&data).current_dir(directory.path());
        let output = unprivileged(&mut install).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::write(data.join("pg_hba.conf"), hba).unwrap();
        let standby = settings.contains(&"hot_standby=on");
        if standby {
            fs::write(data.join("standby.signal"), "").unwrap();
        }
        let fixed = "listen_addresses=127.0.0.1 unix_socket_directories= fsync=off shared_buffers=8MB \
                     dynamic_shared_memory_type=mmap autovacuum=off";
        // Killed outright it would leave a segment of shared memory behind.
        Self::start(directory, "ready to accept", Signal::SIGQUIT, |port| {
            let mut command = Command::new(programs.join("postgres"));
            command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
            for setting in fixed.split_whitespace().chain(settings.iter().copied()) {
                command.arg("-c").arg(setting);
            }
            unprivileged(&mut command);
            command
        })
    }

    /// Redis with these options; `{port}` in them stands for the port.
    pub(super) fn redis(directory: TempDir, options: &str) -> Self {
        let place = directory.path().to_owned();
        // One program under several names; the package with the server's name would also start it as a service.
        let program = place.join("redis-server");
        std::os::unix::fs::symlink("/usr/bin/redis-check-rdb", &program).unwrap();
        Self::start(directory, "Ready to accept connections", Signal::SIGKILL, |port| {
            let mut command = Command::new(&program);
            let fixed = "--bind 127.0.0.1 --save \"\" --appendonly no --daemonize no --logfile \"\" --dir";
            command.args(fixed.split_whitespace().map(|word| word.trim_matches('"'))).arg(&place);
            command.args(options.replace("{port}", &port.to_string()).split_whitespace());
            command
        })
    }

    /// Starts it, and waits until it says that it is ready. The port may be taken by others before it is bound.
    fn start(directory: TempDir, ready: &str, end: Signal, command: impl Fn(u16) -> Command) -> Self {
        let mut log = String::new();
        for _ in 0..3 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = command(port);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}: make setup"));
            let (sender, lines) = mpsc::channel();
            follow(child.stdout.take().unwrap(), sender.clone());
            follow(child.stderr.take().unwrap(), sender);
            while let Ok(line) = lines.recv_timeout(Duration::from_secs(90)) {
                if line.contains(ready) {
                    return Self { child, end, port, directory };
                }
                log.push_str(&line);
                log.push('\n');
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("the server does not become ready:\n{log}");
    }
}

/// Hands a server's lines on, and goes on reading when nobody wants them, so that it never waits for a reader.
fn follow(stream: impl Read + Send + 'static, sender: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
}

/// The newest server that is there: Debian keeps each version's programs apart, and none of them in the search path.
fn postgres_programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("postgresql: make setup installs it");
    let versions = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let newest = versions.max().expect("a version of PostgreSQL below /usr/lib/postgresql");
    PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"))
}

/// Gives a directory and what lies in it to who `unprivileged` runs as, and the files to nobody else.
fn own(directory: &Path) {
    let owner = is_root().then_some(NOBODY);
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&path, owner, owner).unwrap();
    }
    std::os::unix::fs::chown(directory, owner, owner).unwrap();
}

/// The user and group that every system has for what should have no rights.
const NOBODY: u32 = 65534;

fn unprivileged(command: &mut Command) -> &mut Command {
    if is_root() { command.uid(NOBODY).gid(NOBODY) } else { command }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
