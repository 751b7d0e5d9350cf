//! Two nodes of Harbor 2.x behind a load balancer without sticky sessions: what one node began, the other goes on with; and what
//! clients are answered while the share is away.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ceph::Ceph;
use super::cluster::{
    Config, Kind, METRICS, PORT, SHARE, WORKERS, front_end, make_directory, secrets, start, status, until_state,
};
use super::place::{told, within};
use super::web::{ADMIN, Answer, FrontEnd, base64};
use super::{place, services, trouble, upgrade};
use crate::machine::Node;

const SOON: Duration = Duration::from_secs(300);
/// A share that fails is noticed after 30 seconds and one look more, and its proxy is stopped in ten.
const NOTICED: u64 = 60;
const BLOB: &[u8] = b"a blob of the lab, of which every byte matters";

/// The whole story. With `HABUILD_LAB_ONLY=upgrade` nothing is done to the first two nodes before the next two come.
pub(crate) fn two_nodes() {
    let begun = Instant::now();
    let dir = place::dir();
    let ceph = Ceph::start(&dir);
    let _database = services::Postgres::start(&dir);
    let _redis = services::Redis::start(&dir);
    let key = ceph.client("harbor");
    let config = Config {
        cluster: "hub",
        path: "/apps/harbor",
        key: &key,
        kind: Kind::Second,
        image: "HABUILD_LAB_IMAGE",
        upgrade_from: None,
    };
    let (a, b) = (start(&config), start(&config));
    let (a, b) = (a.logged_in(), b.logged_in());
    make_directory(&a, "/apps/harbor");
    for node in [&a, &b] {
        until_state(node, "ready", 900);
    }
    told("two nodes of Harbor 2 come to an empty share and database", "both are ready", begun);
    assert_eq!(secrets(&a), secrets(&b));
    let (front_a, front_b) = (front_end(&a), front_end(&b));
    options(&a);
    sessions(front_a, front_b, "other");
    let digest = images(front_a, front_b);
    if std::env::var("HABUILD_LAB_ONLY").as_deref() != Ok("upgrade") {
        jobs(&a, front_a, &b);
        killed(&a);
        lost(&ceph, &b, front_b, &digest);
    }
    let (c, d) = upgrade::to_the_next(&config, &a, &b, &digest, BLOB);
    options(&d);
    sessions(front_end(&c), front_end(&d), "after");
    images(front_end(&d), front_end(&c));
    told("all of this", "as it must be", begun);
}

/// What the node config turns on: the scanner is one of Harbor's components, the proxy gives the metrics of every service, and
/// `harbor.settings` reaches the services.
fn options(node: &Node) {
    let begun = Instant::now();
    let health = front_end(node).get("/api/v2.0/health", &[]);
    let health: Value = serde_json::from_slice(&health.body).unwrap();
    let trivy = health["components"].as_array().unwrap().iter().find(|component| component["name"] == "trivy");
    assert_eq!(trivy.unwrap()["status"], "healthy", "{health}");
    for (component, line) in [
        ("", "harbor_project_repo_total"),
        ("?comp=core", "harbor_core_up 1"),
        ("?comp=jobservice", "harbor_jobservice_up 1"),
        ("?comp=registry", "go_goroutines "),
    ] {
        let told = node.root(&format!("curl -s 'http://127.0.0.1:{METRICS}/metrics{component}'")).unwrap();
        assert!(told.lines().any(|told| told.starts_with(line)), "{component}: {told}");
    }
    let rendered = node.root("cat /var/lib/habuild/harbor/common/config/jobservice/config.yml").unwrap();
    assert!(rendered.contains(&format!("workers: {WORKERS}\n")), "{rendered}");
    let said = node.root("journalctl -t trivy-adapter --output cat").unwrap();
    assert!(said.contains("skip_update true, timeout 5m0s"), "{said}");
    told("scanner, metrics and settings", "as the node config says", begun);
}

/// A client with cookies.
struct Client {
    cookies: BTreeMap<String, String>,
    token: String,
}

impl Client {
    fn new() -> Self {
        Self { cookies: BTreeMap::new(), token: String::new() }
    }

    fn send(&mut self, front: FrontEnd, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let headers = [("Cookie", cookies.as_str()), ("X-Harbor-CSRF-Token", &self.token), ("Content-Type", kind)];
        let answer = front.send(method, path, &headers, body);
        for (name, value) in &answer.headers {
            let first = value.split(';').next().unwrap_or_default();
            match (name.as_str(), first.split_once('=')) {
                ("set-cookie", Some((name, value))) => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
                ("x-harbor-csrf-token", _) => value.clone_into(&mut self.token),
                _ => {}
            }
        }
        answer
    }

