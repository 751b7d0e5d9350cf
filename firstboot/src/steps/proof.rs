//! Proof that the share is the share: asked for before anything that writes to it, or binds it.
//!
//! A directory that only looks like the share is what Harbor 1.1 to 1.5 empty the whole cluster's database for. So:
//! mounted, a CephFS, of this cluster by its stamp, and a write that can be read back.
//!
//! A share that does not answer holds whoever touches it in the kernel, where no signal reaches. So [`ask`] has a child
//! of ours do it, and gives up on the child.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::trouble::{Trouble, WRONG};

/// What is to be proved in this boot; written by the step `storage`, gone with the boot.
const EXPECTED: &str = "/run/habuild/share.json";

/// The magic number of CephFS (`CEPH_SUPER_MAGIC` in the kernel's `magic.h`).
const CEPH: u64 = 0x00c3_6400;

/// A dead peer's locks take up to a minute to go, and a monitor's election some seconds more.
const PATIENCE: Duration = Duration::from_secs(150);

/// What the share must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// Where it is mounted: a path without links.
    pub(crate) mountpoint: String,
    /// Whether it is a CephFS; otherwise a directory of the node.
    pub(crate) cephfs: bool,
    /// Names the file that this node writes.
    pub(crate) instance: String,
    /// Once the stamp is known: which cluster it must name.
    pub(crate) cluster: Option<String>,
}

impl Expected {
    /// Writes down what the following proofs are about.
    pub(crate) fn record(&self, host: &Host) -> Result<(), Trouble> {
        let write = || -> std::io::Result<()> {
            host.make_directory(Path::new("/run/habuild"), 0o755)?;
            let text = serde_json::to_string(self)?;
            host.write(Path::new(EXPECTED), text.as_bytes(), 0o644).map(|_| ())
        };
        write().map_err(|error| Trouble::passing(format!("{EXPECTED} cannot be written: {error}")))
    }

    /// What was written down.
    pub(crate) fn recorded(host: &Host) -> Result<Self, Trouble> {
        let content = host.read(Path::new(EXPECTED)).map_err(|error| {
            Trouble::lasting(format!("the share was not prepared in this boot: {EXPECTED}: {error}"))
                .hint("systemctl restart habuild-firstboot")
        })?;
        serde_json::from_slice(&content.bytes).map_err(|error| Trouble::lasting(format!("{EXPECTED}: {error}")))
    }
}

/// Proves it, in this process.
pub(crate) fn prove(host: &Host, expected: &Expected) -> Result<(), Trouble> {
    let at = Path::new(&expected.mountpoint);
    let shown = &expected.mountpoint;
    let failed = |what: &str, error: std::io::Error| Trouble::passing(format!("{shown}: {what}: {error}"));
    if expected.cephfs {
        let magic = host.magic(at).map_err(|error| failed("cannot be looked at", error))?;
        if magic != CEPH {
            return Err(Trouble::passing(format!("{shown}: the share is not mounted (file system {magic:#x})")));
        }
        if !host.is_mountpoint(at).map_err(|error| failed("cannot be looked at", error))? {
            return Err(Trouble::passing(format!("{shown}: lies in a CephFS, but nothing is mounted there")));
        }
    }
    if let Some(cluster) = &expected.cluster {
        let found =
            crate::share::cluster(&host.below(at)).map_err(|error| Trouble::passing(format!("{shown}: {error}")))?;
        if found.as_ref() != Some(cluster) {
            let found = found.map_or("no stamp".to_owned(), |found| format!("the stamp of cluster {found:?}"));
            let message = format!("{shown}: holds {found}, and this node belongs to {cluster:?}");
            return Err(Trouble::lasting(message).hint("check storage.cephfs.path"));
        }
    }
    let ours = at.join(".habuild");
    host.make_directory(&ours, 0o700).map_err(|error| failed("cannot be written", error))?;
    let file = ours.join(format!("node-{}", expected.instance));
    let text = format!("{} proves here that it can write\n", expected.instance);
    host.write(&file, text.as_bytes(), 0o600).map_err(|error| failed("cannot be written", error))?;
    let read = host.read(&file).map_err(|error| failed("cannot be read back", error))?;
    if read.bytes != text.as_bytes() {
        return Err(Trouble::passing(format!("{}: reads other than was written", file.display())));
    }
    host.remove(&file).map_err(|error| failed("cannot be written", error))
}

