//! A small server: one thread for each of a few requests at a time.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use tiny_http::{Header, Request, Response, Server};

pub type Answer = Response<Cursor<Vec<u8>>>;

const THREADS: usize = 8;

/// What was asked for.
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: BTreeMap<String, String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        let pairs = self.header("cookie").split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }
}

/// Answers on port 80 for ever. An error becomes status 500 and a line of log.
pub fn serve(answer: impl Fn(&Asked, &[u8]) -> Result<Answer> + Send + Sync + 'static) -> Result<()> {
    let server = Arc::new(Server::http("0.0.0.0:80").map_err(|error| anyhow!("port 80: {error}"))?);
    let answer = Arc::new(answer);
    let work = move |server: Arc<Server>, answer: Arc<dyn Fn(&Asked, &[u8]) -> Result<Answer> + Send + Sync>| {
        while let Ok(mut request) = server.recv() {
            let asked = asked(&request);
            let mut body = Vec::new();
            let read = request.as_reader().take(1 << 20).read_to_end(&mut body);
            let response = read.map_err(Into::into).and_then(|_| answer(&asked, &body)).unwrap_or_else(|error| {
                eprintln!("{} {}: {error:#}", asked.method, asked.path);
                text(500, &format!("{error:#}"))
            });
            let _ = request.respond(response);
        }
    };
    let answer: Arc<dyn Fn(&Asked, &[u8]) -> Result<Answer> + Send + Sync> = answer;
    for _ in 1..THREADS {
        let (server, answer, work) = (server.clone(), answer.clone(), work.clone());
        std::thread::spawn(move || work(server, answer));
    }
    work(server, answer);
    Ok(())
}

/// Answers on a port for ever, each request in a thread of its own: one that hangs holds up no other.
pub fn serve_each(port: u16, handle: impl Fn(Asked, Request) + Send + Sync + 'static) -> Result<()> {
    let server = Server::http(("0.0.0.0", port)).map_err(|error| anyhow!("port {port}: {error}"))?;
    let handle = Arc::new(handle);
    for request in server.incoming_requests() {
        let handle = handle.clone();
        std::thread::spawn(move || handle(asked(&request), request));
    }
    Ok(())
}

/// The body of a small request.
pub fn body(request: &mut Request) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    request.as_reader().take(1 << 20).read_to_end(&mut body)?;
    Ok(body)
}

fn asked(request: &Request) -> Asked {
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    let header = |header: &Header| (header.field.to_string().to_ascii_lowercase(), header.value.to_string());
    Asked {
        method: request.method().to_string(),
        path: path.to_owned(),
        query: form(query),
        headers: request.headers().iter().map(header).collect(),
    }
}

/// `a=b&c=d`, decoded.
pub fn form(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(a, b)| (decoded(a), decoded(b))).collect()
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub fn text(status: u16, body: &str) -> Answer {
    Response::from_data(body.as_bytes()).with_status_code(status)
}

pub fn json(status: u16, body: &serde_json::Value) -> Answer {
    with(text(status, &body.to_string()), "Content-Type", "application/json")
}

pub fn with(answer: Answer, name: &str, value: &str) -> Answer {
    match Header::from_bytes(name, value) {
        Ok(header) => answer.with_header(header),
        Err(()) => answer,
    }
}
