//! The proxy and what it leads to. nginx resolves the names of the other containers once, when it starts: when one of them
//! has another address since then, it sends requests to whoever has the old one (seen with Harbor 2.15.2: the core's
//! requests went to the registry's controller), until it is started anew.

use std::collections::BTreeMap;
use std::path::Path;

use crate::host::Host;
use crate::host::docker;

/// The addresses that the proxy found at its start; gone with the boot, as the containers' processes are.
const FOUND: &str = "/run/habuild/addresses.json";

/// Writes down which addresses the proxy finds when it starts now. That it cannot be written costs a restart of the proxy.
pub(super) fn starts(host: &Host, behind: &[String]) {
    let found = docker::addresses(host, behind).ok().and_then(|found| serde_json::to_vec(&found).ok());
    let written = found.is_some_and(|found| host.write(Path::new(FOUND), &found, 0o600).is_ok());
    if !written {
        let _ = host.remove(Path::new(FOUND));
    }
}

/// The container that runs at another address than the proxy knows, if there is one.
pub(super) fn moved(host: &Host, behind: &[String]) -> Option<String> {
    let known = host.read(Path::new(FOUND)).ok()?;
    let known: BTreeMap<String, String> = serde_json::from_slice(&known.bytes).ok()?;
    let now = docker::addresses(host, behind).ok()?;
    // One that does not run has none, and the proxy waits for it.
    now.into_iter().find(|(name, at)| known.get(name) != Some(at)).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::TestMachine;

    #[test]
    fn another_address_is_noticed() {
        let machine = TestMachine::new();
        machine.file("run/habuild/x", "");
        let others = ["core", "portal"].map(str::to_owned);
        let says = |lines: &str| {
            machine.program("docker", &format!("printf '{lines}'"));
        };
        says("/core 10.0.0.2\\n/portal 10.0.0.3\\n");
        assert_eq!(moved(&machine.host, &others), None, "nothing is known of a proxy that was never started");
        starts(&machine.host, &others);
        assert_eq!(moved(&machine.host, &others), None);
        says("/core\\n/portal 10.0.0.3\\n");
        assert_eq!(moved(&machine.host, &others), None, "one that does not run");
        says("/core 10.0.0.4\\n/portal 10.0.0.3\\n");
        assert_eq!(moved(&machine.host, &others).as_deref(), Some("core"));
        machine.program("docker", "exit 1");
        assert_eq!(moved(&machine.host, &others), None, "Docker does not answer");
        starts(&machine.host, &others);
        says("/core 10.0.0.2\\n");
        assert_eq!(moved(&machine.host, &others), None);
    }
}
