//! Step `certificates`: what every node must have alike, from the share or from the node config.

use super::preflight::Database;
use super::proof::{Expected, Terms};
use crate::bundle::Bundle;
use crate::host::Host;
use crate::host::journal;
use crate::secrets::Resolved;
use crate::share::{self, Node, SharedSecrets, TOKEN_KEY_BITS};
use crate::trouble::Trouble;
use contract::schema::{NodeConfig, SharedSecrets as Source};

/// Settles with the share; from then on Harbor may run, as long as the share's stamp says the same.
pub(super) fn settle(
    host: &Host,
    config: &NodeConfig,
    secrets: &Resolved,
    bundle: &Bundle,
    instance: &str,
    database: &Database,
    expected: &Expected,
) -> Result<SharedSecrets, Trouble> {
    let (adopt, given) = match &config.shared_secrets {
        Source::Share { adopt } => (*adopt, None),
        Source::Refs(_) => {
            let given = SharedSecrets::given(|key| secrets.need(&format!("shared_secrets.{key}")))?;
            (false, Some(given))
        }
    };
    let node = Node {
        share: &expected.mountpoint,
        cluster: &config.cluster,
        harbor: bundle.version.as_str(),
        instance,
        adopt,
        upgrade_from: config.upgrade.as_ref().map(|upgrade| upgrade.from.as_str()),
        database: database.used,
        given,
        bits: TOKEN_KEY_BITS,
    };
    let settled = share::settle(host, &node)?;
    for line in &settled.how {
        journal::say(line);
    }
    let terms = Terms { harbor: bundle.version.to_string(), secrets: share::digest(&settled.secrets)? };
    Expected { settled: Some(terms), ..expected.clone() }.record(host)?;
    Ok(settled.secrets)
}
