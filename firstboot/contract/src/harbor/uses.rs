//! Which of a bundle's container images run on a node, and whether an image that was baked holds them.

use std::collections::BTreeMap;

use super::{COMPOSE_FILE, Generation, HarborOption, Member, Version, When, broken, members, services, when};
use crate::schema::NodeConfig;
use crate::strict::Mistake;

/// Images of 1.8 and later that no service of habuild's is made of. Any other that is not known is kept: a newer version may
/// need it (goharbor/harbor v1.8.6 to v2.8.6 `make/photon`; what 1.8 and 1.9 called the migrator).
const UNUSED: [&str; 5] =
    ["goharbor/clair-", "goharbor/notary-", "goharbor/chartmuseum-", "goharbor/harbor-migrator", "goharbor/harbor-log"];

/// What the images of a bundle are for.
#[derive(Debug, Clone)]
pub struct Uses {
    /// By service: its image, with a tag up to 1.7 and without from 1.8 on, and when it runs.
    services: BTreeMap<String, (String, When)>,
    generation: Generation,
}

impl Uses {
    /// Those of a version's bundle; `compose` is its compose file, which it has up to 1.7.
    ///
    /// # Errors
    /// The compose file cannot be understood.
    pub fn of(version: &Version, compose: &[u8]) -> Result<Self, Mistake> {
        if version.generation() == Some(Generation::Yml) {
            let of = |member: Member| (member.service.to_owned(), (member.image.to_owned(), member.when));
            return Ok(Self { services: members(version).into_iter().map(of).collect(), generation: Generation::Yml });
        }
        let services = services(compose).map_err(|what| broken(COMPOSE_FILE, &what))?;
        let of = |(service, image): (String, Option<String>)| Some((service.clone(), (image?, when(&service))));
        Ok(Self { services: services.into_iter().filter_map(of).collect(), generation: Generation::Cfg })
    }

    /// Whether an image of this name with its tag can run on a node, given when services do.
    #[must_use]
    pub fn keeps(&self, name: &str, runs: impl Fn(When) -> bool) -> bool {
        let mut known = self.services.values().filter(|(image, _)| is(name, image)).peekable();
        if known.peek().is_some() {
            return known.any(|(_, when)| runs(*when));
        }
        self.generation == Generation::Yml && !UNUSED.iter().any(|unused| name.starts_with(unused))
    }

    /// The images, among `held`, names with tags, that are not there though `runs` wants them.
    pub fn missing<'u>(
        &'u self,
        held: &'u [String],
        runs: impl Fn(When) -> bool + 'u,
    ) -> impl Iterator<Item = &'u str> {
        let wanted = self.services.values().filter(move |(_, when)| runs(*when)).map(|(image, _)| image.as_str());
        wanted.filter(|image| !held.iter().any(|name| is(name, image)))
    }
}

/// Whether `name`, with a tag, is `image`, which may have none.
fn is(name: &str, image: &str) -> bool {
    name.strip_prefix(image).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// Whether `held`, the names with tags in Docker's store, has the images of what a node config turns on. An image may have been
/// baked without them.
///
/// # Errors
/// The key of the node config, and that of the image spec.
pub(super) fn has_images(config: &NodeConfig, uses: &Uses, held: &[String]) -> Result<(), Mistake> {
    let lacks = |key: &str, image: &str, hint: String| {
        Err(Mistake::new(format!("{key}: this image holds no container image {image}")).hint(hint))
    };
    for option in HarborOption::ALL.into_iter().filter(|option| option.is_on(config)) {
        if let Some(image) = uses.missing(held, |when| when == When::Option(option)).next() {
            let name = option.name();
            let hint = format!("leave it out, or bake an image whose spec has {name:?} in harbor.options");
            return lacks(&format!("harbor.{name}"), image, hint);
        }
    }
    for (service, (image, when)) in &uses.services {
        let (key, bundled) = match service.as_str() {
            "redis" => ("redis", config.redis.is_bundled()),
            _ => ("database", config.database.is_bundled()),
        };
        if *when == When::Bundled && bundled && !held.iter().any(|name| is(name, image)) {
            let hint = "give the server that it is to use, or bake an image whose spec has harbor.bundled = true";
            return lacks(key, image, hint.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    const COMPOSE: &[u8] = b"services:\n  log: {image: 'vmware/harbor-log:v1'}\n  mysql: {image: 'vmware/harbor-db:v1'}\n  ui: {image: 'vmware/harbor-ui:v1'}\n";

    fn uses(version: &str) -> Uses {
        Uses::of(&Version::parse(version).unwrap(), COMPOSE).unwrap()
    }

    #[test]
    fn images_that_can_run() {
        let all = |when| when != When::Never;
        let external = |when| !matches!(when, When::Never | When::Bundled | When::Option(_));
        for (version, name, kept, kept_external) in [
            ("v1.1.2", "vmware/harbor-ui:v1", true, true),
            ("v1.1.2", "vmware/harbor-db:v1", true, false),
            ("v1.1.2", "vmware/harbor-log:v1", false, false),
            ("v1.1.2", "vmware/clair:v2.0.1", false, false),
            ("v2.15.2", "goharbor/harbor-core:v2.15.2", true, true),
            ("v2.15.2", "goharbor/prepare:v2.15.2", true, true),
            ("v2.15.2", "goharbor/harbor-db:v2.15.2", true, false),
            ("v2.15.2", "goharbor/trivy-adapter-photon:v2.15.2", true, false),
            ("v2.15.2", "goharbor/harbor-log:v2.15.2", false, false),
            ("v2.7.4", "goharbor/notary-server-photon:v2.7.4", false, false),
            ("v2.99.0", "goharbor/harbor-new:v2.99.0", true, true),
        ] {
            let uses = uses(version);
            assert_eq!((uses.keeps(name, all), uses.keeps(name, external)), (kept, kept_external), "{version} {name}");
        }
    }

    #[test]
    fn what_a_node_config_turns_on_must_have_been_baked() {
        let node = |database: &str, options: &str| {
            schema::parse(&format!(
                "version: 1\ncluster: hub\nharbor: {{external_url: 'http://hub.example.com', admin_password: x{options}}}\n\
                 storage: {{local: {{path: /srv/share}}}}\ndatabase: {database}\nredis: {{host: redis, password: x}}\n"
            ))
            .unwrap()
        };
        let external = "{kind: postgresql, host: db, user: harbor, password: x}";
        let db = "goharbor/harbor-db:v2.15.2";
        for (version, database, options, held, expected) in [
            ("v2.15.2", external, "", "", None),
            ("v2.15.2", "bundled", "", db, None),
            ("v2.15.2", "bundled", "", "goharbor/harbor-db-base:v2", Some(("database", "goharbor/harbor-db"))),
            ("v1.1.2", "bundled", "", "vmware/harbor-db:v2", Some(("database", "vmware/harbor-db:v1"))),
            ("v1.1.2", "bundled", "", "vmware/harbor-db:v1", None),
            ("v2.15.2", external, ", trivy: true", "goharbor/trivy-adapter-photon:v2", None),
            ("v2.15.2", external, ", trivy: true", db, Some(("harbor.trivy", "goharbor/trivy-adapter-photon"))),
            ("v2.15.2", external, ", metrics: {port: 1}", db, Some(("harbor.metrics", "goharbor/harbor-exporter"))),
        ] {
            let said = has_images(&node(database, options), &uses(version), &[held.to_owned()]);
            let expected = expected.map(|(key, image)| format!("{key}: this image holds no container image {image}"));
            assert_eq!(said.err().map(|mistake| mistake.message), expected, "{version} {database} {options} {held}");
        }
    }
}
