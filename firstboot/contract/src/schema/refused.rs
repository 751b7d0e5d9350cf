//! Keys of Harbor's configuration files that no node can have, whatever its version: habuild does otherwise, or not yet.

/// In `harbor.yml` (1.8 and later), wherever they stand.
const ANYWHERE: [(&str, &str); 11] = [
    ("storage_service", "images are stored on the share"),
    ("internal_tls", LATER),
    ("external_endpoint", JOURNAL),
    // It holds the next three from 1.9 on; in 1.8 they stand right below `log` (v1.8.6 and v2.15.2 `make/harbor.yml*`).
    ("local", JOURNAL),
    ("location", JOURNAL),
    ("rotate_count", JOURNAL),
    ("rotate_size", JOURNAL),
    ("uaa", LATER),
    ("clair", "clair is not supported: use a version with trivy"),
    ("chart", "chart repositories are not supported: charts are stored as OCI artifacts since 2.0"),
    ("notary", "notary is not supported"),
];

/// In `harbor.cfg` (1.1 to 1.7), which has no other place than its top.
const AT_THE_TOP: [(&str, &str); 8] = [
    ("log_rotate_count", JOURNAL),
    ("log_rotate_size", JOURNAL),
    ("registry_custom_ca_bundle", LATER),
    ("uaa_ca_root", LATER),
    ("uaa_ca_cert", LATER),
    // Of the proxies, `prepare` tells clair only (v1.5.4, v1.7.8). From 1.9 on they stand below `proxy` (v1.9.0 `make/harbor.yml`).
    ("http_proxy", PROXY),
    ("https_proxy", PROXY),
    ("no_proxy", PROXY),
];

const JOURNAL: &str =
    "Harbor's logs go to the node's journal: journald.conf has its limits, and a journal can be forwarded";
const LATER: &str = "not in this version of habuild";
const DOTS: &str = "Harbor's files have no key with a dot in its name: write each part below the one before it";
const PROXY: &str =
    "in harbor.cfg only clair would use it, which is not supported; from Harbor 1.9 on it stands below proxy";

/// A key of `harbor.yml` whose map has anybody's keys: those of `trace.attributes`.
const FREE: &str = "attributes";

/// Whether the keys of a map of this name are anybody's choice.
pub(crate) fn is_free(map: &str) -> bool {
    map == FREE
}

/// Why a setting is refused, if it is. `above`: the name of the map that it stands in; empty at the file's top.
pub(crate) fn refused(name: &str, above: &str) -> Option<&'static str> {
    let of = |list: &[(&str, &'static str)]| list.iter().find(|(refused, _)| *refused == name).map(|(_, why)| *why);
    match above {
        _ if is_free(above) => None,
        // Written into Harbor's file it would do nothing, whatever the key is that it was meant for.
        _ if name.contains('.') => Some(DOTS),
        "" if name.starts_with("clair_") => Some("clair is not supported"),
        "" => of(&ANYWHERE).or_else(|| of(&AT_THE_TOP)),
        _ => of(&ANYWHERE),
    }
}

/// Why a value of a setting that is good otherwise is refused, if it is.
pub(crate) fn refused_value(name: &str, text: &str) -> Option<&'static str> {
    (name == "auth_mode" && text == "uaa_auth").then_some("uaa is not in this version of habuild")
}

#[cfg(test)]
mod tests {
    use crate::schema;

    fn said(settings: &str) -> Vec<String> {
        let node = format!(
            "version: 1\ncluster: hub\nharbor: {{external_url: 'http://hub.example.com', admin_password: x, settings: {settings}}}\n\
             storage: {{local: {{path: /srv/share}}}}\ndatabase: {{kind: mysql, host: db, user: harbor, password: x}}\n\
             redis: {{host: redis}}\n"
        );
        match schema::parse(&node) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect(),
        }
    }

    #[test]
    fn what_no_version_can_have_is_refused_without_one() {
        for (settings, key) in [
            ("{storage_service: {s3: {bucket: x}}}", "storage_service"),
            ("{log: {external_endpoint: {host: x}}}", "log.external_endpoint"),
            ("{log: {local: {rotate_size: 1M}}}", "log.local"),
            ("{log: {rotate_count: 5}}", "log.rotate_count"),
            ("{log: {location: /x}}", "log.location"),
            ("{log: {local: }}", "log.local"),
            ("{internal_tls: {enabled: true}}", "internal_tls"),
            ("{database.password: x}", "database.password"),
            ("{log.local.rotate_size: 1M}", "log.local.rotate_size"),
            ("{jobservice: {a.b: 1}}", "jobservice.a.b"),
            ("{uaa: {ca_file: /x}}", "uaa"),
            ("{chart: {absolute_url: disabled}}", "chart"),
            ("{log_rotate_size: 2M}", "log_rotate_size"),
            ("{clair_db_password: x}", "clair_db_password"),
            ("{registry_custom_ca_bundle: /x}", "registry_custom_ca_bundle"),
            ("{http_proxy: 'http://proxy:1'}", "http_proxy"),
        ] {
            assert_eq!(said(settings), [format!("harbor.settings.{key}: cannot be set")], "{settings}");
        }
        assert_eq!(said("{auth_mode: uaa_auth}"), ["harbor.settings.auth_mode: cannot be set so"]);
    }

    #[test]
    fn what_some_version_has_is_not() {
        for good in [
            "{proxy: {http_proxy: x, no_proxy: y}}",
            "{trace: {attributes: {chart: x, location: y, service.name: z}}}",
            "{auth_mode: ldap_auth, uaa_endpoint: x, uaa_verify_cert: true}",
            "{log: {level: debug}}",
        ] {
            assert_eq!(said(good), Vec::<String>::new(), "{good}");
        }
    }

    /// The keys of `harbor.cfg` that a node does not set otherwise (v1.1.2 to v1.7.8 `make/harbor.cfg`).
    #[test]
    fn what_harbor_cfg_has_is_taken() {
        let keys = "admiral_url auth_mode email_from email_identity email_insecure email_password email_server email_server_port \
                    email_ssl email_username ldap_basedn ldap_filter ldap_group_basedn ldap_group_filter ldap_group_gid \
                    ldap_group_scope ldap_scope ldap_search_pwd ldap_searchdn ldap_timeout ldap_uid ldap_url ldap_verify_cert \
                    max_job_workers project_creation_restriction self_registration skip_reload_env_pattern token_expiration \
                    uaa_clientid uaa_clientsecret uaa_endpoint uaa_verify_cert verify_remote_cert";
        for key in keys.split_whitespace() {
            assert_eq!(said(&format!("{{{key}: x}}")), Vec::<String>::new());
        }
    }
}
