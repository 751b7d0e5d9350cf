//! Proof that the share is the share: asked for before anything that writes to it, or binds it.
//!
//! A directory that only looks like the share is what Harbor 1.1 to 1.5 empty the whole cluster's database for. So:
//! mounted, a CephFS, of this cluster by its stamp, and a write that can be read back.
//!
//! A share that does not answer holds whoever touches it in the kernel, where no signal reaches. So [`ask`] has a child
//! of ours do it, and gives up on the child.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::share::Stamp;
use crate::share::nodes::Seen;
use crate::trouble::{REMOUNT, Trouble, WRONG};
use contract::schema::Cephfs;

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
    /// Which cluster a stamp must name.
    pub(crate) cluster: String,
    /// What the highest stamp must say besides, once this node has come to terms with the share.
    pub(crate) settled: Option<Terms>,
}

/// What a node and its share agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terms {
    /// The version of Harbor.
    pub(crate) harbor: String,
    /// SHA-256 of the shared secrets' text.
    pub(crate) secrets: String,
}

/// What the share is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// Harbor's containers: there must be terms, and the stamp must say the same.
    Harbor,
    /// The agent, which is about to come to terms with it.
    Agent,
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

    /// The same, but where all that is expected was written down before, the terms stay: an agent that starts anew does
    /// not disturb a Harbor that runs.
    pub(crate) fn record_unless_settled(&self, host: &Host) -> Result<(), Trouble> {
        let before = Self::recorded(host).map(|before| Self { settled: None, ..before });
        if before.as_ref() == Ok(self) { Ok(()) } else { self.record(host) }
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

/// Proves it, in this process. A share that is full is the right one: what is to be said of it comes back.
pub(crate) fn prove(host: &Host, expected: &Expected, wanted: For) -> Result<Option<String>, Trouble> {
    let at = Path::new(&expected.mountpoint);
    let shown = &expected.mountpoint;
    let failed = |what: &str, error: std::io::Error| {
        let trouble = Trouble::passing(format!("{shown}: {what}: {error}"));
        if mended_by_a_mount(&error) { trouble.remount() } else { trouble }
    };
    if expected.cephfs {
        let magic = host.magic(at).map_err(|error| failed("cannot be looked at", error))?;
        if magic != CEPH {
            let message = format!("{shown}: the share is not mounted (file system {magic:#x})");
            return Err(Trouble::passing(message).remount());
        }
        if !host.is_mountpoint(at).map_err(|error| failed("cannot be looked at", error))? {
            let message = format!("{shown}: lies in a CephFS, but nothing is mounted there");
            return Err(Trouble::passing(message).remount());
        }
    }
    let stamp = crate::share::stamp(&host.below(at)).map_err(|error| failed("its stamp cannot be read", error))?;
    let stamp =
        stamp.map_err(|what| Trouble { passing: true, ..crate::share::damaged_stamp(&format!("{shown}/{what}")) })?;
    fits(expected, stamp.as_ref(), wanted)?;
    match written(host, expected, wanted) {
        Ok(true) => Ok(None),
        Ok(false) => Err(Trouble::passing(format!("{shown}: reads other than was written"))),
        // Harbor must run, or nobody could delete images to make room.
        Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            Ok(Some(format!("{shown}: is full, so nothing can be pushed: {error}")))
        }
        Err(error) => Err(failed("cannot be written and read back", error)),
    }
}

/// Writes, and says whether the same was read back.
fn written(host: &Host, expected: &Expected, wanted: For) -> std::io::Result<bool> {
    let at = Path::new(&expected.mountpoint);
    if let (For::Harbor, Some(terms)) = (wanted, &expected.settled) {
        return Seen::now(host, &expected.instance, &terms.harbor).leave(host, at);
    }
    // On what may be another's share nothing stays.
    let ours = at.join(".habuild");
    host.make_directory(&ours, 0o700)?;
    let file = ours.join(format!("node-{}", expected.instance));
    let text = format!("{} proves here that it can write\n", expected.instance);
    host.write(&file, text.as_bytes(), 0o600)?;
    let same = host.read(&file)?.bytes == text.as_bytes();
    host.remove(&file)?;
    Ok(same)
}

/// What a client gets that was evicted, or whose mount is gone: another mount helps. It does not against a full or read-only
/// share, nor against one that does not answer.
fn mended_by_a_mount(error: &std::io::Error) -> bool {
    let known = [Errno::EIO, Errno::ESTALE, Errno::ESHUTDOWN, Errno::ENOTCONN];
    error.raw_os_error().is_some_and(|number| known.contains(&Errno::from_raw(number)))
}

