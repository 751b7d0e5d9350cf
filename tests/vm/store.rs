//! What Docker makes of the store that was baked: every layer's exact tar, a `docker load` that adds nothing, pushes that
//! are pulled equal. For nodes that are ready.

use std::fs::File;
use std::io::Read as _;

use flate2::read::GzDecoder;
use habuild::sys::cmd::Cmd;
use habuild::sys::digest::Digest;
use serde_json::Value;

use crate::bundle::{archive, stand_in};
use crate::machine::Node;
use crate::server::{Answer, Server};

/// Saves every image and hashes its layers: they are the ones that the configurations name.
const SAVED: &str = r#"set -e
cd "$(mktemp -d -p /var/tmp)"
docker save $(docker images --format '{{.Repository}}:{{.Tag}}') | tar -x
python3 - <<'END'
import hashlib, json
count = 0
for image in json.load(open("manifest.json")):
    wanted = json.load(open(image["Config"]))["rootfs"]["diff_ids"]
    for name, diff_id in zip(image["Layers"], wanted, strict=True):
        found = "sha256:" + hashlib.file_digest(open(name, "rb"), "sha256").hexdigest()
        assert found == diff_id, f"{name} has {found}, the configuration says {diff_id}"
        count += 1
print(count, "layers are whole")
END
rm -r "$PWD""#;

/// Whether Docker makes the layers' exact tars again; takes a minute under emulation.
pub(crate) fn saved(node: &Node) -> Vec<String> {
    match node.root(SAVED) {
        Ok(text) if text.trim().ends_with("layers are whole") && !text.starts_with('0') => Vec::new(),
        other => vec![format!("docker save gives the layers that were baked: {other:?}")],
    }
}

/// Whether each image that was baked runs in one of Harbor's containers, and Docker took all of the store for its own.
pub(crate) fn used(node: &Node) -> Vec<String> {
    let script = "set -e
docker images --no-trunc --format '{{.Repository}} {{.ID}}' | cut -d' ' -f2 | sort -u >/run/baked
docker ps --quiet | xargs docker inspect --format '{{.Image}}' | sort -u >/run/running
diff /run/baked /run/running
journalctl -b --no-pager | grep 'not restoring image' && exit 1 || echo all";
    match node.root(script) {
        Ok(text) if text.trim() == "all" => Vec::new(),
        other => vec![format!("every image that was baked runs: {other:?}")],
    }
}

/// Whether `docker load` of the stand-in's archive adds nothing to Docker's store but the log service's image, which no node has a
/// use for: its layers are those of others.
pub(crate) fn loaded_again(node: &Node) -> Vec<String> {
    let archive = archive(&stand_in());
    let server = Server::start(move |_| Answer::new("200 OK", archive.len(), &archive));
    // QEMU's user network gives the host's loopback this address.
    let url = server.url().replace("127.0.0.1", "10.0.2.2");
    let script = format!(
        "set -e
list() {{ cd /var/lib/docker; find image overlay2 -mindepth 1 -maxdepth 5 ! -path '*/diff/*' ! -path '*/merged/*' | sort
    sha256sum image/overlay2/repositories.json; }}
list >/run/before
curl --silent --show-error --fail {url}/images.tar.gz >/var/tmp/images.tar.gz
docker load --quiet --input /var/tmp/images.tar.gz | wc -l
docker rmi $(docker images --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep harbor-log) >/dev/null
rm /var/tmp/images.tar.gz
list >/run/after
diff /run/before /run/after && echo nothing is new"
    );
    match node.root(&script) {
        Ok(text) if text.trim().ends_with("nothing is new") && !text.starts_with('0') => Vec::new(),
        other => vec![format!("docker load of the same archive adds nothing: {other:?}")],
    }
}

/// What the registry's clients call it. Harbor refuses a loopback address; `.test` is nobody's (RFC 6761).
pub(crate) const NAME: &str = "harbor.test";

/// Whether each image can be pushed to the node's own registry, which listens on `port` here and there, and comes back as it
/// was: its configuration byte for byte, and the layers that this names.
pub(crate) fn pushed(node: &Node, port: u16, password: &str) -> Vec<String> {
    let script = format!(
        "set -e
echo 127.0.0.1 {NAME} >>/etc/hosts
printf %s {password} | docker login --username admin --password-stdin {NAME}:{port} >/run/login 2>&1
for image in $(docker images --format '{{{{.Repository}}}}:{{{{.Tag}}}}'); do
    name=$(echo $image | tr :/ __)
    docker tag $image {NAME}:{port}/library/$name:check
    docker push --quiet {NAME}:{port}/library/$name:check >/dev/null
    echo $name $(docker inspect --format '{{{{.Id}}}}' $image)
    docker rmi {NAME}:{port}/library/$name:check >/dev/null
done
docker logout {NAME}:{port} >/dev/null"
    );
    let pushed = match node.root(&script) {
        Ok(pushed) if !pushed.is_empty() => pushed,
        other => return vec![format!("images can be pushed: {other:?}")],
    };
    pushed.lines().filter_map(|line| pulled(line, port, password).err()).collect()
}

/// Pulls one image, given as NAME ID, and judges it.
fn pulled(line: &str, port: u16, password: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let (name, id) = line.split_once(' ').unwrap();
    // In a namespace where the name leads here too.
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, format!("127.0.0.1 {NAME}\n")).unwrap();
    let with_hosts = "mount --bind \"$0\" /etc/hosts && exec skopeo \"$@\"";
    Cmd::program("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", with_hosts])
        .arg(&hosts)
        .args(["copy", "--quiet", "--src-tls-verify=false", "--src-creds", &format!("admin:{password}")])
        .arg(format!("docker://{NAME}:{port}/library/{name}:check"))
        .arg(format!("dir:{}", dir.path().join("image").display()))
        .run()
        .map_err(|error| format!("{error:#}"))?;
    let json = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(dir.path().join("image").join(name)).unwrap()).unwrap()
    };
    let manifest = json("manifest.json");
    let hex = |value: &Value| value.as_str().unwrap().trim_start_matches("sha256:").to_owned();
    if manifest["config"]["digest"] != id {
        return Err(format!("{name}: the configuration that was pulled is {}, not {id}", manifest["config"]["digest"]));
    }
    let wanted = json(&hex(&manifest["config"]["digest"]))["rootfs"]["diff_ids"].clone();
    let layers = manifest["layers"].as_array().unwrap();
    let found = layers.iter().map(|layer| {
        let mut bytes = Vec::new();
        let file = File::open(dir.path().join("image").join(hex(&layer["digest"]))).unwrap();
        GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        Value::from(format!("sha256:{}", Digest::of(&bytes)))
    });
    let found = Value::from(found.collect::<Vec<_>>());
    if found == wanted { Ok(()) } else { Err(format!("{name}: layers {found} were pulled, not {wanted}")) }
}
