//! Generation `cfg` (Harbor 1.1 to 1.7): what the bundle's `prepare` would render, rendered by us.
//!
//! `prepare` itself needs a Python that images no longer have, makes new secrets at each run, and knows of no external Redis
//! before 1.4. Facts are from goharbor/harbor at the tags v1.1.2, v1.2.2, v1.3.0, v1.4.1, v1.5.4, v1.6.3 and v1.7.8:
//! `make/prepare`, `make/common/templates`, `make/docker-compose.tpl` and `make/photon`.
//!
//! Invariant: pure; secrets appear in the rendered bytes only.

mod redis;
#[cfg(test)]
mod tests;
mod values;

use super::template::substitute;
use super::yml::HARBOR;
use super::{Directory, EVERY_NODE, Inputs, OWN_REDIS, Rendered, RenderedFile, Version, broken};
use crate::schema::{NodeConfig, TlsMode};
use crate::strict::Mistake;
use values::Values;

/// What this generation cannot do, whatever the secrets are.
pub(super) fn limits(config: &NodeConfig, version: &Version) -> Vec<Mistake> {
    let numbers = version.numbers();
    let mut found = Vec::new();
    let mut refuse = |message: String, hint: &str| found.push(Mistake::new(message).hint(hint));
    if !config.harbor.jobservice && numbers >= (1, 5, 0) {
        refuse(format!("harbor.jobservice: Harbor {version} needs one on every node"), EVERY_NODE);
    }
    let (database, redis) = (config.database.external(), config.redis.external());
    let guards = [("database.tls", database.map(|d| d.tls)), ("redis.tls", redis.map(|redis| redis.tls))];
    for (key, tls) in guards {
        if tls.is_some_and(|tls| tls != TlsMode::Off) {
            let message = format!("{key}: Harbor {version} cannot encrypt this connection");
            refuse(message, "write off, leave its ca out, and keep the network between them closed");
        }
    }
    if database.is_some_and(|database| numbers >= (1, 6, 0) && database.name != "registry") {
        let message = format!("database.name: Harbor {version} knows no other database than registry");
        refuse(message, "leave it out, and call the database registry");
    }
    if let Some(redis) = redis {
        if !redis.username.is_empty() {
            refuse(format!("redis.username: Harbor {version} logs in with a password only"), "leave it out");
        }
        if redis.db != 0 && numbers >= (1, 6, 0) {
            refuse(format!("redis.db: Harbor {version} keeps its sessions in database 0, whatever is set"), OWN_REDIS);
        }
    }
    found
}

/// Renders everything below the node's configuration directory but the compose file.
pub(super) fn render(inputs: &Inputs<'_>) -> Result<Rendered, Mistake> {
    let Inputs { cluster, version, .. } = inputs;
    let numbers = version.numbers();
    let values = Values::make(inputs)?;
    let template = |name: &str| -> Result<String, Mistake> {
        let path = format!("common/templates/{name}");
        let text = (inputs.file)(&path)?;
        substitute(&text, &values.of(name)).map_err(|what| broken(&path, &what))
    };
    let mut rendered = Rendered::default();
    let work = inputs.directories.work;
    // From 1.3 on Harbor's processes are no longer root. Their containers gave them most of these files at each start up to
    // 1.5, by themselves; from 1.7 on root in them can no longer read what is not its own.
    let (owner, shown) = if numbers < (1, 3, 0) { ((0, 0), 0o644) } else { (HARBOR, 0o640) };
    let mut add = |path: &str, text: String, mode: u32| {
        rendered.files.insert(path.to_owned(), RenderedFile { text, mode, owner });
    };
    let core = Values::core(version);
    // Before 1.5 the job service has no more settings than the core, and its Redis came with 1.5 too.
    let jobs_are_configured = numbers >= (1, 5, 0);
    let mut copied = vec![format!("{core}/app.conf")];
    if !jobs_are_configured {
        copied.push("jobservice/app.conf".into());
    }
    // 1.6 has its templates, but no such service.
    if numbers >= (1, 7, 0) {
        copied.push("registryctl/config.yml".into());
    }
    for name in copied {
        let text = (inputs.file)(&format!("common/templates/{name}"))?;
        add(&format!("common/config/{name}"), text, 0o644);
    }
    // 1.4 and 1.5 have a `config_ha.yml` too, which keeps the registry's cache in Redis. It has no place for a password, gives
    // Redis ten milliseconds, and outlives a garbage collection, which the cache of a process does not.
    add("common/config/registry/config.yml", template("registry/config.yml")?, shown);
    if jobs_are_configured {
        add("common/config/jobservice/config.yml", template("jobservice/config.yml")?, shown);
    }
    add("common/config/registry/root.crt", cluster.root_crt.to_owned(), 0o600);
    add(&format!("common/config/{core}/private_key.pem"), cluster.private_key.to_owned(), 0o600);
    add("secretkey", cluster.secretkey.to_owned(), 0o600);
    nginx(inputs, &template, &mut rendered)?;
    if numbers >= (1, 3, 0) {
        let path = format!("{work}/common/config/{core}/certificates");
        rendered.directories.push(Directory { path, mode: 0o755, owner: HARBOR });
    }
    if numbers >= (1, 6, 0) {
        // Bound whether it is there or not; the registry appends it to the authorities that it trusts.
        rendered.add("common/config/custom-ca-bundle.crt", String::new(), 0o644);
    }
    environments(inputs, &template, &mut rendered)?;
    Ok(rendered)
}

