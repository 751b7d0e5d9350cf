//! `harbor`, `readiness` and `upgrade`: what this node serves, and how it tells that it does.

use serde::Serialize;

use super::decode::{Decoder, Field};
use super::secret::SecretValue;
use super::settings::Settings;
use crate::strict::url::BaseUrl;
use crate::strict::{Mistake, Value};
use crate::version::Version;

/// Harbor itself.
#[derive(Debug, Clone, Serialize)]
pub struct Harbor {
    /// What clients use: the load balancer's name and port.
    pub external_url: BaseUrl,
    /// The port for http that this node publishes.
    pub http_port: u16,
    /// The port for https that this node publishes when `tls` is given.
    pub https_port: u16,
    /// The administrator's first password; Harbor ignores it once the database has one.
    pub admin_password: SecretValue,
    /// Whether this node runs jobs (replication, garbage collection, …).
    pub jobservice: bool,
    /// Whether the scanner for vulnerabilities runs. All nodes of a cluster must say the same: a core that has none takes it
    /// out of the database that they share (v2.15.2 `src/core/main.go`).
    pub trivy: bool,
    /// Where this node gives metrics; none: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Keys of Harbor's own configuration file.
    pub settings: Settings,
}

/// What Prometheus reads.
#[derive(Debug, Clone, Serialize)]
pub struct Metrics {
    /// The port that answers.
    pub port: u16,
}

/// How the load balancer is told that the node can serve.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// The port that answers.
    pub port: u16,
    /// What must hold besides the share and Harbor's own health.
    pub require: Vec<Requirement>,
}

/// What readiness may depend on. Nothing of it does unless asked: a database that all nodes share would take every
/// node out of the load balancer at the same moment, and clients would see no error page but no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// The database takes the node's login.
    Database,
    /// Redis takes the node's login.
    Redis,
    /// The certificate that this node serves is valid now.
    Certificate,
    /// The job service is healthy.
    Jobservice,
    /// Every secret reference was resolved at this boot, none comes from an earlier one.
    Secrets,
}

const REQUIREMENTS: [(&str, Requirement); 5] = [
    ("database", Requirement::Database),
    ("redis", Requirement::Redis),
    ("certificate", Requirement::Certificate),
    ("jobservice", Requirement::Jobservice),
    ("secrets", Requirement::Secrets),
];

/// A deliberate upgrade.
#[derive(Debug, Clone, Serialize)]
pub struct Upgrade {
    /// The version that the stamp on the share names, such as `v2.14.1`.
    pub from: String,
}

/// Parts of Harbor that habuild does not run.
const UNSUPPORTED: [(&str, &str); 3] = [
    ("clair", "leave it out; from Harbor 2.0 on there is trivy"),
    ("notary", "leave it out; Harbor has none from 2.9 on"),
    ("chartmuseum", "leave it out; from Harbor 2.0 on charts are stored as OCI artifacts"),
];

impl Harbor {
    /// `serves_tls`: whether the node config has `tls`, without which `https_port` is not listened on.
    pub(super) fn decode(d: &mut Decoder, field: &Field<'_>, serves_tls: bool) -> Option<Self> {
        let known =
            ["external_url", "http_port", "https_port", "admin_password", "jobservice", "trivy", "metrics", "settings"];
        let fields = d.fields_but(field, &known, &UNSUPPORTED)?;
        let external_url = d.need(&fields, "external_url", |d, f| d.parsed(f, external_url));
        let http_port = d.or(&fields, "http_port", 80, Decoder::port);
        let https_port = d.or(&fields, "https_port", 443, Decoder::port);
        d.listens(&fields, "http_port", http_port);
        if serves_tls {
            d.listens(&fields, "https_port", https_port);
        }
        let admin_password = d.need(&fields, "admin_password", Decoder::secret);
        let jobservice = d.or(&fields, "jobservice", true, Decoder::boolean);
        let trivy = d.or(&fields, "trivy", false, trivy);
        let metrics = d.maybe(&fields, "metrics", Metrics::decode);
        let settings = d.or(&fields, "settings", Settings::default(), Settings::decode);
        Some(Self {
            external_url: external_url?,
            http_port: http_port?,
            https_port: https_port?,
            admin_password: admin_password?,
            jobservice: jobservice?,
            trivy: trivy?,
            metrics: metrics?,
            settings: settings?,
        })
    }
}

/// A switch; Harbor's own file has a map of that name.
fn trivy(d: &mut Decoder, field: &Field<'_>) -> Option<bool> {
    match field.node.value {
        Value::Map(_) => {
            d.refuse(field, Mistake::new("must be true or false").hint("how it scans stands in harbor.settings.trivy"))
        }
        _ => d.boolean(field),
    }
}

impl Metrics {
    fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        if let Value::Scalar { .. } = field.node.value {
            let hint = "write {port: 9090}, the port at which this node gives them, or leave it out";
            return d.refuse(field, Mistake::new("must be a map").hint(hint));
        }
        let fields = d.fields(field, &["port"])?;
        let port = d.or(&fields, "port", 9090, Decoder::port);
        d.listens(&fields, "port", port);
        Some(Self { port: port? })
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self { port: 8071, require: Vec::new() }
    }
}

