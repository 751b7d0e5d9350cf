//! That no secret of a node is where somebody could find it: every file that others can read, every command line, every
//! environment but those of Harbor's containers, the journal, and the console.

use serde_json::{Value, json};

use crate::machine::Node;

/// Reads the secrets from its standard input: a list of texts. As nobody, it names every file with one in it.
const FILES: &str = r#"
import json, os, sys
secrets = [text.encode() for text in json.load(sys.stdin)]
looked = 0
for top in ("/etc", "/var", "/run", "/tmp", "/home", "/root", "/srv", "/mnt", "/opt"):
    for directory, _, names in os.walk(os.path.realpath(top)):
        for name in names:
            path = os.path.join(directory, name)
            try:
                if not os.path.isfile(path) or os.path.getsize(path) > 1 << 26: continue
                content = open(path, "rb").read()
            except OSError: continue
            looked += 1
            for secret in secrets:
                if secret in content: print("others can read a secret in", path)
assert looked > 100, f"only {looked} files could be read"
"#;

/// The same as root, for processes and the journal.
const PROCESSES: &str = r#"
import json, os, subprocess, sys
secrets = [text.encode() for text in json.load(sys.stdin)]
own = os.readlink("/proc/1/ns/pid")
looked = contained = 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        command, environment = (open(f"/proc/{pid}/{name}", "rb").read() for name in ("cmdline", "environ"))
        in_container = os.readlink(f"/proc/{pid}/ns/pid") != own
    except OSError: continue
    looked += 1
    for secret in secrets:
        if secret in command: print("a secret is on a command line:", command.split(b"\0")[0])
        if secret in environment and not in_container: print("a secret is in an environment:", command)
        contained += secret in environment and in_container
assert looked > 20 and contained > 0, f"{looked} processes, {contained} secrets in containers"
journal = subprocess.run(["journalctl", "--boot", "--no-pager", "--output", "export"], stdout=subprocess.PIPE).stdout
assert len(journal) > 10000
for secret in secrets:
    for line in journal.split(b"\n"):
        if secret in line: print("a secret is in the journal:", line.replace(secret, b"(secret)")[:200])
"#;

/// Looks for `known` and for what the node's cluster shares.
pub(crate) fn leaks(node: &mut Node, known: &[&str]) -> Vec<String> {
    let shared = node.root("cat /var/lib/harbor/share/.habuild/secrets.json").unwrap();
    let shared: Value = serde_json::from_str(&shared).unwrap();
    let mut secrets: Vec<String> = known.iter().map(|text| (*text).to_owned()).collect();
    // The certificate is public. Of a key, one line tells.
    for (_, value) in shared.as_object().unwrap().iter().filter(|(name, _)| *name != "root_crt") {
        let line = value.as_str().unwrap_or_default().lines().max_by_key(|line| line.len());
        secrets.extend(line.filter(|line| line.len() >= 16).map(str::to_owned));
    }
    let environment = "docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' harbor-db";
    let database = node.root(environment).unwrap();
    let password = database.lines().find_map(|line| line.strip_prefix("MYSQL_ROOT_PASSWORD="));
    secrets.push(password.expect("the database's container has a password").to_owned());
    assert!(secrets.len() >= 7, "{} secrets", secrets.len());

    let mut found = Vec::new();
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups ";
    for (user, program) in [(nobody, FILES), ("", PROCESSES)] {
        // The secrets go through a file of root's, which nobody gets opened: they must be on no command line.
        let script = format!(
            "set -e; umask 077; mkdir -p /run/look; cat >/run/look/program <<'END'\n{program}\nEND\n\
             cat >/run/look/secrets <<'END'\n{}\nEND\n\
             {user}python3 -c \"$(cat /run/look/program)\" </run/look/secrets; rm -r /run/look",
            json!(secrets)
        );
        match node.root(&script) {
            Ok(said) => found.extend(said.lines().map(str::to_owned)),
            Err(error) => found.push(format!("secrets could not be looked for: {error:#}")),
        }
    }
    node.machine.catch_up().unwrap();
    let console = node.machine.tail(usize::MAX);
    for secret in &secrets {
        found.extend(
            console.iter().filter(|line| line.contains(secret)).map(|_| "a secret is on the console".to_owned()),
        );
    }
    found
}
