//! docker-compose.yml, in the shape that Harbor 2.15 gives it: which services, images, binds, dependencies.

use anyhow::Result;

use super::config::Config;

/// The version of the bundle that this program came in: the images' tag.
pub fn version() -> String {
    std::env::var("STAND_IN_VERSION").unwrap_or_else(|_| "v2.15.2-stand-in".to_owned())
}

const TRUST: &str = "      - type: bind\n        source: ./common/config/shared/trust-certificates\n        target: /harbor_cust_cert\n";

/// One service, as text.
struct Service {
    text: String,
}

impl Service {
    fn new(name: &str, image: &str, container: &str, env_file: bool, capabilities: &[&str]) -> Self {
        let version = version();
        let mut text = format!("  {name}:\n    image: goharbor/{image}:{version}\n    container_name: {container}\n");
        if env_file {
            let directory = if name == "postgresql" { "db" } else { name };
            // Of the scanner it is no list.
            let item = if name == "trivy-adapter" { "" } else { "- " };
            text += &format!("    env_file:\n      {item}./common/config/{directory}/env\n");
        }
        text += "    restart: always\n";
        // The exporter alone drops nothing.
        text += if name == "exporter" { "" } else { "    cap_drop:\n      - ALL\n" };
        text += if capabilities.is_empty() { "" } else { "    cap_add:\n" };
        capabilities.iter().for_each(|one| text += &format!("      - {one}\n"));
        Self { text: text + "    volumes:\n" }
    }

    /// A bind in short syntax.
    fn short(mut self, words: &str) -> Self {
        self.text += &format!("      - {words}\n");
        self
    }

    /// A bind in long syntax: a missing source stops the start.
    fn long(mut self, source: &str, target: &str) -> Self {
        self.text += &format!("      - type: bind\n        source: {source}\n        target: {target}\n");
        self
    }

    fn trust(mut self) -> Self {
        self.text += TRUST;
        self
    }

    /// What stands behind the binds.
    fn end(mut self, name: &str, ports: &[String], needs: &[&str]) -> String {
        self.text += "    networks:\n      - harbor\n";
        self.list("ports", ports.iter().map(String::as_str));
        self.list("depends_on", needs.iter().copied());
        if name != "log" {
            self.text += &format!(
                "    logging:\n      driver: \"syslog\"\n      options:\n        syslog-address: \"tcp://localhost:1514\"\n        tag: \"{name}\"\n"
            );
        }
        self.text
    }

    fn list<'t>(&mut self, key: &str, items: impl Iterator<Item = &'t str>) {
        let items: String = items.map(|item| format!("      - {item}\n")).collect();
        if !items.is_empty() {
            self.text += &format!("    {key}:\n{items}");
        }
    }
}

