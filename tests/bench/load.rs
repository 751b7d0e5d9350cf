//! From power-on to a ready Harbor: the image as it is, next to the same image whose Docker store is emptied and filled again
//! by `docker load`, as nodes set up by hand do it. `HABUILD_LOAD_IMAGE` names the image.
//!
//! What emptying the store costs is timed on the node and taken off: a node set up by hand has none to empty.

use std::fs;
use std::path::{Path, PathBuf};

use crate::boots::boot;
use crate::bundle::{archive, stand_in};
use crate::median;
use crate::server::{Answer, Server};

const SAID: &str = "bench: emptied in ";

/// The image that the environment names.
pub(crate) fn image() -> Option<PathBuf> {
    std::env::var_os("HABUILD_LOAD_IMAGE").map(PathBuf::from)
}

/// Boots it `runs` times in each way, in turn; the table of medians.
pub(crate) fn table(image: &Path, runs: usize) -> String {
    let archive = archive(&stand_in());
    let server = Server::start(move |_| Answer::new("200 OK", archive.len(), &archive));
    let dir = tempfile::tempdir().unwrap();
    let (as_baked, loads) = (dir.path().join("as-baked"), dir.path().join("loads"));
    let trial = habuild::boot::trial("http://harbor.test", 80, "Trial12345");
    fs::write(&as_baked, format!("#cloud-config\n{trial}")).unwrap();
    fs::write(&loads, loads_first(&trial, &server.url())).unwrap();
    let (mut baked, mut loaded) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let mut emptied = f64::NAN;
        let mut time = |user_data: &PathBuf| {
            let arguments = ["--until", "ready", "--timeout", "1800", "--user-data", user_data.to_str().unwrap()];
            let boot = boot(image, &arguments, &mut |line| {
                let seconds = line.split_once(SAID).and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
                emptied = seconds.unwrap_or(emptied);
            });
            boot.last().copied().flatten().unwrap().0
        };
        baked.push(time(&as_baked));
        let all = time(&loads);
        loaded.push(all - emptied);
        println!("run {} of {runs}: as baked {:.0} s, loads first {:.0} s", run + 1, baked[run], loaded[run]);
    }
    let (baked, loaded) = (median(&baked), median(&loaded));
    format!(
        "| from power-on to a ready Harbor | | |\n|---|---|---|\n| `docker load` first | {loaded:.0} s | 1.00 × |\n\
         | images in the store | {baked:.0} s | {:.2} × |\n",
        baked / loaded
    )
}

/// User-data of a node that empties Docker's store, loads the archive, and only then has a node config.
fn loads_first(trial: &str, url: &str) -> String {
    // QEMU's user network gives the host's loopback this address.
    let url = url.replace("127.0.0.1", "10.0.2.2");
    let script = format!(
        "set -e; now() {{ cut -d' ' -f1 /proc/uptime; }}; begun=$(now)
systemctl stop docker.socket docker; rm -rf /var/lib/docker/image /var/lib/docker/overlay2
curl --silent --fail {url}/images.tar.gz >/var/tmp/images.tar.gz; systemctl start docker
echo '{SAID}'$(awk \"BEGIN {{ print $(now) - $begun }}\") s >/dev/ttyS0
docker load --quiet --input /var/tmp/images.tar.gz
mv /etc/habuild/later.yaml /etc/habuild/node.yaml; systemctl restart --no-block habuild-firstboot"
    );
    let script = serde_json::Value::from(script);
    format!("#cloud-config\n{}runcmd:\n  - [sh, -c, {script}]\n", trial.replace("node.yaml", "later.yaml"))
}