type Template<'t> = &'t dyn Fn(&str) -> Result<String, Mistake>;

/// The proxy's files are root's in every version: its container reads them as root.
fn nginx(inputs: &Inputs<'_>, template: Template<'_>, rendered: &mut Rendered) -> Result<(), Mistake> {
    let name = if inputs.config.tls.is_some() { "nginx/nginx.https.conf" } else { "nginx/nginx.http.conf" };
    rendered.add("common/config/nginx/nginx.conf", template(name)?, 0o644);
    if inputs.config.tls.is_some() {
        rendered.add("common/config/nginx/cert/server.crt", inputs.need("tls.certificate")?, 0o644);
        rendered.add("common/config/nginx/cert/server.key", inputs.need("tls.key")?, 0o600);
    }
    // nginx.conf includes what lies there; `prepare` makes it too.
    let conf_d = format!("{}/common/config/nginx/conf.d", inputs.directories.work);
    rendered.directories.push(Directory::plain(conf_d));
    Ok(())
}

/// What the services get as their environment.
fn environments(inputs: &Inputs<'_>, template: Template<'_>, rendered: &mut Rendered) -> Result<(), Mistake> {
    let Inputs { config, version, .. } = inputs;
    let numbers = version.numbers();
    let mut add = |name: &str, values: &[(&str, String)]| -> Result<(), Mistake> {
        let text = with_values(&template(name)?, values);
        rendered.env.insert(format!("common/config/{name}"), text);
        Ok(())
    };
    let mut login = Vec::new();
    if numbers < (1, 6, 0) {
        let database = Login::of(config, version);
        login.extend([
            ("MYSQL_HOST", database.host()),
            ("MYSQL_PORT", database.port.to_string()),
            ("MYSQL_USR", database.user.to_owned()),
            ("MYSQL_DATABASE", database.name.to_owned()),
            ("RESET", (inputs.reset && numbers < SETTINGS_IN_DATABASE).to_string()),
        ]);
    }
    add("adminserver/env", &login)?;
    if config.database.is_bundled() {
        add("db/env", &[])?;
    }
    // Without it, sessions are in the core's memory up to 1.4: there is no Redis in the bundle. From 1.4 on the template names
    // it by itself.
    let sessions = if numbers < (1, 4, 0) { redis::sessions(inputs)?.map(|url| ("_REDIS_URL", url)) } else { None };
    add(&format!("{}/env", Values::core(version)), sessions.as_slice())?;
    add("jobservice/env", &[])?;
    if numbers >= (1, 7, 0) {
        add("registryctl/env", &[])?;
    }
    Ok(())
}

/// The first version whose administration server keeps settings in the database (`CFG_DRIVER`, v1.4.1
/// `src/adminserver/systemcfg/systemcfg.go`), and no longer in `config.json` on the share.
const SETTINGS_IN_DATABASE: (u32, u32, u32) = (1, 4, 0);

/// Where Harbor finds its database.
#[derive(Debug)]
struct Login<'l> {
    host: &'l str,
    port: u16,
    user: &'l str,
    name: &'l str,
}

impl<'l> Login<'l> {
    fn of(config: &'l NodeConfig, version: &Version) -> Self {
        match config.database.external() {
            Some(database) => {
                Self { host: &database.host, port: database.port, user: &database.user, name: &database.name }
            }
            // The service's name in the bundle's compose file, and what its image makes (make/common/db at v1.1.2,
            // make/photon/db at v1.6.3).
            None if version.numbers() < (1, 6, 0) => Self { host: "mysql", port: 3306, user: "root", name: "registry" },
            None => Self { host: "postgresql", port: 5432, user: "postgres", name: "registry" },
        }
    }

    fn host(&self) -> String {
        bracketed(self.host)
    }
}

/// A name or address as it stands before a colon and a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
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
pub fn must_reset(config: &NodeConfig, version: &Version, settings: Option<&[u8]>) -> bool {
    if version.numbers() >= SETTINGS_IN_DATABASE {
        return false;
    }
    let Some(settings) = settings.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok()) else {
        return false;
    };
    let database = Login::of(config, version);
    let text = |key: &str| settings.get(key).and_then(serde_json::Value::as_str);
    let port = settings.get("mysql_port").and_then(serde_json::Value::as_f64);
    text("mysql_host") != Some(database.host().as_str())
        || port != Some(f64::from(database.port))
        || text("mysql_username") != Some(database.user)
        || text("mysql_database") != Some(database.name)
}
