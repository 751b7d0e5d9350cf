//! Generation `cfg` (Harbor 1.1 to 1.7): what the bundle's `prepare` would render, rendered by us.
//!
//! `prepare` itself needs Python 2, makes new secrets at each run, and knows of no external Redis before 1.4. Facts are
//! from goharbor/harbor at tag v1.1.2, `make/prepare` and `make/common/templates`.
//!
//! Invariant: pure; secrets appear in the rendered bytes only.

use std::collections::BTreeMap;

use super::settings;
use super::template::substitute;
use super::{Directory, Inputs, Rendered, Version, broken};
use crate::schema::{DatabaseKind, NodeConfig, TlsMode};
use crate::strict::Mistake;

/// What this generation cannot do, whatever the secrets are.
pub(super) fn limits(config: &NodeConfig, version: &Version) -> Result<(), Mistake> {
    if version.numbers() < (1, 1, 0) || version.numbers() >= (1, 3, 0) {
        return Err(Mistake::new(format!("Harbor {version}: not in this version of habuild"))
            .hint("this version configures Harbor 1.1 and 1.2"));
    }
    let (database, redis) = (config.database.external(), config.redis.external());
    if database.is_some_and(|database| database.kind != DatabaseKind::Mysql) {
        let message = format!("database.kind: Harbor {version} keeps its data in MySQL only");
        return Err(Mistake::new(message).hint("write mysql"));
    }
    let guards = [("database.tls", database.map(|d| d.tls)), ("redis.tls", redis.map(|redis| redis.tls))];
    for (key, tls) in guards {
        if tls.is_some_and(|tls| tls != TlsMode::Off) {
            return Err(Mistake::new(format!("{key}: Harbor {version} cannot encrypt this connection"))
                .hint("write off, and keep the network between them closed"));
        }
    }
    if redis.is_some_and(|redis| !redis.username.is_empty()) {
        return Err(
            Mistake::new(format!("redis.username: Harbor {version} logs in with a password only")).hint("leave it out")
        );
    }
    Ok(())
}

/// Renders everything below the node's configuration directory but the compose file.
pub(super) fn render(inputs: &Inputs<'_>) -> Result<Rendered, Mistake> {
    let Inputs { config, cluster, .. } = inputs;
    let cfg = (inputs.file)("harbor.cfg")?;
    let values = values(inputs, settings::merged(&cfg, inputs)?)?;
    let values: BTreeMap<&str, String> = values.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let mut rendered = Rendered::default();
    let template = |name: &str| -> Result<String, Mistake> {
        let path = format!("common/templates/{name}");
        let text = (inputs.file)(&path)?;
        substitute(&text, &values).map_err(|what| broken(&path, &what))
    };
    for name in ["jobservice/app.conf", "ui/app.conf"] {
        let text = (inputs.file)(&format!("common/templates/{name}"))?;
        rendered.add(&format!("common/config/{name}"), text, 0o644);
    }
    rendered.add("common/config/registry/config.yml", template("registry/config.yml")?, 0o644);
    rendered.add("common/config/registry/root.crt", cluster.root_crt.to_owned(), 0o644);
    rendered.add("common/config/ui/private_key.pem", cluster.private_key.to_owned(), 0o600);
    rendered.add("secretkey", cluster.secretkey.to_owned(), 0o600);
    let nginx = if config.tls.is_some() { "nginx/nginx.https.conf" } else { "nginx/nginx.http.conf" };
    rendered.add("common/config/nginx/nginx.conf", template(nginx)?, 0o644);
    if config.tls.is_some() {
        rendered.add("common/config/nginx/cert/server.crt", inputs.need("tls.certificate")?, 0o644);
        rendered.add("common/config/nginx/cert/server.key", inputs.need("tls.key")?, 0o600);
    }
    // nginx.conf includes what lies there; `prepare` makes it too.
    let conf_d = format!("{}/common/config/nginx/conf.d", inputs.directories.work);
    rendered.directories.push(Directory::plain(conf_d));
    let database = Login::of(config);
    let login = [
        ("MYSQL_HOST", database.host.to_owned()),
        ("MYSQL_PORT", database.port.to_string()),
        ("MYSQL_USR", database.user.to_owned()),
        ("MYSQL_DATABASE", database.name.to_owned()),
        ("RESET", inputs.reset.to_string()),
    ];
    let adminserver = with_values(&template("adminserver/env")?, &login);
    rendered.env.insert("common/config/adminserver/env".into(), adminserver);
    if config.database.is_bundled() {
        rendered.env.insert("common/config/db/env".into(), template("db/env")?);
    }
    // Without it, this generation keeps sessions in the core's memory: it brings no Redis.
    let redis = redis_url(inputs)?.map(|url| ("_REDIS_URL", url));
    rendered.env.insert("common/config/ui/env".into(), with_values(&template("ui/env")?, redis.as_slice()));
    rendered.env.insert("common/config/jobservice/env".into(), template("jobservice/env")?);
    Ok(rendered)
}

