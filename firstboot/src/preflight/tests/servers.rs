//! MariaDB and Redis as processes of one test: on loopback, in a directory of their own, gone when the test is.
#![expect(clippy::disallowed_methods, reason = "starts the servers that are looked at")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// A running server. Dropping it ends the process and removes its directory.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    directory: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
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
        Self::start(directory, "ready for connections", |port| {
            let mut command = Command::new("mariadbd");
            command.args(&fixed).args(small.split_whitespace()).arg(format!("--port={port}")).args(options);
            if is_root() {
                command.arg("--user=root");
            }
            command
        })
    }

    /// Redis with these options; `{port}` in them stands for the port.
    pub(super) fn redis(directory: TempDir, options: &str) -> Self {
        let place = directory.path().to_owned();
        // One program under several names; the package with the server's name would also start it as a service.
        let program = place.join("redis-server");
        std::os::unix::fs::symlink("/usr/bin/redis-check-rdb", &program).unwrap();
        Self::start(directory, "Ready to accept connections", |port| {
            let mut command = Command::new(&program);
            let fixed = "--bind 127.0.0.1 --save \"\" --appendonly no --daemonize no --logfile \"\" --dir";
            command.args(fixed.split_whitespace().map(|word| word.trim_matches('"'))).arg(&place);
            command.args(options.replace("{port}", &port.to_string()).split_whitespace());
            command
        })
    }

    /// Starts it, and waits until it says that it is ready. The port may be taken by others before it is bound.
    fn start(directory: TempDir, ready: &str, command: impl Fn(u16) -> Command) -> Self {
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
                    return Self { child, port, directory };
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

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
