//! Mode `jobservice2`: takes jobs from the queue that nodes share, and runs them.
//!
//! As in Harbor: asks core for its configuration once and ends with 2 if core does not answer; takes jobs also when it
//! cannot write their logs, and fails them; tells each lost connection to Redis, hundreds of times a second.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;
use tiny_http::Request;
use ureq::Agent;

use super::options;
use super::queue::Queue;
use crate::env;
use crate::http::{self, Answer, Asked, body, text};
use crate::ui::pause;

const LOGS: &str = "/var/log/jobs";
const SECOND: Duration = Duration::from_secs(1);
/// The pause of one worker that has no Redis: with ten of them, 800 lines a second.
const NO_REDIS: Duration = Duration::from_millis(12);
/// When jobs of the dead are looked for, in seconds after the start, and how often then.
const REAPED: (u64, u64) = (10, 600);

struct Jobservice {
    queue: Queue,
    agent: Agent,
    core: String,
    core_secret: String,
    stopping: AtomicBool,
    running: AtomicUsize,
}

pub fn run() -> Result<()> {
    let config: Value = serde_saphyr::from_str(&fs::read_to_string("/etc/jobservice/config.yml")?)?;
    let workers = config.pointer("/worker_pool/workers").and_then(Value::as_u64).context("worker_pool.workers")?;
    let pool = |key: &str| {
        config.pointer(&format!("/worker_pool/redis_pool/{key}")).and_then(Value::as_str).context("redis_pool")
    };
    let jobservice = Arc::new(Jobservice {
        queue: Queue::new(pool("redis_url")?, pool("namespace")?)?,
        agent: Agent::config_builder().http_status_as_error(false).build().new_agent(),
        core: env("CORE_URL")?,
        core_secret: env("CORE_SECRET")?,
        stopping: AtomicBool::new(false),
        running: AtomicUsize::new(0),
    });
    jobservice.stop_at_signal()?;
    if let Err(error) = jobservice.configuration() {
        eprintln!("panic: failed to load rest config: {error:#}");
        std::process::exit(2);
    }
    if let Err(error) = jobservice.queue.ping() {
        eprintln!("[ERROR] read schema version failed: {error:#}");
        while jobservice.queue.ping().is_err() {
            pause(SECOND);
        }
    }
    jobservice.queue.beat()?;
    for _ in 0..workers {
        let jobservice = jobservice.clone();
        std::thread::spawn(move || jobservice.work());
    }
    let clock = jobservice.clone();
    std::thread::spawn(move || clock.keep_time());
    options::metrics()?;
    println!("serving on 8080");
    http::serve_each(8080, move |asked, mut request| {
        let answer = body(&mut request).and_then(|sent| jobservice.answer(&asked, &sent));
        respond(request, answer)
    })
}

fn respond(request: Request, answer: Result<Answer>) {
    let _ = request.respond(answer.unwrap_or_else(|error| text(500, &format!("{error:#}"))));
}

