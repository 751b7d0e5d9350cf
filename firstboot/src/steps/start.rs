//! Step `start`: `harbor.service`, which only the agent starts; and the wait for the day when its share is gone.

use std::thread;
use std::time::Duration;

use super::{proof, storage::systemctl};
use crate::configure::STARTED;
use crate::host::Host;
use crate::host::journal;
use crate::noted::{is_noted, note};
use crate::supervise::state;
use crate::trouble::Trouble;

const UNIT: &str = "harbor.service";
/// How often the agent looks whether Harbor must be brought back.
const LOOK: Duration = Duration::from_secs(15);

/// Starts Harbor, or starts it anew unless it was started with what has this digest. Does not wait: the unit may itself be
/// ordered after us.
pub(super) fn harbor(host: &Host, digest: &str) -> Result<(), Trouble> {
    let _ = systemctl(host, &["reset-failed", UNIT]);
    let verb = if is_noted(host, STARTED, digest) { "start" } else { "restart" };
    systemctl(host, &[verb, "--no-block", UNIT])?;
    note(host, STARTED, digest)
}

/// Whether systemd says so of a unit.
fn is(host: &Host, word: &str, unit: &str) -> bool {
    systemctl(host, &[word, "--quiet", unit]).is_ok()
}

/// Returns when the boot's work must be done anew: Harbor does not run because the mount was ended, and `harbor.service`
/// with it; or its supervisor says that the share is not this node's any more, which the steps explain. An operator who
/// stops `harbor.service` alone has the last word.
pub(super) fn until_share_is_gone(host: &Host) {
    loop {
        thread::sleep(LOOK);
        let Ok(expected) = proof::Expected::recorded(host) else { return };
        if is(host, "is-active", UNIT) {
            if let Some(state) = state::read(host).filter(|state| state.state == state::REFUSED) {
                journal::say(&format!("{}: beginning anew", state.message.unwrap_or_default()));
                return;
            }
            continue;
        }
        if !expected.cephfs {
            continue;
        }
        let mount = crate::steps::fstab::mount_unit(&expected.mountpoint);
        if !is(host, "is-active", &mount) {
            journal::say(&format!("{mount} is not active, and Harbor not running: beginning anew"));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::TestMachine;

    #[test]
    fn harbor_is_started_anew_with_what_it_was_not_started_with() {
        let machine = TestMachine::new();
        machine.program("systemctl", "").file("run/habuild/x", "");
        let verbs = |digest| {
            harbor(&machine.host, digest).unwrap();
            machine.calls().last().unwrap().split(' ').nth(1).unwrap().to_owned()
        };
        assert_eq!([verbs("one"), verbs("one"), verbs("two")], ["restart", "start", "restart"]);
        // An agent that ends before it is done has not done it.
        machine.program("systemctl", "test $1 != restart");
        assert!(harbor(&machine.host, "three").is_err());
        machine.program("systemctl", "");
        machine.calls();
        assert_eq!(verbs("three"), "restart");
    }
}
