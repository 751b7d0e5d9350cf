//! Which of a bundle's container images run on a node, and whether an image that was baked holds them.

use std::collections::BTreeMap;

use super::{Baked, COMPOSE_FILE, Generation, HarborOption, Member, Version, When, broken, members, services, when};
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
        let mut known = self.services.values().filter(|(image, _)| is_image(name, image)).peekable();
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
        wanted.filter(|image| !held.iter().any(|name| is_image(name, image)))
    }
}

/// Redis up to 2.15.1, and since. A patch of an older version that is yet to come may bring the new one.
const REDIS: [&str; 2] = ["goharbor/redis-photon", "goharbor/valkey-photon"];

/// Whether `name`, with a tag, is that of `image`, which may have none.
#[must_use]
pub fn is_image(name: &str, image: &str) -> bool {
    let is = |image: &str| name.strip_prefix(image).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    is(image) || image == REDIS[0] && is(REDIS[1])
}

/// What a node config turns on of which the images are not among those in Docker's store, each with the key of the node config and
/// what to do. An image may have been baked without them, and a bundle may have been made without.
pub(super) fn lacking(config: &NodeConfig, uses: &Uses, baked: &Baked<'_>) -> Vec<Mistake> {
    let mut found = Vec::new();
    let mut lacks = |key: &str, image: &str, instead: &str, spec: &str| {
        let of_bundle = baked.of_bundle.is_some_and(|held| !held.iter().any(|name| is_image(name, image)));
        let (who, other) = if of_bundle {
            ("the bundle", "take a bundle that has it: the offline installer as Harbor released it".to_owned())
        } else {
            ("this image", format!("bake an image whose spec has {spec}"))
        };
        let message = format!("{key}: {who} holds no container image {image}");
        found.push(Mistake::new(message).hint(format!("{instead}, or {other}")));
    };
    for option in HarborOption::ALL.into_iter().filter(|option| option.is_on(config)) {
        let name = option.name();
        for image in uses.missing(baked.images, |when| when == When::Option(option)) {
            lacks(&format!("harbor.{name}"), image, "leave it out", &format!("{name:?} in harbor.options"));
        }
    }
    for (service, (image, when)) in &uses.services {
        let (key, bundled) = match service.as_str() {
            "redis" => ("redis", config.redis.is_bundled()),
            _ => ("database", config.database.is_bundled()),
        };
        if *when == When::Bundled && bundled && !baked.images.iter().any(|name| is_image(name, image)) {
            lacks(key, image, "give the server that it is to use", "harbor.bundled = true");
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Defaults;
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
            ("v2.15.2", "goharbor/valkey-photon:v2.15.2", true, false),
            ("v2.14.9", "goharbor/valkey-photon:v2.14.9", true, false),
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
            let (version, images) = (Version::parse(version).unwrap(), [held.to_owned()]);
            for (of_bundle, who) in [(None, "this image"), (Some(&images[..]), "the bundle")] {
                let baked = Baked {
                    version: &version,
                    images: &images,
                    of_bundle,
                    settings: &Defaults::default(),
                    file: &|_| Ok(String::new()),
                };
                let said = lacking(&node(database, options), &uses(version.as_str()), &baked);
                let expected = expected.map(|(key, image)| format!("{key}: {who} holds no container image {image}"));
                assert_eq!(said.first().map(|mistake| mistake.message.clone()), expected, "{version} {options} {held}");
            }
        }
    }
}
