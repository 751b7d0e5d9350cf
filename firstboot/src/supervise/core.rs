//! Harbor's core: what is started behind it, and what must not be done to it.

use std::thread;
use std::time::{Duration, Instant};

use contract::harbor::{self, Ping};
use serde_json::Value;

use crate::host::Host;
use crate::host::docker::{self, Container};
use crate::host::{http, journal};

/// It answers at once, or not.
const TIME: Duration = Duration::from_secs(5);
/// How long a core that does not serve yet is let alone when everything is to stop.
const MIGRATION: Duration = Duration::from_secs(15 * 60);
/// How often it is asked meanwhile.
const ASK: Duration = Duration::from_secs(2);

/// The container, and where it says that it serves.
#[derive(Debug)]
pub(super) struct Core {
    container: String,
    ping: Ping,
}

impl Core {
    pub(super) fn new(file: &Value, ping: Ping) -> Self {
        Self { container: harbor::container(file, ping.service), ping }
    }

    pub(super) fn is(&self, container: &str) -> bool {
        self.container == container
    }

    /// Whether `container` comes behind it in the order of starts.
    pub(super) fn is_before(&self, container: &str, order: &[String]) -> bool {
        let place = |name: &str| order.iter().position(|other| other == name);
        place(&self.container).zip(place(container)).is_some_and(|(core, other)| core < other)
    }

    /// Asks it; says what is waited for.
    pub(super) fn answers(&self, host: &Host) -> Result<(), String> {
        let Self { container, ping } = self;
        let waits = |why: &str| Err(format!("waiting for {container}: {why} (journalctl -t {})", ping.service));
        let addresses = docker::addresses(host, std::slice::from_ref(container)).map_err(|error| error.to_string());
        let Some(address) = addresses?.remove(container) else { return waits("it does not run") };
        match http::get(&format!("http://{address}:{}{}", ping.port, ping.path), TIME) {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => waits(&format!("{} answers {}", ping.path, answer.status)),
            Err(error) => waits(&error),
        }
    }

    /// Lets a core that runs and does not serve come to an end of what it does: it may be changing the database's tables, and
    /// one that is killed then leaves them so that no core of the cluster starts any more.
    pub(super) fn let_it_migrate(&self, host: &Host, containers: &[Container]) {
        if !containers.iter().any(|container| self.is(&container.name) && container.runs()) {
            return;
        }
        let begun = Instant::now();
        let mut told = false;
        while let Err(why) = self.answers(host)
            && begun.elapsed() < MIGRATION
        {
            let now = docker::containers(host).unwrap_or_default();
            if !now.iter().any(|container| self.is(&container.name) && container.runs()) {
                return;
            }
            if !std::mem::replace(&mut told, true) {
                journal::say(&format!("{why}: not stopped before, it may be migrating the database"));
            }
            thread::sleep(ASK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::TestMachine;
    use serde_json::json;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn what_is_behind_it() {
        let file = json!({"services": {"core": {"container_name": "harbor-core"}}});
        let core = Core::new(&file, Ping { service: "core", port: 8080, path: "/api/v2.0/ping" });
        let order = ["registry", "harbor-core", "nginx"].map(str::to_owned);
        for (name, expected) in [("registry", false), ("harbor-core", false), ("nginx", true), ("other", false)] {
            assert_eq!(core.is_before(name, &order), expected, "{name}");
        }
    }

    #[test]
    fn it_serves_when_it_answers_200() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let core = Core { container: "core".into(), ping: Ping { service: "core", port, path: "/p" } };
        let machine = TestMachine::new();
        machine.program("docker", "echo '/core 127.0.0.1'");
        for (status, good) in [("503 no", false), ("200 OK", true)] {
            let listener = listener.try_clone().unwrap();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            });
            assert_eq!(core.answers(&machine.host).is_ok(), good, "{status}");
            server.join().unwrap();
        }
        machine.program("docker", "echo '/core'");
        let waits = core.answers(&machine.host).unwrap_err();
        assert_eq!(waits, "waiting for core: it does not run (journalctl -t core)");
    }
}
