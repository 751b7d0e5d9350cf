//! Whether an image can be what a node config wants, told before anything of it is done: on the desk by `habuild check`, and on
//! the node before anything on the share says that it is of this version.

use super::{
    COMPOSE_FILE, Defaults, Generation, Uses, Version, broken_file, check_database_password, check_redis_password, dry,
    limits, settings as cfg_settings, uses, yml,
};
use crate::schema::NodeConfig;
use crate::strict::Mistake;

/// What an image has of Harbor.
#[derive(Clone, Copy)]
pub struct Baked<'b> {
    /// The bundle's version.
    pub version: &'b Version,
    /// The names with tags of the container images in Docker's store.
    pub images: &'b [String],
    /// Those of the bundle's, which an image need not have got all, where the bundle is at hand.
    pub of_bundle: Option<&'b [String]>,
    /// What the image says of Harbor's settings where the node config says nothing.
    pub settings: &'b Defaults,
    /// A text file of the bundle, by its path there.
    pub file: &'b dyn Fn(&str) -> Result<String, Mistake>,
}

impl std::fmt::Debug for Baked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Baked").field("version", &self.version).finish_non_exhaustive()
    }
}

/// What the image cannot do for a node config: of the version, the images, the passwords, and Harbor's own settings. `secret` gives the
/// secret of a key such as `database.password` as far as it is known yet; nothing is said of one that is not.
#[must_use]
pub fn misfits(config: &NodeConfig, baked: &Baked<'_>, secret: &dyn Fn(&str) -> Option<String>) -> Vec<Mistake> {
    let Baked { version, settings, file, .. } = baked;
    let limited = limits(config, version);
    let compose = match version.generation() {
        Some(Generation::Yml) => Ok(String::new()),
        Some(Generation::Cfg) => file(COMPOSE_FILE),
        // Of a version that is not known there is no more to be said.
        None => return limited,
    };
    // What the version cannot do at all, its bundle has no place for: that is no fault of the bundle's.
    let blameless = !limited.is_empty();
    let mut judged = limited;
    match compose.and_then(|compose| Uses::of(version, compose.as_bytes())) {
        Ok(uses) => judged.extend(uses::lacking(config, &uses, baked)),
        Err(mistake) => judged.push(mistake),
    }
    let database = config.database.external().and_then(|_| secret("database.password"));
    judged.extend(database.and_then(|password| check_database_password(version, &password).err()));
    let redis = config.redis.external().and_then(|_| secret("redis.password"));
    judged.extend(redis.and_then(|password| check_redis_password(version, &password).err()));
    let own = &config.harbor.settings;
    judged.extend(match version.generation() {
        Some(Generation::Yml) => yml::unfit(&[&settings.settings(), own], version, *file),
        _ => cfg_settings::unfit(own, version, *file),
    });
    // It finds the first of these again, and what nobody looked for before.
    judged.extend(dry::render_for(config, version, settings, *file, secret).err());
    let mut found = Vec::new();
    for mistake in judged {
        let excused = blameless && broken_file(&mistake).is_some();
        if !excused && !found.contains(&mistake) {
            found.push(mistake);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::dry::tests::YML;
    use super::*;
    use crate::schema;

    /// A bundle's `harbor.yml`, with a key that a node may set.
    fn yml() -> String {
        format!("{YML}jobservice:\n  max_job_workers: 10\n")
    }

    /// What does not fit of a node config with this password of the database, and with `more` below `harbor`.
    fn said(harbor: &str, kind: &str, more: &str, password: Option<&str>) -> Vec<String> {
        let config = schema::parse(&format!(
            "version: 1\ncluster: hub\nharbor: {{external_url: 'http://hub.example.com', admin_password: ref+file:///a{more}}}\n\
             storage: {{local: {{path: /srv/share}}}}\nredis: {{host: redis, password: ref+file:///r}}\n\
             database: {{kind: {kind}, host: db, user: harbor, password: ref+file:///p}}\n"
        ))
        .unwrap();
        let baked = Baked {
            version: &Version::parse(harbor).unwrap(),
            images: &["goharbor/harbor-core:v2".to_owned()],
            of_bundle: None,
            settings: &Defaults::default(),
            file: &|_| Ok(yml()),
        };
        let secret = |key: &str| password.filter(|_| key == "database.password").map(str::to_owned);
        misfits(&config, &baked, &secret).into_iter().map(|mistake| mistake.message).collect()
    }

    #[test]
    fn all_that_does_not_fit_is_said_at_once() {
        assert_eq!(said("v2.14.1", "postgresql", "", None), Vec::<String>::new());
        assert_eq!(
            said(
                "v2.14.1",
                "mysql",
                ", jobservice: false, trivy: true, metrics: {port: 9}, \
                 settings: {hostnam: h, jobservice: {max_job_worker: 3, max_job_workers: many}}",
                None
            ),
            [
                "database.kind: Harbor v2.14.1 keeps its data in PostgreSQL only",
                "harbor.jobservice: Harbor v2.14.1 needs one on every node",
                "harbor.trivy: this image holds no container image goharbor/trivy-adapter-photon",
                "harbor.metrics: this image holds no container image goharbor/harbor-exporter",
                "harbor.settings.hostnam: Harbor v2.14.1 has no such setting",
                "harbor.settings.jobservice.max_job_worker: Harbor v2.14.1 has no such setting",
                "harbor.settings.jobservice.max_job_workers: is text, and must be a number",
            ]
        );
    }

    #[test]
    fn a_secret_counts_where_it_is_known() {
        let blank = "database.password: holds a blank, at which Harbor v2.14.1 would cut or misread it";
        assert_eq!(said("v2.14.1", "postgresql", "", Some("s3 cret")), [blank]);
        assert_eq!(said("v2.14.1", "postgresql", "", Some("s3cret")), Vec::<String>::new());
        let both = said("v2.14.1", "postgresql", ", settings: {jobservice: {max_job_worker: 3}}", Some("s3 cret"));
        assert_eq!((both.len(), both[0].as_str()), (2, blank), "{both:?}");
    }

    #[test]
    fn the_node_config_with_every_key_is_one_for_today() {
        let config = schema::parse(include_str!("../../../../tests/golden/node/full.yaml")).unwrap();
        let more = "trivy:\n  ignore_unfixed: false\n  timeout: t\n  # github_token: x\nproxy:\n  no_proxy:\n  components: [core]\n\
                    # external_redis:\n#   username:\n#   tlsOptions:\n#     enable: false\n#     rootCA:\n";
        let baked = Baked {
            version: &Version::parse("v2.15.2").unwrap(),
            images: &["trivy-adapter-photon", "harbor-exporter"].map(|name| format!("goharbor/{name}:v2.15.2")),
            of_bundle: None,
            settings: &Defaults::default(),
            file: &|_| Ok(yml() + more),
        };
        assert_eq!(misfits(&config, &baked, &|_| None), []);
    }

    #[test]
    fn the_images_settings_and_the_nodes_are_judged_together() {
        let file = || YML.to_owned() + "# trace:\n#   enabled: true\n#   jaeger:\n#     agent_host: h\n";
        let config = schema::parse(
            "version: 1\ncluster: hub\nharbor: {external_url: 'http://hub.example.com', admin_password: x, settings: \
             {trace: {enabled: true}}}\nstorage: {local: {path: /srv/share}}\nredis: {host: redis}\n\
             database: {kind: postgresql, host: db, user: harbor, password: x}\n",
        )
        .unwrap();
        for (defaults, expected) in [(r#"{"trace": {"jaeger": {"agent_host": "h"}}}"#, 0), ("{}", 1)] {
            let baked = Baked {
                version: &Version::parse("v2.15.2").unwrap(),
                images: &[],
                of_bundle: None,
                settings: &serde_json::from_str(defaults).unwrap(),
                file: &|_| Ok(file()),
            };
            let found = misfits(&config, &baked, &|_| None);
            assert_eq!(found.len(), expected, "{defaults}: {found:?}");
        }
    }

    #[test]
    fn the_bundle_is_not_blamed_for_what_its_version_cannot_do() {
        let kind = "database.kind: Harbor v1.1.2 keeps its data in MySQL only";
        assert_eq!(said("v1.1.2", "postgresql", "", None), [kind]);
        // The file of a later one in its place is.
        assert!(said("v1.1.2", "mysql", "", None)[0].starts_with("docker-compose.yml of the bundle: "));
    }

    #[test]
    fn a_version_that_is_not_known_is_all_that_is_said() {
        assert_eq!(said("v1.0.0", "mysql", "", None), ["Harbor v1.0.0: is older than any that habuild knows"]);
    }
}
