//! Two nodes give way to two of the next version, as `docs/upgrade.md` tells an operator; and what clients saw meanwhile.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::cluster::{Config, SHARE, failure, front_end, running, secrets, start, until_state};
use super::place::{told, within};
use super::web::FrontEnd;
use crate::machine::Node;

const SOON: Duration = Duration::from_secs(300);
/// Between two pulls.
const PACE: Duration = Duration::from_millis(500);

/// A client that pulls a blob again and again, by way of a load balancer: whichever node answers.
struct Client {
    fronts: Arc<Mutex<Vec<FrontEnd>>>,
    end: Sender<()>,
    thread: JoinHandle<Seen>,
}

/// What the client got.
#[derive(Debug, Default)]
struct Seen {
    pulls: u32,
    /// Answers of 200 that were not the blob.
    wrong: u32,
    longest_without: Duration,
}

impl Client {
    fn start(fronts: Vec<FrontEnd>, digest: &str, blob: &'static [u8], token: String) -> Self {
        let fronts = Arc::new(Mutex::new(fronts));
        let (shared, digest) = (Arc::clone(&fronts), digest.to_owned());
        let (end, ended) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (mut seen, mut last) = (Seen::default(), Instant::now());
            while ended.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                let fronts = shared.lock().unwrap().clone();
                for front in fronts {
                    let pulled = front.pull("library/lab", &digest, &token);
                    if pulled.status == 200 && pulled.body == blob {
                        seen.pulls += 1;
                        seen.longest_without = seen.longest_without.max(last.elapsed());
                        last = Instant::now();
                        break;
                    }
                    seen.wrong += u32::from(pulled.status == 200);
                }
            }
            seen
        });
        Self { fronts, end, thread }
    }

    fn balance(&self, fronts: Vec<FrontEnd>) {
        *self.fronts.lock().unwrap() = fronts;
    }

    fn end(self) -> Seen {
        self.end.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

/// Replaces both nodes; gives the new ones.
pub(crate) fn to_the_next(old: &Config<'_>, a: &Node, b: &Node, digest: &str, blob: &'static [u8]) -> (Node, Node) {
    let begun = Instant::now();
    let before = secrets(a).lines().next().map(str::to_owned);
    let version =
        a.root(&format!("sed 's/.*\"harbor\": *\"//; s/\".*//' {SHARE}/.habuild/cluster-0001.json | grep v")).unwrap();
    let token = front_end(a).token("repository:library/lab:pull");
    let client = Client::start(vec![front_end(a), front_end(b)], digest, blob, token);
    // The second of the old nodes is forgotten.
    a.root("systemctl stop harbor").unwrap();
    let first = Config { image: "HABUILD_LAB_NEXT", upgrade_from: Some(version.trim()), ..*old };
    let c = start(&first).logged_in();
    until_state(&c, "ready", 900);
    client.balance(vec![front_end(&c)]);
    told("the first node of the next version", "is ready (counted from its predecessor's stop)", begun);
    assert_eq!(running(a), 0, "an operator who stopped Harbor has the last word");
    until_state(b, "failed", 600);
    assert!(failure(b).contains("and this image holds"), "{}", failure(b));
    within(SOON, "the forgotten node, stopped", || running(b) == 0);
    told("the old node that was forgotten", &failure(b), begun);
    let d = start(&Config { upgrade_from: None, ..first }).logged_in();
    until_state(&d, "ready", 900);
    client.balance(vec![front_end(&c), front_end(&d)]);
    assert_eq!(secrets(&c), secrets(&d));
    assert_eq!(secrets(&d).lines().next().map(str::to_owned), before, "the secrets stay");
    let seen = client.end();
    assert!(seen.wrong == 0 && seen.pulls > 0, "{seen:?}");
    let words =
        format!("{} pulls, none wrong; the longest time without one: {} s", seen.pulls, seen.longest_without.as_secs());
    told("a client that pulls during the upgrade", &words, begun);
    let nodes: serde_json::Value = serde_json::from_str(&d.root("habuild-firstboot cluster --json").unwrap()).unwrap();
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 4, "{nodes}");
    (c, d)
}
