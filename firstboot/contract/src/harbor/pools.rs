//! How many connections to its database a node's Harbor opens at most.
//!
//! Facts: goharbor/harbor at the tags v1.8.6 to v2.15.2, `make/harbor.yml` and `make/harbor.yml.tmpl`,
//! `make/photon/prepare/utils/configs.py`, `src/core/main.go`, `src/jobservice/job/impl/context.go` and `src/cmd/exporter/main.go`.

use super::{HarborOption, Version};
use crate::schema::NodeConfig;
use crate::strict::Mistake;

/// The services that each keep a pool of connections, all of them of the same length: the job service asks the core for it.
#[must_use]
pub fn pools(config: &NodeConfig, version: &Version) -> Vec<&'static str> {
    let exporter = HarborOption::Metrics.is_on(config) && HarborOption::Metrics.is_in(version);
    ["core", "jobservice"].into_iter().chain(exporter.then_some("exporter")).collect()
}

/// The setting, `max_open_conns` of `external_database`, came with 1.9.0. Before it, and without it, a pool has no bound.
pub(super) fn limits(config: &NodeConfig, version: &Version) -> Option<Mistake> {
    let bounded = config.database.external().is_some_and(|database| database.connections.is_some());
    (bounded && version.numbers() < (1, 9, 0)).then(|| {
        Mistake::new(format!("database.connections: Harbor {version} cannot bound its connections"))
            .hint("leave it out, and limit the connections of the database's user there; Harbor itself can from 1.9 on")
    })
}
