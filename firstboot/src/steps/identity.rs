//! Whose disk this is: a disk that was copied from a running node must not go on as that node.
//!
//! Two machines with one machine id get one address from a DHCP server and one name in the journal, and the kept secrets
//! on the disk belong to the instance that resolved them. cloud-init makes new ssh host keys for a new instance by
//! itself (`ssh_deletekeys`); the rest is done here, and takes effect with one restart.
//!
//! The record is written last. An agent that ends before does all of it again; after the restart the machine id is another
//! one, and nothing is left to be done but the record.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::secrets::KEPT;
use crate::steps::systemctl;
use crate::trouble::Trouble;

/// Which instance, on which machine, this disk last was.
const RECORD: &str = "/var/lib/habuild/machine.json";
const MACHINE_ID: &str = "/etc/machine-id";
/// What the kernel's generator is seeded with at a start.
const SEED: &str = "/var/lib/systemd/random-seed";
const SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Machine {
    schema: u32,
    instance: String,
    machine_id: String,
}

/// Whose disk it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// This instance's.
    Own,
    /// It was copied from this instance: the machine starts anew now, as one of its own.
    CopyOf(String),
}

/// Finds out whether the disk was another instance's, and makes it this one's.
///
/// # Errors
/// Passing: what could not be written or removed, or a restart that systemd refuses.
pub(super) fn settle(host: &Host, instance: &str) -> Result<Disk, Trouble> {
    let machine_id = host.read(Path::new(MACHINE_ID)).map(|content| content.bytes).unwrap_or_default();
    let machine_id = String::from_utf8_lossy(&machine_id).trim().to_owned();
    let now = Machine { schema: SCHEMA, instance: instance.to_owned(), machine_id };
    let before = host.read(Path::new(RECORD)).ok().and_then(|content| serde_json::from_slice(&content.bytes).ok());
    let before: Option<Machine> = before.filter(|machine: &Machine| machine.schema == SCHEMA);
    if before.as_ref() == Some(&now) {
        return Ok(Disk::Own);
    }
    let failed = |error: io::Error| Trouble::passing(format!("this disk cannot be made {instance}'s own: {error}"));
    let copied = before.filter(|machine| machine.instance != instance);
    if copied.is_some() {
        forget_kept(host, instance).map_err(failed)?;
    }
    // An empty one is what an earlier attempt left; systemd has made one by the time that the agent runs.
    let copied = copied.filter(|machine| now.machine_id.is_empty() || machine.machine_id == now.machine_id);
    if copied.is_some() {
        host.remove(Path::new(SEED)).map_err(failed)?;
        // Empty and not absent: an absent one starts systemd's first-boot questions.
        host.write(Path::new(MACHINE_ID), b"", 0o444).map_err(failed)?;
        systemctl(host, &["reboot", "--no-block"])?;
    }
    let text = serde_json::to_string(&now).map_err(|error| failed(error.into()))?;
    host.make_private_directory(Path::new("/var/lib/habuild")).map_err(failed)?;
    host.write(Path::new(RECORD), text.as_bytes(), 0o600).map_err(failed)?;
    Ok(copied.map_or(Disk::Own, |machine| Disk::CopyOf(machine.instance)))
}

/// Removes what other instances kept.
fn forget_kept(host: &Host, instance: &str) -> io::Result<()> {
    let files = match host.files_below(Path::new(KEPT)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        files => files?,
    };
    for file in files.iter().filter(|file| !file.starts_with(instance)) {
        host.remove(&PathBuf::from(KEPT).join(file))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::TestMachine;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn machine_id(machine: &TestMachine) -> String {
        String::from_utf8(machine.host.read(Path::new(MACHINE_ID)).unwrap().bytes).unwrap()
    }

    fn node(instance: &str) -> TestMachine {
        let machine = TestMachine::new();
        machine.file("etc/machine-id", &format!("{ID}\n")).file("var/lib/systemd/random-seed", "seed");
        machine.file(&format!("var/lib/habuild/instance/{instance}/secrets.json"), "{}");
        machine.program("systemctl", "");
        assert_eq!(settle(&machine.host, instance).unwrap(), Disk::Own);
        assert!(machine.calls().is_empty());
        machine
    }

    #[test]
    fn a_disk_stays_its_own() {
        let machine = node("i-1");
        assert_eq!(settle(&machine.host, "i-1").unwrap(), Disk::Own);
        assert_eq!(machine_id(&machine).trim(), ID);
        assert!(machine.host.exists(Path::new("/var/lib/habuild/instance/i-1/secrets.json")));
        assert!(machine.host.exists(Path::new(SEED)));
    }

    #[test]
    fn a_copy_becomes_a_machine_of_its_own_once() {
        let machine = node("i-1");
        // A restart that is refused is asked for again.
        machine.program("systemctl", "exit 1");
        assert!(settle(&machine.host, "i-2").unwrap_err().passing);
        machine.program("systemctl", "").calls();
        assert_eq!(settle(&machine.host, "i-2").unwrap(), Disk::CopyOf("i-1".into()));
        assert_eq!(
            (machine_id(&machine), machine.calls()),
            (String::new(), vec!["systemctl reboot --no-block".into()])
        );
        assert!(!machine.host.exists(Path::new("/var/lib/habuild/instance/i-1/secrets.json")));
        assert!(!machine.host.exists(Path::new(SEED)));
        machine.file("etc/machine-id", "fedcba9876543210fedcba9876543210\n");
        assert_eq!(settle(&machine.host, "i-2").unwrap(), Disk::Own);
        assert_eq!(machine_id(&machine), "fedcba9876543210fedcba9876543210\n");
        assert_eq!(settle(&machine.host, "i-2").unwrap(), Disk::Own);
        assert!(machine.calls().is_empty());
    }

    /// The plug was pulled after the machine id was emptied, or an operator had renewed it before the capture.
    #[test]
    fn a_copy_with_another_machine_id_needs_no_restart() {
        let machine = node("i-1");
        machine.file("etc/machine-id", "fedcba9876543210fedcba9876543210\n");
        machine.file("var/lib/habuild/instance/i-2/secrets.json", "{}");
        assert_eq!(settle(&machine.host, "i-2").unwrap(), Disk::Own);
        assert!(!machine.host.exists(Path::new("/var/lib/habuild/instance/i-1/secrets.json")));
        assert!(machine.host.exists(Path::new("/var/lib/habuild/instance/i-2/secrets.json")));
        assert!(machine.calls().is_empty());
    }

    #[test]
    fn a_record_that_is_damaged_or_of_another_form_is_no_copy() {
        for record in ["{", "{}", r#"{"schema":2,"instance":"i-1","machine_id":"x"}"#] {
            let machine = node("i-1");
            machine.file("var/lib/habuild/machine.json", record);
            assert_eq!(settle(&machine.host, "i-2").unwrap(), Disk::Own, "{record}");
            assert_eq!(machine_id(&machine).trim(), ID);
        }
    }
}