/// The template's variables.
fn values(inputs: &Inputs<'_>, settings: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Mistake> {
    let mut values = settings;
    // Two variables have other names than their keys; what harbor.cfg may leave out is empty.
    for (variable, key) in [
        ("email_host", "email_server"),
        ("email_port", "email_server_port"),
        ("email_usr", "email_username"),
        ("email_pwd", "email_password"),
        ("ldap_searchdn", "ldap_searchdn"),
        ("ldap_search_pwd", "ldap_search_pwd"),
        ("ldap_filter", "ldap_filter"),
        ("admiral_url", "admiral_url"),
    ] {
        let value = values.get(key).cloned().unwrap_or_default();
        values.insert(variable.to_owned(), value);
    }
    let own = [
        ("ui_url", inputs.config.harbor.external_url.to_string()),
        ("harbor_admin_password", inputs.need("harbor.admin_password")?),
        ("db_password", inputs.need("database.password")?),
        ("ui_secret", inputs.cluster.core_secret.to_owned()),
        ("jobservice_secret", inputs.cluster.jobservice_secret.to_owned()),
        ("with_notary", "False".to_owned()),
        ("with_clair", "False".to_owned()),
        ("ssl_cert", "/etc/nginx/cert/server.crt".to_owned()),
        ("ssl_cert_key", "/etc/nginx/cert/server.key".to_owned()),
    ];
    values.extend(own.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Ok(values)
}

/// Where Harbor finds its database.
#[derive(Debug)]
struct Login<'l> {
    host: &'l str,
    port: u16,
    user: &'l str,
    name: &'l str,
}

impl<'l> Login<'l> {
    fn of(config: &'l NodeConfig) -> Self {
        match config.database.external() {
            Some(database) => {
                Self { host: &database.host, port: database.port, user: &database.user, name: &database.name }
            }
            // The service's name in the bundle's compose file, and what its image makes (make/common/db at v1.1.2).
            None => Self { host: "mysql", port: 3306, user: "root", name: "registry" },
        }
    }
}

/// `HOST:PORT,POOL,PASSWORD,DB`, as the web framework's session store splits it: at commas. Nothing without a Redis.
fn redis_url(inputs: &Inputs<'_>) -> Result<Option<String>, Mistake> {
    let Some(redis) = inputs.config.redis.external() else { return Ok(None) };
    let password = match &redis.password {
        Some(_) => inputs.need("redis.password")?,
        None => String::new(),
    };
    if password.contains(',') {
        return Err(Mistake::new("redis.password: holds a comma, at which this version of Harbor would cut it")
            .hint("give Redis a password without commas"));
    }
    Ok(Some(format!("{}:{},100,{password},{}", redis.host, redis.port, redis.db)))
}

/// An environment file with these values: in place of those that it has, or at its end.
fn with_values(text: &str, values: &[(&str, String)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (name, value) in values {
        let line = format!("{name}={value}");
        let found = lines.iter_mut().find(|other| other.split_once('=').is_some_and(|(key, _)| key.trim() == *name));
        match found {
            Some(other) => *other = line,
            None => lines.push(line),
        }
    }
    lines.join("\n") + "\n"
}

/// Whether Harbor's settings on the share must be read anew from the environment: only while they are there and name
/// another database. `RESET=true` overwrites what administrators set in the web interface, at each start.
///
/// `config` is `config.json`, which the administration server writes in place: a torn one counts as absent, as it does
/// for Harbor.
#[must_use]
pub fn must_reset(config: &NodeConfig, settings: Option<&[u8]>) -> bool {
    let Some(settings) = settings.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok()) else {
        return false;
    };
    let database = Login::of(config);
    let text = |key: &str| settings.get(key).and_then(serde_json::Value::as_str);
    let port = settings.get("mysql_port").and_then(serde_json::Value::as_f64);
    text("mysql_host") != Some(database.host)
        || port != Some(f64::from(database.port))
        || text("mysql_username") != Some(database.user)
        || text("mysql_database") != Some(database.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_files() {
        let text = "# c\nMYSQL_HOST=mysql\nRESET=false\nX=1";
        let values = [("MYSQL_HOST", "db=1".to_owned()), ("NEW", "a b".to_owned())];
        assert_eq!(with_values(text, &values), "# c\nMYSQL_HOST=db=1\nRESET=false\nX=1\nNEW=a b\n");
    }

    #[test]
    fn reset_only_while_the_share_names_another_database() {
        let text = "version: 1\ncluster: hub\nharbor: {external_url: http://hub.example.com, admin_password: x1}\n\
                    storage: {local: {path: /srv/share}}\nredis: {host: redis}\n\
                    database: {kind: mysql, host: db, user: harbor, password: x2, name: registry}\n";
        let config = crate::schema::parse(text).unwrap();
        let settings = |host: &str, port: &str| {
            format!(
                "{{\"mysql_host\": \"{host}\", \"mysql_port\": {port}, \"mysql_username\": \"harbor\", \
                 \"mysql_database\": \"registry\", \"auth_mode\": \"db_auth\"}}"
            )
        };
        for (settings, expected) in [
            (None, false),
            (Some(String::new()), false),
            (Some("{\"mysql_host\":".to_owned()), false),
            (Some(settings("db", "3306")), false),
            (Some(settings("mysql", "3306")), true),
            (Some(settings("db", "3307")), true),
            (Some("{}".to_owned()), true),
        ] {
            let bytes = settings.as_ref().map(String::as_bytes);
            assert_eq!(must_reset(&config, bytes), expected, "{settings:?}");
        }
    }
}