    fn get(&mut self, front: FrontEnd, path: &str) -> Answer {
        self.send(front, "GET", path, "text/plain", b"")
    }
}

/// A form's token from A is good on B, and so is the session that it begins.
fn sessions(a: FrontEnd, b: FrontEnd, project: &str) {
    let begun = Instant::now();
    let mut client = Client::new();
    // The first answer brings the session's cookie, the second the token.
    client.get(a, "/api/v2.0/systeminfo");
    client.get(a, "/api/v2.0/systeminfo");
    assert!(!client.token.is_empty(), "no token against forged requests");
    let form = format!("principal=admin&password={ADMIN}");
    let kind = "application/x-www-form-urlencoded";
    let login = client.send(b, "POST", "/c/login", kind, form.as_bytes());
    assert_eq!(login.status, 200, "{}", String::from_utf8_lossy(&login.body));
    for front in [a, b] {
        assert_eq!(client.get(front, "/api/v2.0/users/current").status, 200);
    }
    client.get(a, "/api/v2.0/systeminfo");
    let project = json!({"project_name": project, "metadata": {"public": "false"}}).to_string();
    let made = client.send(b, "POST", "/api/v2.0/projects", "application/json", project.as_bytes());
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    told("a session and its tokens, from one node to the other", "accepted", begun);
}

/// Tokens, pushes, pulls, and an upload that goes from node to node.
fn images(a: FrontEnd, b: FrontEnd) -> String {
    let begun = Instant::now();
    let token = a.token("repository:library/lab:pull,push");
    let digest = a.push("library/lab", BLOB, &token);
    let pulled = b.pull("library/lab", &digest, &token);
    assert_eq!((pulled.status, pulled.body.as_slice()), (200, BLOB));
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/octet-stream")];
    let mut at = a.send("POST", "/v2/library/lab/blobs/uploads/", &headers[..1], b"");
    assert_eq!(at.status, 202);
    let parts: [(FrontEnd, &[u8]); 3] = [(b, b"one "), (a, b"two "), (b, b"three")];
    for (front, part) in parts {
        at = front.send("PATCH", &at.location, &headers, part);
        assert_eq!(at.status, 202, "{}", String::from_utf8_lossy(&at.body));
    }
    let whole = format!("sha256:{}", habuild::sys::digest::Digest::of(b"one two three"));
    let join = if at.location.contains('?') { '&' } else { '?' };
    let stored = a.send("PUT", &format!("{}{join}digest={whole}", at.location), &headers, b"");
    assert_eq!(stored.status, 201, "{}", String::from_utf8_lossy(&stored.body));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": BLOB.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": whole, "size": 13}],
    });
    let kind = [headers[0], ("Content-Type", "application/vnd.oci.image.manifest.v1+json")];
    let tagged = b.send("PUT", "/v2/library/lab/manifests/one", &kind, manifest.to_string().as_bytes());
    assert_eq!(tagged.status, 201, "{}", String::from_utf8_lossy(&tagged.body));
    // A registry says 404 of a manifest whose kind the client does not name.
    let wanted = [headers[0], ("Accept", "application/vnd.oci.image.manifest.v1+json")];
    assert_eq!(a.get("/v2/library/lab/manifests/one", &wanted).status, 200);
    told("pushed on one node, pulled on the other; an upload in parts on both", "every byte", begun);
    digest
}

/// Jobs that A's core makes are run by either node's job service, with the secret that both have.
fn jobs(a: &Node, front: FrontEnd, b: &Node) {
    let begun = Instant::now();
    let login = format!("Basic {}", base64(format!("admin:{ADMIN}").as_bytes()));
    let headers = [("Authorization", login.as_str()), ("Content-Type", "application/json")];
    let wish = json!({"repository": "library/lab", "tag": "one", "seconds": 1}).to_string();
    let mut ids = Vec::new();
    within(SOON, "a job of A's that B runs", || {
        let made = front.send("POST", "/api/v2.0/jobs", &headers, wish.as_bytes());
        let job: Value = serde_json::from_slice(&made.body).unwrap_or_default();
        ids.extend(job["id"].as_str().map(str::to_owned));
        let said = b.root("journalctl -t jobservice --output cat --since -10min").unwrap();
        ids.iter().any(|id| said.contains(id))
    });
    within(SOON, "the end of every job", || {
        ids.iter().all(|id| {
            let log = front.send("GET", &format!("/api/v2.0/jobs/{id}/log"), &headers, b"");
            log.status == 200 && !log.body.is_empty()
        })
    });
    let failed = a.root(&format!("grep -il -E '401|denied|error' {SHARE}/data/job_logs/* || true")).unwrap();
    assert_eq!(failed.trim(), "", "jobs that failed");
    told("jobs of one core, run by the other's job service", &format!("{} jobs, none failed", ids.len()), begun);
}

