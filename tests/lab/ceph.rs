//! A real Ceph of one host: monitor, manager, metadata server, one OSD on a file; and what a test does to it.

use std::fs;
use std::path::{Path, PathBuf};

use habuild::sys::cmd::{Cmd, Running};

use super::place::{ADDRESS, until};

/// A cluster that runs; it ends with the test.
pub(crate) struct Ceph {
    dir: PathBuf,
    monitor: Option<Running>,
    _daemons: Vec<Running>,
}

const POOLS: [&str; 2] = ["cephfs_data", "cephfs_meta"];

impl Ceph {
    /// Starts a cluster with an empty CephFS.
    pub(crate) fn start(dir: &Path) -> Self {
        let dir = dir.join("ceph");
        for name in ["mon/a", "mgr/a", "mds/a", "osd/0", "run"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        let fsid = uuid();
        fs::write(dir.join("ceph.conf"), conf(&dir, &fsid)).unwrap();
        let keyring = dir.join("keyring").display().to_string();
        let monmap = dir.join("monmap").display().to_string();
        let all = [
            "--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mds", "allow *", "--cap", "mgr", "allow *",
        ];
        run("ceph-authtool", &["--create-keyring", &keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"]);
        run("ceph-authtool", &[&[&keyring, "--gen-key", "-n", "client.admin"], &all[..]].concat());
        let address = format!("[v2:{ADDRESS}:3300,v1:{ADDRESS}:6789]");
        run("monmaptool", &["--create", "--addv", "a", &address, "--fsid", &fsid, &monmap]);
        let mut ceph = Self { dir, monitor: None, _daemons: Vec::new() };
        let c = ceph.conf();
        run("ceph-mon", &["-c", &c, "--mkfs", "-i", "a", "--monmap", &monmap, "--keyring", &keyring]);
        ceph.monitor = Some(daemon("ceph-mon", &c, "a", &ceph.dir));
        ceph.admin(&["mon", "stat"]);
        let key = |name: &str| ceph.dir.join(name).join("keyring").display().to_string();
        let manager = ["mon", "allow profile mgr", "osd", "allow *", "mds", "allow *", "-o"];
        ceph.admin(&[&["auth", "get-or-create", "mgr.a"], &manager[..], &[&key("mgr/a")]].concat());
        let osd = uuid();
        let secret = text("ceph-authtool", &["--gen-print-key"]);
        let json = format!("{{\"cephx_secret\": \"{}\"}}", secret.trim());
        Cmd::program("ceph").args(["-c", &c, "osd", "new", &osd, "-i", "-"]).input(json).run().unwrap();
        run("ceph-authtool", &["--create-keyring", &key("osd/0"), "--name", "osd.0", "--add-key", secret.trim()]);
        run("ceph-osd", &["-c", &c, "-i", "0", "--mkfs", "--osd-uuid", &osd]);
        let server = ["mon", "profile mds", "mgr", "profile mds", "mds", "allow *", "osd", "allow *", "-o"];
        ceph.admin(&[&["auth", "get-or-create", "mds.a"], &server[..], &[&key("mds/a")]].concat());
        let daemons = [("ceph-mgr", "a"), ("ceph-osd", "0"), ("ceph-mds", "a")];
        ceph._daemons = daemons.iter().map(|(program, id)| daemon(program, &c, id, &ceph.dir)).collect();
        for pool in POOLS {
            ceph.admin(&["osd", "pool", "create", pool, "8"]);
        }
        ceph.admin(&["fs", "new", "cephfs", POOLS[1], POOLS[0]]);
        until("an active metadata server", || ceph.admin(&["mds", "stat"]).contains("up:active"));
        ceph
    }

    fn conf(&self) -> String {
        self.dir.join("ceph.conf").display().to_string()
    }

    /// Runs `ceph` as the administrator.
    pub(crate) fn admin(&self, args: &[&str]) -> String {
        text("ceph", &[&["-c", &self.conf(), "--connect-timeout", "30"], args].concat())
    }

    /// Makes a client that may use all of the file system; gives its key.
    pub(crate) fn client(&self, name: &str) -> String {
        self.admin(&["fs", "authorize", "cephfs", &format!("client.{name}"), "/", "rw"]);
        self.admin(&["auth", "print-key", &format!("client.{name}")]).trim().to_owned()
    }

    /// Holds the monitor still: to clients it is as if it were gone.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets the monitor go on.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// Has the metadata server throw every client out, as it does with one that does not answer for long; gives how many.
    pub(crate) fn evict(&self) -> usize {
        let listed: serde_json::Value = serde_json::from_str(&self.admin(&["tell", "mds.a", "session", "ls"])).unwrap();
        let clients = listed.as_array().unwrap();
        for client in clients {
            self.admin(&["tell", "mds.a", "client", "evict", &format!("id={}", client["id"])]);
        }
        clients.len()
    }

    /// Lets the file system hold so many objects; 0 as many as there is room for.
    pub(crate) fn quota(&self, objects: u32) {
        self.admin(&["osd", "pool", "set-quota", POOLS[0], "max_objects", &objects.to_string()]);
    }

    fn signal(&self, signal: &str) {
        for daemon in self.monitor.iter().chain(&self._daemons) {
            run("kill", &[&format!("-{signal}"), &daemon.id().to_string()]);
        }
    }
}

fn daemon(program: &str, conf: &str, id: &str, dir: &Path) -> Running {
    let log = fs::File::create(dir.join(format!("{program}.log"))).unwrap();
    // -d: in the foreground, with its log on standard error.
    Cmd::program(program).args(["-c", conf, "-i", id, "-d"]).stderr(log).ends_with_us().spawn().unwrap()
}

fn run(program: &str, args: &[&str]) {
    Cmd::program(program).args(args).run().unwrap();
}

fn text(program: &str, args: &[&str]) -> String {
    Cmd::program(program).args(args).output_text().unwrap()
}

fn uuid() -> String {
    fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned()
}

/// The smallest configuration that works without a word of warning about its size.
fn conf(dir: &Path, fsid: &str) -> String {
    let dir = dir.display();
    format!(
        "[global]
fsid = {fsid}
mon host = [v2:{ADDRESS}:3300,v1:{ADDRESS}:6789]
public network = {ADDRESS}/32
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
osd pool default pg num = 8
mon allow pool size one = true
mon warn on pool no redundancy = false
auth allow insecure global id reclaim = false
mon data avail crit = 1
run dir = {dir}/run
admin socket = {dir}/run/$cluster-$name.asok
keyring = {dir}/keyring
pid file = {dir}/run/$name.pid
osd objectstore = bluestore
bluestore block size = 4294967296
osd memory target = 939524096
[mon.a]
mon data = {dir}/mon/a
host = lab
[mgr.a]
mgr data = {dir}/mgr/a
keyring = {dir}/mgr/a/keyring
[mds.a]
mds data = {dir}/mds/a
keyring = {dir}/mds/a/keyring
[osd.0]
osd data = {dir}/osd/0
keyring = {dir}/osd/0/keyring
"
    )
}