/// Whether the highest stamp is what it must be.
fn fits(expected: &Expected, stamp: Option<&Stamp>, wanted: For) -> Result<(), Trouble> {
    let Expected { mountpoint: shown, cluster, settled, .. } = expected;
    if let Some(stamp) = stamp {
        stamp.must_be_of(cluster, shown)?;
    }
    let terms = match (settled, wanted) {
        (_, For::Agent) => return Ok(()),
        (Some(terms), For::Harbor) => terms,
        (None, For::Harbor) => {
            let message = format!("{shown}: this node has not come to terms with its share yet");
            return Err(Trouble::passing(message).hint("habuild-firstboot status says what it waits for"));
        }
    };
    let Some(stamp) = stamp else {
        let message = format!("{shown}: holds no stamp any more, and this node belongs to {cluster:?}");
        return Err(Trouble::lasting(message).hint("check storage.cephfs.path: it may be another directory now"));
    };
    if stamp.harbor != terms.harbor {
        let Stamp { harbor, instance, .. } = stamp;
        let message = format!(
            "{shown}: cluster {cluster:?} runs Harbor {harbor} since {instance} upgraded it, and this node holds {}",
            terms.harbor
        );
        return Err(Trouble::lasting(message).hint(format!("replace this node: boot an image with Harbor {harbor}")));
    }
    if stamp.secrets != terms.secrets {
        let message = format!("{shown}: a share of cluster {cluster:?}, but with other secrets than this node's");
        return Err(Trouble::lasting(message).hint("is it another Ceph, or a share that was made anew?"));
    }
    Ok(())
}

/// Has a child of ours prove what is recorded; gives what is to be said of a share that is the right one.
pub(crate) fn ask(host: &Host, wanted: For) -> Result<Option<String>, Trouble> {
    // Tests run below another root, where there is no share that hangs.
    if host.is_test() {
        return prove(host, &Expected::recorded(host)?, wanted);
    }
    let check = ["check", "--share", "--unsettled"];
    let args = if wanted == For::Agent { &check[..] } else { &check[..2] };
    let asked = host.command("/proc/self/exe").args(args).time(PATIENCE).run();
    match asked {
        Ok(said) => Ok(Some(String::from_utf8_lossy(&said).trim().to_owned()).filter(|said| !said.is_empty())),
        Err(error) if error.code() == Some(WRONG.into()) => Err(Trouble::lasting(error.said())),
        Err(error) if error.code() == Some(REMOUNT.into()) => Err(Trouble::passing(error.said()).remount()),
        Err(error) if error.code().is_some() => Err(Trouble::passing(error.said())),
        Err(error) => Err(Trouble::passing(format!("the share does not answer: {error}"))
            .hint("are Ceph's monitors and metadata servers up?")),
    }
}

/// The share of this boot, for whoever looks at it beside the agent: proved, so that a share that hangs holds nobody.
pub(crate) fn proved(host: &Host) -> Result<Expected, Trouble> {
    let expected = Expected::recorded(host)?;
    ask(host, For::Agent)?;
    Ok(expected)
}

/// Whether the share, though it does not answer, is still what lies at the mountpoint. Asks the kernel's list of mounts,
/// which does not touch the share.
pub(crate) fn may_be_right(host: &Host, mountpoint: &str) -> bool {
    Expected::recorded(host).is_ok_and(|expected| !expected.cephfs) || is_mounted(host, mountpoint)
}

/// A CephFS as the kernel's list of mounts shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The directory of the file system.
    pub(crate) path: String,
    /// The client.
    pub(crate) client: Option<String>,
}

impl Mount {
    /// Whether it is what the node config names. What the kernel does not show counts as right.
    pub(crate) fn is_of(&self, share: &Cephfs) -> bool {
        let path = |path: &str| path.trim_end_matches('/').replace("\\040", " ");
        path(&self.path) == path(&share.path) && self.client.as_ref().is_none_or(|client| *client == share.client)
    }
}

/// Whether the kernel says that a CephFS is mounted there.
pub(crate) fn is_mounted(host: &Host, mountpoint: &str) -> bool {
    mount(host, mountpoint).is_some()
}

/// The CephFS that is mounted there, by the kernel's list.
pub(crate) fn mount(host: &Host, mountpoint: &str) -> Option<Mount> {
    let mounts = host.read(Path::new("/proc/self/mountinfo")).map(|content| content.bytes).unwrap_or_default();
    mounted_as_ceph(&String::from_utf8_lossy(&mounts), mountpoint)
}