impl Readiness {
    pub(super) fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let fields = d.fields(field, &["port", "require"])?;
        let default = Self::default();
        let port = d.or(&fields, "port", default.port, Decoder::port);
        d.listens(&fields, "port", port);
        let require = d.or(&fields, "require", default.require, |d, f| d.list_of(f, requirement));
        Some(Self { port: port?, require: require? })
    }
}

impl Upgrade {
    pub(super) fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let fields = d.fields(field, &["from"])?;
        let from = d.need(&fields, "from", |d, f| d.parsed(f, version));
        Some(Self { from: from? })
    }
}

fn external_url(text: &str) -> Result<BaseUrl, Mistake> {
    let url = BaseUrl::parse(text)?;
    if url.is_loopback() {
        return Err(Mistake::new("names the machine itself, and Harbor refuses that").hint("the name that clients use"));
    }
    if url.host == "reg.mydomain.com" {
        return Err(Mistake::new("is Harbor's example name, which Harbor refuses").hint("the name that clients use"));
    }
    Ok(url)
}

fn requirement(text: &str) -> Result<Requirement, Mistake> {
    if text == "storage" || text == "harbor" {
        return Err(Mistake::new("is required always").hint("leave it out"));
    }
    let names = REQUIREMENTS.map(|(name, _)| name);
    match REQUIREMENTS.iter().find(|(name, _)| *name == text) {
        Some((_, requirement)) => Ok(*requirement),
        None => Err(Mistake::new("is nothing that readiness can require").did_you_mean(text, &names)),
    }
}

/// A version as the stamp has it: that of the cluster's bundle, with what a pre-release or a build of one's own adds to the numbers.
fn version(text: &str) -> Result<String, Mistake> {
    if Version::parse(text).is_some() {
        return Ok(text.to_owned());
    }
    if Version::parse(&format!("v{text}")).is_some() {
        return Err(Mistake::new("must begin with v").hint(format!("write v{text}")));
    }
    Err(Mistake::new("must be a Harbor version vX.Y.Z, such as v2.14.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, good) in
            [("v2.14.1", true), ("2.14.1", false), ("v2.14", false), ("v2.14.1-rc1", true), ("v2..1", false)]
        {
            assert_eq!(version(text).is_ok(), good, "{text}");
        }
    }

    /// Both have the names of maps in Harbor's file, or nearly so (`trivy`, `metric`).
    #[test]
    fn options_say_what_to_write() {
        let said = |option: &str| {
            let node = format!(
                "version: 1\ncluster: hub\nharbor: {{external_url: 'http://hub.example.com', admin_password: x, {option}}}\n\
                 storage: {{local: {{path: /srv/share}}}}\ndatabase: bundled\nredis: bundled\n"
            );
            let problems = crate::schema::parse(&node).map(drop).err().unwrap_or_default();
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let trivy = "must be true or false (how it scans stands in harbor.settings.trivy)";
        let metrics = "must be a map (write {port: 9090}, the port at which this node gives them, or leave it out)";
        for (option, expected) in [
            ("trivy: {}", trivy),
            ("trivy: {ignore_unfixed: true}", trivy),
            ("metrics: true", metrics),
            ("metrics: 9090", metrics),
            ("clair: true", "is not in this version of habuild (leave it out; from Harbor 2.0 on there is trivy)"),
        ] {
            assert!(said(option).ends_with(expected), "{option}: {}", said(option));
        }
        for good in ["trivy: true", "metrics: {}", "metrics: {port: 9100}"] {
            assert_eq!(said(good), "", "{good}");
        }
    }

    #[test]
    fn external_urls() {
        let cases = [
            ("http://hub.example.com:8070", None),
            ("https://hub.example.com", None),
            ("https://[fd00::1]:8443", None),
            ("hub.example.com", Some("is not a URL")),
            ("ftp://hub.example.com", Some("must begin with")),
            ("http://hub.example.com/", Some("must hold no path")),
            ("http://hub.example.com/harbor", Some("must hold no path")),
            ("http://a:b@hub.example.com", Some("no user or password")),
            ("http://hub.example.com:0", Some("1 to 65535")),
            ("http://hub.example.com:65536", Some("1 to 65535")),
            ("http://hub.example.com:", Some("1 to 65535")),
            ("http://", Some("the host is missing")),
            ("http://fd00::1", Some("needs brackets")),
            ("http://hub_1.example.com", Some("no valid name")),
            ("http://300.1.1.1", Some("not an IPv4 address")),
            ("http://127.0.0.1:80", Some("the machine itself")),
            ("http://[::1]", Some("the machine itself")),
            ("http://reg.mydomain.com", Some("example name")),
        ];
        for (text, expected) in cases {
            match (external_url(text), expected) {
                (Ok(url), None) => assert_eq!(url.to_string(), text),
                (Err(refusal), Some(expected)) => assert!(refusal.message.contains(expected), "{text}: {refusal:?}"),
                (outcome, _) => panic!("{text}: {outcome:?}"),
            }
        }
    }
}
