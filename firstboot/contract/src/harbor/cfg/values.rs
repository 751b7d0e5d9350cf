//! The variables of the templates: what each version's `prepare` makes of `harbor.cfg`.
//!
//! Facts are from goharbor/harbor at the tags v1.1.2, v1.2.2, v1.3.0, v1.4.1, v1.5.4, v1.6.3 and v1.7.8, `make/prepare`.

use std::collections::BTreeMap;

use super::super::{Inputs, Version, check_database_password, settings};
use super::{Login, redis};
use crate::strict::Mistake;

/// The variables by their names, and what some templates have otherwise.
#[derive(Debug)]
pub(super) struct Values {
    all: BTreeMap<String, String>,
    /// `redis_url` is two things since 1.5: a list for the sessions, a URL for the jobs.
    jobs: Option<String>,
}

impl Values {
    /// Those of the template at this path.
    pub(super) fn of(&self, template: &str) -> BTreeMap<&str, String> {
        let mut values: BTreeMap<&str, String> =
            self.all.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        if let ("jobservice/config.yml", Some(url)) = (template, &self.jobs) {
            values.insert("redis_url", url.clone());
        }
        values
    }

    /// The service that answers the API, and its directory: `core` since 1.7.
    pub(super) fn core(version: &Version) -> &'static str {
        if version.numbers() < (1, 7, 0) { "ui" } else { "core" }
    }

    /// Makes them.
    ///
    /// # Errors
    /// A setting or a password that this version cannot use.
    pub(super) fn make(inputs: &Inputs<'_>) -> Result<Self, Mistake> {
        let mut all = settings::merged(&(inputs.file)("harbor.cfg")?, inputs)?;
        // Some variables have other names than their keys; what harbor.cfg may leave out is empty.
        for (variable, key) in [
            ("email_host", "email_server"),
            ("email_port", "email_server_port"),
            ("email_usr", "email_username"),
            ("email_pwd", "email_password"),
            ("pg_password", "clair_db_password"),
            ("ldap_searchdn", "ldap_searchdn"),
            ("ldap_search_pwd", "ldap_search_pwd"),
            ("ldap_filter", "ldap_filter"),
            ("ldap_group_admin_dn", "ldap_group_admin_dn"),
            ("admiral_url", "admiral_url"),
        ] {
            let value = all.get(key).cloned().unwrap_or_default();
            all.insert(variable.to_owned(), value);
        }
        // A pattern that no name matches.
        all.entry("skip_reload_env_pattern".into()).or_insert_with(|| "$^".into());
        let redis = redis::Address::of(inputs, all.get("redis_db_index").map(String::as_str))?;
        let own = own(inputs)?.into_iter().chain(redis.values);
        all.extend(own.map(|(key, value)| (key.to_owned(), value)));
        Ok(Self { all, jobs: redis.jobs })
    }
}

/// What the node config and the cluster say, and what each version has fixed.
fn own(inputs: &Inputs<'_>) -> Result<Vec<(&'static str, String)>, Mistake> {
    let (version, cluster) = (inputs.version, &inputs.cluster);
    let core = Values::core(version);
    let public = inputs.config.harbor.external_url.to_string();
    let internal = format!("http://{core}:8080");
    let login = Login::of(inputs.config, version);
    let database_password = inputs.need("database.password")?;
    check_database_password(version, &database_password)?;
    let own = [
        // The address for clients until 1.4, the one for the other services since.
        ("ui_url", if version.numbers() < (1, 5, 0) { public.clone() } else { internal.clone() }),
        ("public_url", public),
        ("token_service_url", format!("{internal}/service/token")),
        ("core_url", internal),
        ("adminserver_url", "http://adminserver:8080".to_owned()),
        ("jobservice_url", "http://jobservice:8080".to_owned()),
        ("registry_url", "http://registry:5000".to_owned()),
        ("registry_controller_url", "http://registryctl:8080".to_owned()),
        // Named to the core whether they are there or not.
        ("clair_url", "http://clair:6060".to_owned()),
        ("notary_url", "http://notary-server:4443".to_owned()),
        ("chart_repository_url", "http://chartmuseum:9999".to_owned()),
        ("chart_cache_driver", "redis".to_owned()),
        ("with_notary", "False".to_owned()),
        ("with_clair", "False".to_owned()),
        ("with_chartmuseum", "False".to_owned()),
        // From 1.4 on the settings are in the database, from 1.5 on without the database's address: nothing to reload.
        ("reload_config", "false".to_owned()),
        ("reload_key", String::new()),
        ("storage_provider_name", "filesystem".to_owned()),
        ("storage_provider_info", "filesystem:\n    rootdirectory: /storage".to_owned()),
        ("db_host", login.host()),
        ("db_port", login.port.to_string()),
        ("db_user", login.user.to_owned()),
        ("db_password", database_password),
        ("harbor_admin_password", inputs.need("harbor.admin_password")?),
        ("ui_secret", cluster.core_secret.to_owned()),
        ("core_secret", cluster.core_secret.to_owned()),
        ("jobservice_secret", cluster.jobservice_secret.to_owned()),
        ("ssl_cert", "/etc/nginx/cert/server.crt".to_owned()),
        ("ssl_cert_key", "/etc/nginx/cert/server.key".to_owned()),
    ];
    Ok(own.into())
}
