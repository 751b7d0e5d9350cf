//! IPv6 addresses of database and Redis: which version can be given one.
//!
//! Facts: goharbor/harbor at the tags v1.1.0 to v2.15.2, `src/common/dao/pgsql.go`, `make/common/templates/registry/config.yml` and
//! `make/photon/prepare/templates/registry/config.yml.jinja`.

use super::Version;
use crate::schema::NodeConfig;
use crate::strict::Mistake;

/// The addresses that this version would misread.
pub(super) fn limits(config: &NodeConfig, version: &Version) -> Vec<Mistake> {
    let numbers = version.numbers();
    let mut found = Vec::new();
    let mut refuse = |key: &str, who: &str| {
        found.push(
            Mistake::new(format!("{key}: {who}Harbor {version} cannot be given an IPv6 address"))
                .hint("give the server's name"),
        );
    };
    // Up to 2.3 it would need brackets in one place, and none in another. MySQL's address has a place of its own.
    let database = config.database.external().is_some_and(|database| database.host.contains(':'));
    if database && ((1, 6, 0)..(2, 4, 0)).contains(&numbers) {
        refuse("database.host", "");
    }
    // It stands without quotes in the registry's YAML, where a bracket begins a list.
    let redis = config.redis.external().is_some_and(|redis| redis.host.contains(':'));
    if redis && numbers >= (1, 6, 0) {
        refuse("redis.host", "the registry of ");
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::harbor::{Version, limits};
    use crate::schema;

    #[test]
    fn addresses_that_a_version_would_misread() {
        for (version, kind, database, redis) in [
            ("v1.1.2", "mysql", true, true),
            ("v1.5.4", "mysql", true, true),
            ("v1.6.3", "postgresql", false, false),
            ("v1.8.6", "postgresql", false, false),
            ("v2.3.5", "postgresql", false, false),
            ("v2.4.0", "postgresql", true, false),
            ("v2.15.2", "postgresql", true, false),
        ] {
            let said = |database: &str, redis: &str| {
                let text = format!(
                    "version: 1\ncluster: hub\nharbor: {{external_url: 'http://hub', admin_password: x}}\nstorage: {{local: \
                     {{path: /srv/share}}}}\ndatabase: {{kind: {kind}, host: '{database}', user: u, password: x}}\nredis: \
                     {{host: '{redis}'}}\n"
                );
                limits(&schema::parse(&text).unwrap(), &Version::parse(version).unwrap())
                    .pop()
                    .map(|mistake| mistake.message)
            };
            assert_eq!(said("db", "redis"), None);
            let expected = format!("database.host: Harbor {version} cannot be given an IPv6 address");
            assert_eq!(said("fd00::1", "redis"), (!database).then_some(expected));
            let expected = format!("redis.host: the registry of Harbor {version} cannot be given an IPv6 address");
            assert_eq!(said("db", "fd00::1"), (!redis).then_some(expected));
        }
    }
}