/// Has a child of ours prove what is recorded.
pub(crate) fn ask(host: &Host) -> Result<(), Trouble> {
    // Tests run below another root, where there is no share that hangs.
    if host.is_test() {
        return prove(host, &Expected::recorded(host)?);
    }
    let asked = host.command("/proc/self/exe").args(["check", "--share"]).time(PATIENCE).run();
    match asked {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(WRONG.into()) => Err(Trouble::lasting(error.said())),
        Err(error) if error.code().is_some() => Err(Trouble::passing(error.said())),
        Err(error) => Err(Trouble::passing(format!("the share does not answer: {error}"))
            .hint("are Ceph's monitors and metadata servers up?")),
    }
}

/// Whether the share, though it does not answer, is still what lies at the mountpoint. Asks the kernel's list of mounts,
/// which does not touch the share.
pub(crate) fn may_be_right(host: &Host, mountpoint: &str) -> bool {
    Expected::recorded(host).is_ok_and(|expected| !expected.cephfs) || is_mounted(host, mountpoint)
}

/// Whether the kernel says that a CephFS is mounted there.
pub(crate) fn is_mounted(host: &Host, mountpoint: &str) -> bool {
    let mounts = host.read(Path::new("/proc/self/mountinfo")).map(|content| content.bytes).unwrap_or_default();
    mounted_as_ceph(&String::from_utf8_lossy(&mounts), mountpoint)
}

/// Whether the last mount at `mountpoint` is a CephFS: field 5 is the place, the one after ` - ` the kind (proc(5)).
fn mounted_as_ceph(mounts: &str, mountpoint: &str) -> bool {
    let kind = |line| -> Option<&str> {
        let line: &str = line;
        let (left, right) = line.split_once(" - ")?;
        if left.split(' ').nth(4)? == mountpoint { right.split(' ').next() } else { None }
    };
    mounts.lines().filter_map(kind).next_back() == Some("ceph")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_last_counts() {
        let ceph = "97 30 0:45 / /mnt/cephfs/harbor rw,noatime shared:52 - ceph 10.0.0.1:/apps rw,name=harbor\n";
        let other = "98 97 0:46 / /mnt/cephfs/harbor rw - tmpfs tmpfs rw\n";
        assert!(mounted_as_ceph(ceph, "/mnt/cephfs/harbor"));
        assert!(!mounted_as_ceph(ceph, "/mnt/cephfs"));
        assert!(!mounted_as_ceph(&format!("{ceph}{other}"), "/mnt/cephfs/harbor"));
        assert!(!mounted_as_ceph("", "/mnt/cephfs/harbor"));
    }

    #[test]
    fn a_directory_that_is_no_cephfs_is_not_the_share() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        std::fs::create_dir_all(root.path().join("srv/share")).unwrap();
        let expected =
            Expected { mountpoint: "/srv/share".to_owned(), cephfs: true, instance: "i-1".to_owned(), cluster: None };
        let trouble = prove(&host, &expected).unwrap_err();
        assert!(trouble.passing && trouble.message.contains("the share is not mounted"), "{trouble}");
        assert!(!root.path().join("srv/share/.habuild").exists(), "nothing is written before the proof");
        prove(&host, &Expected { cephfs: false, ..expected.clone() }).unwrap();
        let left = std::fs::read_dir(root.path().join("srv/share/.habuild")).unwrap().count();
        assert_eq!(left, 0);
        let wrong = Expected { cephfs: false, cluster: Some("hub".to_owned()), ..expected };
        let trouble = prove(&host, &wrong).unwrap_err();
        assert!(trouble.message.contains("no stamp"), "{trouble}");
    }
}
