//! What shows that Harbor is healthy: paths of its front end, and how their answers are judged.
//!
//! No version's endpoint notices a share that is gone: the share is proved apart from this.

use serde_json::Value;

use super::Version;

/// A path, the status that it must answer with, and what that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// The path.
    pub path: &'static str,
    /// The status.
    pub status: u16,
    /// What it shows, for people.
    pub shows: &'static str,
    /// Whether the body says more: the status of a health endpoint is always 200.
    pub judged: bool,
}

const fn sign(path: &'static str, status: u16, shows: &'static str) -> Sign {
    Sign { path, status, shows, judged: false }
}

const REGISTRY: Sign = sign("/v2/", 401, "the registry");

/// 1.1 has no health endpoint: its start page needs Redis, `repositories/top` the database (v1.1.2, seen running; v1.3.0 to
/// v1.6.3 `src/ui/router.go`).
const FIRST: [Sign; 4] = [
    sign("/api/systeminfo", 200, "the core service"),
    sign("/api/repositories/top", 200, "the database behind the core service"),
    sign("/", 200, "the sessions, which Redis holds unless it is bundled"),
    REGISTRY,
];
/// In 1.7 the start page is the portal's, which needs nothing. Since 1.5 the core answers nothing without its sessions (v1.5.4
/// `src/vendor/github.com/astaxie/beego/session/redis`; v1.7.8 `src/core/router.go`).
const PORTAL: [Sign; 4] = [
    sign("/api/systeminfo", 200, "the core service, and its sessions in Redis"),
    sign("/api/repositories/top", 200, "the database behind the core service"),
    sign("/", 200, "the portal"),
    REGISTRY,
];
const SECOND: [Sign; 3] = [
    Sign { path: "/api/health", status: 200, shows: "every service", judged: true },
    sign("/", 200, "the portal"),
    REGISTRY,
];
const THIRD: [Sign; 3] = [
    Sign { path: "/api/v2.0/health", status: 200, shows: "every service", judged: true },
    sign("/", 200, "the portal"),
    REGISTRY,
];

/// What must answer, in the order in which it is asked.
#[must_use]
pub fn signs(version: &Version) -> &'static [Sign] {
    match version.numbers() {
        (0, ..) | (1, ..=6, _) => &FIRST,
        (1, 7, _) => &PORTAL,
        (1, ..) => &SECOND,
        _ => &THIRD,
    }
}

/// Judges a health endpoint's body.
///
/// # Errors
/// Which services are not healthy, with Harbor's words, or that the body is none of Harbor's.
pub fn judge(body: &[u8]) -> Result<(), String> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "it answers no JSON".to_owned())?;
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if text(&body, "status") == "healthy" {
        return Ok(());
    }
    let components = body.get("components").and_then(Value::as_array).ok_or("it names no components")?;
    let ill: Vec<String> = components
        .iter()
        .filter(|component| text(component, "status") != "healthy")
        .map(|component| match text(component, "error").lines().next() {
            Some(error) if !error.is_empty() => format!("{} ({error})", text(component, "name")),
            _ => text(component, "name"),
        })
        .collect();
    Err(format!("not healthy: {}", ill.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        for (body, expected) in [
            (r#"{"status":"healthy","components":[{"name":"core","status":"healthy"}]}"#, Ok(())),
            (
                r#"{"components":[{"name":"core","status":"healthy"},{"error":"no way\nthere","name":"redis","status":"unhealthy"},{"name":"jobservice","status":"unhealthy"}],"status":"unhealthy"}"#,
                Err("not healthy: redis (no way), jobservice"),
            ),
            ("{}", Err("it names no components")),
            ("<html>", Err("it answers no JSON")),
        ] {
            assert_eq!(judge(body.as_bytes()), expected.map_err(str::to_owned), "{body}");
        }
    }

    #[test]
    fn by_version() {
        let of = |version: &str| signs(&Version::parse(version).unwrap());
        let start = |version| of(version).iter().find(|sign| sign.path == "/").unwrap().shows;
        assert!(start("v1.6.3").contains("Redis") && start("v1.7.0") == "the portal");
        let first = |version: &str| of(version)[0].path;
        assert_eq!(
            ["v1.1.2", "v1.7.8", "v1.8.6", "v1.10.19", "v2.0.0", "v2.15.2"].map(first),
            [
                "/api/systeminfo",
                "/api/systeminfo",
                "/api/health",
                "/api/health",
                "/api/v2.0/health",
                "/api/v2.0/health"
            ]
        );
    }
}
