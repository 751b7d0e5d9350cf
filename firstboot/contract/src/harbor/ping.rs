//! Where Harbor's core says that it serves: not before its database is migrated.

use super::Version;

/// A path that answers 200 as soon as the core serves. It does not ask the database. From 1.5 to 1.7 it needs the sessions, as
/// every path of the core's does, and so Redis (v1.5.4 `src/vendor/github.com/astaxie/beego/session/redis`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// The core's service in the compose file.
    pub service: &'static str,
    /// The port that it listens on in its container.
    pub port: u16,
    /// The path.
    pub path: &'static str,
}

/// The core's ping; none before 1.5, which answers 500 there (goharbor/harbor v1.1.2, seen running; v1.5.4 and
/// v1.6.3 `src/ui/router.go`; v1.7.8 `src/core/router.go`; v2.0.0 `src/server/v2.0/route`).
///
/// From 1.8 on the job service asks the core for its configuration once at its start, and ends when it is not answered
/// (v2.15.2 `src/jobservice/main.go`): so it is started behind this. Where it is not, it is no worse to wait.
#[must_use]
pub fn ping(version: &Version) -> Option<Ping> {
    match version.numbers() {
        (0, ..) | (1, ..=4, _) => None,
        (1, 5 | 6, _) => Some(Ping { service: "ui", port: 8080, path: "/api/ping" }),
        (1, ..) => Some(Ping { service: "core", port: 8080, path: "/api/ping" }),
        _ => Some(Ping { service: "core", port: 8080, path: "/api/v2.0/ping" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_version() {
        for (version, expected) in [
            ("v1.1.2", None),
            ("v1.4.1", None),
            ("v1.5.0", Some(("ui", "/api/ping"))),
            ("v1.7.8", Some(("core", "/api/ping"))),
            ("v1.10.19", Some(("core", "/api/ping"))),
            ("v2.0.0", Some(("core", "/api/v2.0/ping"))),
            ("v2.15.2-stand-in", Some(("core", "/api/v2.0/ping"))),
        ] {
            let ping = ping(&Version::parse(version).unwrap());
            assert_eq!(ping.map(|ping| (ping.service, ping.path)), expected, "{version}");
        }
    }
}
