//! The services of each version. Of Harbor 1.8 and later also the container images that they are: its compose file is not in the
//! bundle, the bundle's own `prepare` writes it.
//!
//! Facts: goharbor/harbor at the tags v1.8.6 to v2.15.2, `make/photon/prepare/templates/docker_compose`.

use super::{HarborOption, Version};

/// When a service runs on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// Where the node config says `bundled`.
    Bundled,
    /// Once, to render the configuration.
    Prepare,
    /// Where the node config turns an option on.
    Option(HarborOption),
    /// Never: the node's journal does its work.
    Never,
}

/// When a service of this name runs, in every version.
#[must_use]
pub fn when(service: &str) -> When {
    match service {
        "log" => When::Never,
        "mysql" | "postgresql" | "redis" => When::Bundled,
        _ => When::Always,
    }
}

/// A service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its name in the compose file; `prepare` is in none.
    pub service: &'static str,
    /// Its image without the tag.
    pub image: &'static str,
    /// When it runs.
    pub when: When,
}

/// The services that every node of a version up to 1.7 runs: those of the compose file that is in its bundle (v1.1.2 to v1.7.8
/// `make/docker-compose.tpl`) but for the log service, the database and Redis.
#[must_use]
pub fn composed(version: &Version) -> &'static [&'static str] {
    if version.numbers() < (1, 7, 0) {
        return &["adminserver", "jobservice", "proxy", "registry", "ui"];
    }
    &["adminserver", "core", "jobservice", "portal", "proxy", "registry", "registryctl"]
}

/// The configuration file that a bundle brings for its administrator to fill in: a template since 2.0.
#[must_use]
pub fn settings_file(version: &Version) -> &'static str {
    if version.numbers() < (2, 0, 0) { "harbor.yml" } else { "harbor.yml.tmpl" }
}

/// The services of a version from 1.8 on. Those that habuild has no use for are left out (clair, notary, chartmuseum).
#[must_use]
pub fn members(version: &Version) -> Vec<Member> {
    let numbers = version.numbers();
    let member = |service, image| Member { service, image, when: when(service) };
    let option = |service, image, option| Member { service, image, when: When::Option(option) };
    let redis = if numbers < (2, 15, 2) { "goharbor/redis-photon" } else { "goharbor/valkey-photon" };
    let mut members = vec![
        member("core", "goharbor/harbor-core"),
        member("jobservice", "goharbor/harbor-jobservice"),
        member("log", "goharbor/harbor-log"),
        member("portal", "goharbor/harbor-portal"),
        member("postgresql", "goharbor/harbor-db"),
        Member { service: "prepare", image: "goharbor/prepare", when: When::Prepare },
        member("proxy", "goharbor/nginx-photon"),
        member("redis", redis),
        member("registry", "goharbor/registry-photon"),
        member("registryctl", "goharbor/harbor-registryctl"),
    ];
    let options = [
        option("exporter", "goharbor/harbor-exporter", HarborOption::Metrics),
        option("trivy-adapter", "goharbor/trivy-adapter-photon", HarborOption::Trivy),
    ];
    let there = |member: &Member| matches!(member.when, When::Option(option) if option.is_in(version));
    members.extend(options.into_iter().filter(there));
    members.sort_by_key(|member| member.service);
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_from_version_to_version() {
        let of = |version| members(&Version::parse(version).unwrap());
        let has = |version, image| of(version).iter().any(|member| member.image.ends_with(image));
        assert_eq!(of("v1.8.6").len(), 10);
        assert!(!has("v1.10.19", "trivy-adapter-photon") && has("v2.0.0", "trivy-adapter-photon"));
        assert!(!has("v2.1.6", "harbor-exporter") && has("v2.2.0", "harbor-exporter"));
        assert!(has("v2.15.1", "redis-photon") && !has("v2.15.1", "valkey-photon"));
        assert!(!has("v2.15.2", "redis-photon") && has("v2.15.2", "valkey-photon"));
        let option = |version, service| {
            let member = of(version).into_iter().find(|member| member.service == service);
            member.map(|member| member.when)
        };
        assert_eq!(option("v2.2.0", "exporter"), Some(When::Option(HarborOption::Metrics)));
        assert_eq!(option("v2.2.0", "trivy-adapter"), Some(When::Option(HarborOption::Trivy)));
        let file = |version| settings_file(&Version::parse(version).unwrap());
        assert_eq!((file("v1.10.19"), file("v2.0.0")), ("harbor.yml", "harbor.yml.tmpl"));
    }
}