/// The last mount at `mountpoint`, if it is a CephFS: field 5 is the place; behind ` - ` stand the kind, the source and the
/// file system's options (proc(5)).
fn mounted_as_ceph(mounts: &str, mountpoint: &str) -> Option<Mount> {
    let at = |line: &&str| line.split(' ').nth(4) == Some(mountpoint);
    let (_, right) = mounts.lines().rfind(at)?.split_once(" - ")?;
    let mut words = right.split(' ');
    let (kind, source, options) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    // `MONITOR,…:PATH`, or since Linux 5.17 `CLIENT@FSID.NAME=PATH`.
    let path = source.find(":/").or(source.find("=/")).and_then(|at| source.get(at + 1..))?;
    let client = options.split(',').find_map(|option| option.strip_prefix("name=")).map(str::to_owned);
    (kind == "ceph").then(|| Mount { path: path.to_owned(), client })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_last_counts() {
        let ceph = "97 30 0:45 / /mnt/cephfs/harbor rw,noatime shared:52 - ceph 10.0.0.1:6789,[fd00::1]:6789:/apps rw,name=harbor\n";
        let other = "98 97 0:46 / /mnt/cephfs/harbor rw - tmpfs tmpfs rw\n";
        let place = "/mnt/cephfs/harbor";
        let apps = Some(Mount { path: "/apps".to_owned(), client: Some("harbor".to_owned()) });
        assert_eq!(mounted_as_ceph(ceph, place), apps);
        assert_eq!(mounted_as_ceph(&ceph.replace("10.0.0.1:6789,[fd00::1]:6789:", "harbor@f.cephfs="), place), apps);
        assert_eq!(mounted_as_ceph(ceph, "/mnt/cephfs"), None);
        assert_eq!(mounted_as_ceph(&format!("{ceph}{other}"), place), None);
        assert_eq!(mounted_as_ceph("", place), None);
    }

    #[test]
    fn only_some_errors_call_for_another_mount() {
        let of = |number| mended_by_a_mount(&std::io::Error::from_raw_os_error(number));
        assert!(of(Errno::EIO as i32) && of(Errno::ESHUTDOWN as i32));
        assert!(!of(Errno::ENOSPC as i32) && !of(Errno::EDQUOT as i32) && !of(Errno::EROFS as i32));
    }

    #[test]
    fn a_directory_that_is_no_cephfs_is_not_the_share() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        std::fs::create_dir_all(root.path().join("srv/share")).unwrap();
        let expected = Expected { cephfs: true, ..expected() };
        let trouble = prove(&host, &expected, For::Agent).unwrap_err();
        assert!(trouble.remount && trouble.message.contains("the share is not mounted"), "{trouble}");
        assert!(!root.path().join("srv/share/.habuild").exists(), "nothing is written before the proof");
        prove(&host, &Expected { cephfs: false, ..expected }, For::Agent).unwrap();
        let left = std::fs::read_dir(root.path().join("srv/share/.habuild")).unwrap().count();
        assert_eq!(left, 0);
    }

    fn expected() -> Expected {
        Expected {
            mountpoint: "/srv/share".to_owned(),
            cephfs: false,
            instance: "i-1".to_owned(),
            cluster: "hub".to_owned(),
            settled: None,
        }
    }

    #[test]
    fn what_a_stamp_must_say() {
        let settled =
            Expected { settled: Some(Terms { harbor: "v1.1.2".to_owned(), secrets: "aa".to_owned() }), ..expected() };
        let stamp = |cluster, harbor, secrets| Some(Stamp::new(cluster, harbor, "i-7", secrets));
        let good = stamp("hub", "v1.1.2", "aa");
        let newer = stamp("hub", "v1.2.0", "aa");
        for (expected, stamp, agent, harbor) in [
            (&expected(), &None, "", "has not come to terms"),
            (&expected(), &good, "", "has not come to terms"),
            (&expected(), &newer, "", "has not come to terms"),
            (&settled, &good, "", ""),
            (&settled, &None, "", "holds no stamp any more"),
            (
                &settled,
                &newer,
                "",
                "runs Harbor v1.2.0 since i-7 upgraded it, and this node holds v1.1.2 (replace this",
            ),
            (&settled, &stamp("hub", "v1.1.2", "bb"), "", "with other secrets than this node's"),
            (&settled, &stamp("lab", "v1.1.2", "aa"), "belongs to cluster \"lab\"", "belongs to cluster \"lab\""),
            (&expected(), &stamp("lab", "v1.1.2", "aa"), "belongs to cluster \"lab\"", "belongs to cluster \"lab\""),
        ] {
            for (wanted, words) in [(For::Agent, agent), (For::Harbor, harbor)] {
                match fits(expected, stamp.as_ref(), wanted) {
                    Ok(()) => assert_eq!(words, "", "{stamp:?} for {wanted:?}"),
                    Err(trouble) => {
                        assert!(!words.is_empty() && trouble.to_string().contains(words), "{trouble}");
                        assert_eq!(trouble.passing, words.contains("come to terms"), "{trouble}");
                    }
                }
            }
        }
    }
}