impl Jobservice {
    /// Ends when the last job has ended, however long that takes.
    fn stop_at_signal(self: &Arc<Self>) -> Result<()> {
        let (mut signals, jobservice) = (Signals::new([SIGTERM])?, self.clone());
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                jobservice.stopping.store(true, Ordering::SeqCst);
                while jobservice.running.load(Ordering::SeqCst) > 0 {
                    pause(NO_REDIS);
                }
                std::process::exit(0);
            }
        });
        Ok(())
    }

    fn configuration(&self) -> Result<()> {
        let secret = format!("Harbor-Secret {}", env("JOBSERVICE_SECRET")?);
        let url = format!("{}/api/internal/configurations", self.core);
        let mut got = self.agent.get(&url).header("Authorization", &secret).call().context(url.clone())?;
        let (status, said) = (got.status(), got.body_mut().read_to_string()?);
        ensure!(status == 200, "{url}: code {}: {said}", status.as_u16());
        Ok(())
    }

    fn keep_time(&self) {
        for second in 1_u64.. {
            pause(SECOND);
            let tried = self.queue.release();
            let tried = if second % 5 == 0 { tried.and_then(|()| self.queue.beat()) } else { tried };
            let due = second == REAPED.0 || second % REAPED.1 == 0;
            let tried = if due { tried.and_then(|()| self.queue.reap()) } else { tried };
            if let Err(error) = tried {
                eprintln!("[ERROR] {error:#}");
            }
        }
    }

    fn work(&self) {
        while !self.stopping.load(Ordering::SeqCst) {
            if let Err(error) = self.work_connected() {
                eprintln!("[ERROR] worker: {error:#}");
                pause(NO_REDIS);
            }
        }
    }

    fn work_connected(&self) -> Result<()> {
        let mut redis = self.queue.connect()?;
        while !self.stopping.load(Ordering::SeqCst) {
            let Some(job) = self.queue.take(&mut redis)? else { continue };
            self.running.fetch_add(1, Ordering::SeqCst);
            let id = job.get("id").and_then(Value::as_str).unwrap_or_default();
            let ran = self.run_job(id, &job);
            let error = ran.err().map(|error| format!("{error:#}"));
            println!("job {id}: {}", error.as_deref().unwrap_or("success"));
            let told = self.queue.connect().and_then(|mut redis| self.queue.end(&mut redis, id, error.as_deref()));
            self.running.fetch_sub(1, Ordering::SeqCst);
            told?;
        }
        Ok(())
    }

    fn run_job(&self, id: &str, job: &Value) -> Result<()> {
        let path = format!("{LOGS}/{id}.log");
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let mut log = log.with_context(|| format!("open {path}"))?;
        let done = self.pull(job, &mut log);
        match &done {
            Ok(()) => writeln!(log, "[INFO] done")?,
            Err(error) => writeln!(
                log,
                "[ERROR] {error:#}\n[ERROR] got error during the whole transfer period, mark the job failure"
            )?,
        }
        done
    }

    /// Pulls a manifest through this node's core, with the secret that lies in the job.
    fn pull(&self, job: &Value, log: &mut fs::File) -> Result<()> {
        let word = |key: &str| job.get(key).and_then(Value::as_str).unwrap_or_default();
        let (name, tag) = (word("repository"), word("tag"));
        for second in 0..job.get("seconds").and_then(Value::as_u64).unwrap_or(0) {
            writeln!(log, "[INFO] second {second}")?;
            pause(SECOND);
        }
        let url = format!("{}/service/token?service=harbor-registry&scope=repository:{name}:pull", self.core);
        let secret = format!("Harbor-Secret {}", word("secret"));
        let mut got = self.agent.get(&url).header("Authorization", &secret).call().context(url)?;
        let refused = "unauthorized to access repository";
        if got.status() == 401 {
            bail!(
                "failed to pull the manifest of artifact {name}:{tag}: http status code: 401, {refused}: {name}, action: pull"
            );
        }
        let answer: Value = serde_json::from_str(&got.body_mut().read_to_string()?)?;
        writeln!(log, "[INFO] got a token")?;
        if name.is_empty() {
            return Ok(());
        }
        let token = answer.get("token").and_then(Value::as_str).context("no token")?;
        let url = format!("{}/v2/{name}/manifests/{tag}", self.core);
        let request = self.agent.get(&url).header("Authorization", format!("Bearer {token}"));
        let accepted =
            "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
        let mut got = request.header("Accept", accepted).call().context(url)?;
        let (status, manifest) = (got.status().as_u16(), got.body_mut().read_to_string()?);
        ensure!(
            status == 200,
            "failed to pull the manifest of artifact {name}:{tag}: http status code: {status}, {manifest}"
        );
        writeln!(log, "[INFO] the manifest of {name}:{tag} has {} bytes", manifest.len())?;
        Ok(())
    }

    fn answer(&self, asked: &Asked, sent: &[u8]) -> Result<Answer> {
        if asked.path == "/api/v1/stats" {
            self.queue.ping()?;
            return Ok(http::json(200, &json!({"worker_pools": [{"status": "Healthy"}]})));
        }
        if asked.header("authorization") != format!("Harbor-Secret {}", self.core_secret) {
            return Ok(text(401, "unauthorized"));
        }
        let Some(rest) = asked.path.strip_prefix("/api/v1/jobs") else { return Ok(text(404, "")) };
        if asked.method == "POST" {
            return Ok(http::json(202, &json!({"id": self.queue.add(serde_json::from_slice(sent)?)?})));
        }
        let (id, log) = rest.trim_start_matches('/').split_once('/').unwrap_or((rest.trim_start_matches('/'), ""));
        ensure!(id.chars().all(|c| c.is_ascii_alphanumeric()), "{id} is no job");
        if log == "log" {
            return Ok(match fs::read_to_string(format!("{LOGS}/{id}.log")) {
                Ok(log) => text(200, &log),
                Err(_) => text(404, "no log"),
            });
        }
        Ok(match self.queue.told(id)? {
            Some(told) => http::json(200, &told),
            None => text(404, "no such job"),
        })
    }
}