/// What Docker says of the containers, and Harbor of itself.
fn is_whole(node: &Node) -> bool {
    let health = front_end(node).get("/api/v2.0/health", &[]);
    let health: Value = serde_json::from_slice(&health.body).unwrap_or_default();
    health["status"] == "healthy" && status(node)["service"]["state"] == "running"
}

fn killed(node: &Node) {
    for (what, act) in [
        ("the core is killed", "docker kill harbor-core"),
        ("core and portal come back with other addresses", "docker stop harbor-portal harbor-core registryctl"),
        ("Docker is restarted", "systemctl restart docker"),
    ] {
        node.root(act).unwrap();
        let begun = Instant::now();
        within(SOON, &format!("Harbor after {what}"), || is_whole(node));
        told(what, "Harbor is healthy by itself", begun);
    }
}

/// The share does not answer, and comes back; its clients are thrown out. No pull may be answered 200 with missing bytes for
/// longer than it takes to notice.
fn lost(ceph: &Ceph, node: &Node, front: FrontEnd, digest: &str) {
    let token = front.token("repository:library/lab:pull");
    // A script of its own: systemd reads % in a command line as its own.
    let poll = format!(
        "cat > /run/poll.sh <<'END'
while :; do
    echo \"$(date +%s) $(curl -s -m 5 -o /dev/null -w '%{{http_code}} %{{size_download}}' -H 'Authorization: Bearer {token}' \
http://127.0.0.1:{PORT}/v2/library/lab/blobs/{digest})\" >> /run/polls
    sleep 0.5
done
END
systemd-run --quiet --collect --unit polls --property RuntimeMaxSec=1800 sh /run/poll.sh"
    );
    node.root(&poll).unwrap();
    for (what, gone, back) in [
        ("the share does not answer", Ceph::freeze as fn(&Ceph), Ceph::thaw as fn(&Ceph)),
        ("the clients are evicted", |ceph: &Ceph| assert!(ceph.evict() > 0), |_: &Ceph| ()),
    ] {
        let begun = Instant::now();
        gone(ceph);
        if what.contains("answer") {
            let message = || status(node)["service"]["message"].as_str().unwrap_or_default().to_owned();
            within(SOON, "a supervisor that says so", || message().contains("share"));
            // By its name: the portal is an nginx too.
            let names = || node.root("docker ps --format '{{.Names}}'").unwrap();
            within(SOON, "a proxy that is stopped", || !names().lines().any(|name| name == "nginx"));
            told(what, &message(), begun);
            trouble::logs_in(node);
        }
        back(ceph);
        let begun = Instant::now();
        within(SOON, &format!("Harbor after {what}"), || {
            let pulled = front.pull("library/lab", digest, &token);
            is_whole(node) && (pulled.status, pulled.body.as_slice()) == (200, BLOB)
        });
        told(&format!("{what}, and it is over"), "every byte is there again", begun);
    }
    let polls = node.root("systemctl stop polls; cat /run/polls").unwrap();
    let wrong: Vec<u64> = polls
        .lines()
        .filter(|line| line.contains(" 200 ") && !line.ends_with(&format!(" {}", BLOB.len())))
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .collect();
    let longest = longest_run(&wrong);
    told(
        "pulls that were answered 200 with missing bytes",
        &format!("{}, for {longest} s at most", wrong.len()),
        Instant::now(),
    );
    assert!(longest <= NOTICED, "for {longest} s:\n{polls}");
}

/// The longest time without a pause of more than ten seconds.
fn longest_run(times: &[u64]) -> u64 {
    let (mut longest, mut begun, mut last) = (0, 0, 0);
    for time in times {
        if *time > last + 10 {
            begun = *time;
        }
        last = *time;
        longest = longest.max(last - begun);
    }
    longest
}