/// The whole file.
pub fn render(config: &Config, with_trivy: bool) -> Result<String> {
    let data = config.must("data_volume")?;
    let logs = config.or("log.local.location", "/var/log/harbor");
    let c = "./common/config";
    let (with_db, with_redis) = (!config.is("external_database"), !config.is("external_redis"));
    let usual = ["CHOWN", "SETGID", "SETUID"];
    let more = ["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"];
    let net = ["CHOWN", "SETGID", "SETUID", "NET_BIND_SERVICE"];
    let storage = |service: Service| {
        service.short(&format!("{data}/registry:/storage:z")).short(&format!("{c}/registry/:/etc/registry/:z"))
    };

    let mut text = "services:\n".to_owned();
    text += &Service::new("log", "harbor-log", "harbor-log", false, &more)
        .short(&format!("{logs}/:/var/log/docker/:z"))
        .long(&format!("{c}/log/logrotate.conf"), "/etc/logrotate.d/logrotate.conf")
        .long(&format!("{c}/log/rsyslog_docker.conf"), "/etc/rsyslog.d/rsyslog_docker.conf")
        .end("log", &["127.0.0.1:1514:10514".into()], &[]);
    text += &storage(Service::new("registry", "registry-photon", "registry", false, &usual))
        .long(&format!("{data}/secret/registry/root.crt"), "/etc/registry/root.crt")
        .trust()
        .end("registry", &[], &["log"]);
    text += &storage(Service::new("registryctl", "harbor-registryctl", "registryctl", true, &usual))
        .long(&format!("{c}/registryctl/config.yml"), "/etc/registryctl/config.yml")
        .trust()
        .end("registryctl", &[], &["log"]);
    if with_db {
        text += &Service::new("postgresql", "harbor-db", "harbor-db", true, &more)
            .short(&format!("{data}/database:/var/lib/postgresql/data:z"))
            .end("postgresql", &[], &["log"]);
        text += "    shm_size: '1gb'\n";
    }
    let mut needs = vec!["log", "registry"];
    needs.extend(with_redis.then_some("redis"));
    needs.extend(with_db.then_some("postgresql"));
    text += &Service::new("core", "harbor-core", "harbor-core", true, &["SETGID", "SETUID"])
        .short(&format!("{data}/ca_download/:/etc/core/ca/:z"))
        .short(&format!("{data}/:/data/:z"))
        .short(&format!("{c}/core/certificates/:/etc/core/certificates/:z"))
        .long(&format!("{c}/core/app.conf"), "/etc/core/app.conf")
        .long(&format!("{data}/secret/core/private_key.pem"), "/etc/core/private_key.pem")
        .long(&format!("{data}/secret/keys/secretkey"), "/etc/core/key")
        .trust()
        .end("core", &[], &needs);
    text += &Service::new("portal", "harbor-portal", "harbor-portal", false, &net)
        .long(&format!("{c}/portal/nginx.conf"), "/etc/nginx/nginx.conf")
        .end("portal", &[], &["log"]);
    text += &Service::new("jobservice", "harbor-jobservice", "harbor-jobservice", true, &usual)
        .short(&format!("{data}/job_logs:/var/log/jobs:z"))
        .long(&format!("{c}/jobservice/config.yml"), "/etc/jobservice/config.yml")
        .trust()
        .end("jobservice", &[], &["core"]);
    if with_redis {
        let image = if version().starts_with("v2.14.") { "redis-photon" } else { "valkey-photon" };
        text += &Service::new("redis", image, "redis", false, &usual)
            .short(&format!("{data}/redis:/var/lib/redis"))
            .end("redis", &[], &["log"]);
    }
    if with_trivy {
        text += &Service::new("trivy-adapter", "trivy-adapter-photon", "trivy-adapter", true, &[])
            .long(&format!("{data}/trivy-adapter/trivy"), "/home/scanner/.cache/trivy")
            .long(&format!("{data}/trivy-adapter/reports"), "/home/scanner/.cache/reports")
            .trust()
            .end("trivy-adapter", &[], if with_redis { &["log", "redis"] } else { &["log"] });
    }
    if config.is("metric.enabled") {
        text += &Service::new("exporter", "harbor-exporter", "harbor-exporter", true, &[]).trust().end(
            "exporter",
            &[],
            if with_db { &["core", "postgresql"] } else { &["core"] },
        );
    }
    let mut proxy =
        Service::new("proxy", "nginx-photon", "nginx", false, &net).short(&format!("{c}/nginx:/etc/nginx:z"));
    let mut ports = vec![format!("{}:8080", config.or("http.port", "80"))];
    if config.is_https() {
        proxy = proxy.short(&format!("{data}/secret/cert:/etc/cert:z"));
        ports.push(format!("{}:8443", config.or("https.port", "443")));
    }
    if config.is("metric.enabled") {
        ports.push(format!("{}:9090", config.or("metric.port", "9090")));
    }
    text += &proxy.trust().end("proxy", &ports, &["registry", "core", "portal", "log"]);
    Ok(text + "networks:\n  harbor:\n    external: false\n")
}
