//! What a client of the registry does: tokens, sessions, pushes and pulls.

use std::io::Read as _;
use std::time::Duration;

use habuild::sys::digest::Digest;

/// An answer: status, `Location`, first cookie, body; status 0 where there was none.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: String,
    pub(crate) cookie: String,
    /// All headers, their names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A node's front end, by the port of this host that leads to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrontEnd(pub(crate) u16);

pub(crate) const ADMIN: &str = "admin-of-the-lab";

impl FrontEnd {
    fn url(self, path: &str) -> String {
        if path.starts_with("http") {
            // Where Harbor sends a client by its public name, this port is what leads there.
            let path = path.splitn(4, '/').nth(3).unwrap_or_default();
            return format!("http://127.0.0.1:{}/{path}", self.0);
        }
        format!("http://127.0.0.1:{}{path}", self.0)
    }

    pub(crate) fn send(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build()
            .into();
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // Nobody may be there for a moment.
        let Ok(mut answer) = agent.run(request.body(body.to_vec()).unwrap()) else { return Answer::default() };
        let header = |name: &str| {
            answer.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap_or_default().to_owned())
        };
        let (location, cookie) = (header("location"), header("set-cookie"));
        let all = answer.headers().iter();
        let headers =
            all.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect();
        let mut bytes = Vec::new();
        // An answer that is cut off is one too.
        let _ = answer.body_mut().as_reader().read_to_end(&mut bytes);
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Answer { status: answer.status().as_u16(), location, cookie, headers, body: bytes }
    }

    pub(crate) fn get(self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, b"")
    }

    /// A token of Harbor's for this scope.
    pub(crate) fn token(self, scope: &str) -> String {
        let login = format!("Basic {}", base64(format!("admin:{ADMIN}").as_bytes()));
        let path = format!("/service/token?service=harbor-registry&scope={scope}");
        let answer = self.get(&path, &[("Authorization", &login)]);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        json["token"].as_str().unwrap().to_owned()
    }

    /// Begins a session; gives its cookie.
    pub(crate) fn login(self) -> String {
        let form = format!("principal=admin&password={ADMIN}");
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        let answer = self.send("POST", "/login", &[kind], form.as_bytes());
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.cookie
    }

    /// Who a session belongs to: the status.
    pub(crate) fn current_user(self, cookie: &str) -> u16 {
        self.get("/api/users/current", &[("Cookie", cookie)]).status
    }

    /// Stores a blob in a repository; gives its digest.
    pub(crate) fn push(self, repository: &str, bytes: &[u8], token: &str) -> String {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        let begun = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &headers, b"");
        assert_eq!(begun.status, 202, "{}", String::from_utf8_lossy(&begun.body));
        let digest = format!("sha256:{}", Digest::of(bytes));
        let join = if begun.location.contains('?') { '&' } else { '?' };
        let to = format!("{}{join}digest={digest}", begun.location);
        let kind = ("Content-Type", "application/octet-stream");
        let stored = self.send("PUT", &to, &[headers[0], kind], bytes);
        assert_eq!(stored.status, 201, "{}", String::from_utf8_lossy(&stored.body));
        digest
    }

    /// Reads a blob.
    pub(crate) fn pull(self, repository: &str, digest: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.get(&format!("/v2/{repository}/blobs/{digest}"), &[("Authorization", &bearer)])
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().chain([&0, &0]).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
