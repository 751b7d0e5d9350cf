//! TLS to database and Redis: what a version can, and the authorities of the node config's own.
//!
//! Every container of Harbor 2.0 and later that connects to either binds one directory, and adds what lies in it to the
//! authorities of its system at its start (v2.0.6 to v2.15.2 `make/photon/common/install_cert.sh`,
//! `make/photon/prepare/templates/docker_compose`). `prepare` makes the directory, with nothing in it.

use super::HARBOR;
use crate::harbor::{Inputs, RenderedFile, Version};
use crate::schema::{NodeConfig, TlsMode};
use crate::strict::Mistake;

/// The directory that containers bind to `/harbor_cust_cert`.
const TRUSTED: &str = "common/config/shared/trust-certificates";

/// What this version cannot do.
pub(super) fn limits(config: &NodeConfig, version: &Version) -> Vec<Mistake> {
    let numbers = version.numbers();
    let mut found = Vec::new();
    // Up to 1.10 the core's image knows the authorities only that were baked into it (v1.8.6 and v1.10.19
    // `make/photon/core/Dockerfile`).
    if numbers < (2, 0, 0) && config.database.external().is_some_and(|database| database.ca.is_some()) {
        found.push(
            Mistake::new(format!("database.ca: Harbor {version} trusts the authorities of its own images only"))
                .hint("leave it out and give the database a certificate of one of those, or use Harbor 2.0 or later"),
        );
    }
    // `rediss` came with 2.13 (v2.12.4 and v2.13.0 `src/lib/cache/cache.go`).
    if numbers < (2, 13, 0) && config.redis.external().is_some_and(|redis| redis.tls != TlsMode::Off) {
        found
            .push(Mistake::new(format!("redis.tls: Harbor {version} cannot encrypt this connection")).hint(
                "write off, leave its ca out, and keep the network between them closed; Harbor can from 2.13 on",
            ));
    }
    found
}

/// The authorities as files, by their path below the rendered configuration.
pub(super) fn files(inputs: &Inputs<'_>) -> Result<Vec<(String, RenderedFile)>, Mistake> {
    let config = inputs.config;
    let database = config.database.external().is_some_and(|database| database.ca.is_some());
    let redis = config.redis.external().is_some_and(|redis| redis.ca.is_some());
    let given = [("database", database), ("redis", redis)].into_iter().filter(|(_, given)| *given);
    given
        .map(|(name, _)| {
            let mut text = inputs.need(&format!("{name}.ca"))?;
            // Another one is written behind it.
            if !text.ends_with('\n') {
                text.push('\n');
            }
            // Only what is called .crt, .ca, .ca-bundle or .pem counts.
            Ok((format!("{TRUSTED}/habuild-{name}.crt"), RenderedFile { text, mode: 0o644, owner: HARBOR }))
        })
        .collect()
}
