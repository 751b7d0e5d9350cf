//! Options of Harbor that a node config turns on: the scanner and the metrics.
//!
//! Facts: goharbor/harbor at the tags v2.0.6 to v2.15.2, `make/install.sh`, `make/photon/prepare/commands/prepare.py` and
//! `make/photon/prepare/templates`.

use serde::{Deserialize, Serialize};

use super::Version;
use crate::schema::NodeConfig;
use crate::strict::Mistake;

/// The port on which Harbor's services and its proxy give metrics inside their network. The node publishes it under the port
/// of the node config, so that no choice there can meet a port of a service's own (8080 of the core, 5000 of the registry).
pub(super) const METRICS_PORT: u16 = 9090;
/// The path. The exporter knows no other (v2.2.4 to v2.15.2 `templates/exporter/env.jinja`), whatever `harbor.yml` says.
pub(super) const METRICS_PATH: &str = "/metrics";
/// The scanner's database in Redis: `prepare`'s default in every version (`utils/configs.py`).
pub(super) const TRIVY_DATABASE: u32 = 5;

/// An option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HarborOption {
    /// The scanner for vulnerabilities.
    Trivy,
    /// What Prometheus reads.
    Metrics,
}

impl HarborOption {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Trivy, Self::Metrics];

    /// Its key below `harbor` in a node config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trivy => "trivy",
            Self::Metrics => "metrics",
        }
    }

    /// Whether a node config turns it on.
    #[must_use]
    pub fn is_on(self, config: &NodeConfig) -> bool {
        match self {
            Self::Trivy => config.harbor.trivy,
            Self::Metrics => config.harbor.metrics.is_some(),
        }
    }

    /// Whether a version has it: `--with-trivy` came with 2.0 and `metric` in `harbor.yml` with 2.2 (v2.1.6 has none).
    #[must_use]
    pub fn is_in(self, version: &Version) -> bool {
        let since = match self {
            Self::Trivy => (2, 0, 0),
            Self::Metrics => (2, 2, 0),
        };
        version.numbers() >= since
    }
}

/// The options that this version has not got.
pub(super) fn limits(config: &NodeConfig, version: &Version) -> impl Iterator<Item = Mistake> {
    let on = HarborOption::ALL.into_iter().filter(|option| option.is_on(config) && !option.is_in(version));
    on.map(move |option| {
        let since = match option {
            HarborOption::Trivy => "Harbor has this scanner from 2.0 on",
            HarborOption::Metrics => "Harbor has metrics from 2.2 on",
        };
        Mistake::new(format!("harbor.{}: Harbor {version} has none", option.name()))
            .hint(format!("leave it out: {since}"))
    })
}

/// The arguments of the bundle's `prepare`: 1.8 to 1.10 have one command only, and none of the options.
#[must_use]
pub fn prepare_arguments(config: &NodeConfig, version: &Version) -> Vec<&'static str> {
    if version.numbers() < (2, 0, 0) {
        return Vec::new();
    }
    // The exporter comes with `metric` of harbor.yml.
    ["prepare"].into_iter().chain(HarborOption::Trivy.is_on(config).then_some("--with-trivy")).collect()
}
