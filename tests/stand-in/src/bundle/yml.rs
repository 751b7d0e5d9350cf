//! The images of Harbor 2.15 (and of 2.14, which differs in its database's schema), with users, volumes, stop signals and health checks as its images have them.

use std::path::Path;

use anyhow::Result;

use super::image::{Archive, Image, Layer};

pub const VERSION: &str = "v2.15.2-stand-in";
/// What nodes are upgraded from.
pub const BEFORE: &str = "v2.14.1-stand-in";
const HARBOR: &str = "10000:10000";
/// PostgreSQL's and Redis's.
const SERVER: &str = "999:999";
const PAGE: &[u8] = include_bytes!("portal.html");

/// The images as `docker save` writes them, compressed.
pub fn images(version: &str, core: &[u8], packages: &Path) -> Result<Vec<u8>> {
    let core = Layer::core(core)?;
    let web = Layer::packages(&packages.join("web.tar"))?;
    let data = Layer::packages(&packages.join("data.tar"))?;
    let page = Layer::file("usr/share/nginx/html/index.html", PAGE)?;
    let core_mode = |name: &str, mode: &str| image(version, name, &[&core]).entrypoint(&["/harbor/core", mode]);
    let nginx = ["/usr/sbin/nginx", "-e", "stderr", "-c", "/etc/nginx/nginx.conf", "-g", "daemon off;"];
    let mut archive = Archive::default();
    archive.add(core_mode("prepare", "prepare2"));
    archive.add(core_mode("harbor-log", "log2").volume("/var/log/docker"));
    archive.add(core_mode("harbor-core", "core2").user(HARBOR).healthy("http://localhost:8080/api/v2.0/ping"));
    archive.add(
        core_mode("harbor-jobservice", "jobservice2")
            .user(HARBOR)
            .volume("/var/log/jobs")
            .healthy("http://localhost:8080/api/v1/stats"),
    );
    archive.add(
        core_mode("harbor-registryctl", "registryctl")
            .user(HARBOR)
            .volume("/var/lib/registry")
            .healthy("http://localhost:8080/api/health"),
    );
    archive.add(
        image(version, "registry-photon", &[&core, &web])
            .entrypoint(&["/usr/bin/docker-registry", "serve", "/etc/registry/config.yml"])
            .user(HARBOR)
            .volume("/storage")
            .healthy("http://localhost:5000"),
    );
    let portal =
        image(version, "harbor-portal", &[&core, &web, &page]).entrypoint(&nginx).user(HARBOR).stop_signal("SIGQUIT");
    archive.add(portal.healthy("http://localhost:8080"));
    let proxy = image(version, "nginx-photon", &[&core, &web]).entrypoint(&nginx).user(HARBOR).stop_signal("SIGQUIT");
    archive.add(proxy.healthy("http://localhost:8080"));
    let db = image(version, "harbor-db", &[&core, &data]).entrypoint(&["/harbor/core", "postgresql"]).user(SERVER);
    archive.add(db.volume("/var/lib/postgresql/data").stop_signal("SIGINT"));
    // As 2.15 calls it.
    let redis = if version == BEFORE { "redis-photon" } else { "valkey-photon" };
    let redis = image(version, redis, &[&core, &data]).entrypoint(&["/harbor/core", "redis"]).user(SERVER);
    archive.add(redis.volume("/var/lib/redis"));
    let scanner = core_mode("trivy-adapter-photon", "trivy-adapter").user(HARBOR);
    archive.add(scanner.healthy("http://localhost:8080/probe/healthy"));
    archive.add(core_mode("harbor-exporter", "exporter").user(HARBOR));
    // Quickly made rather than small.
    archive.write(3)
}

fn image<'l>(version: &str, name: &str, layers: &[&'l Layer]) -> Image<'l> {
    Image::new(&format!("goharbor/{name}:{version}"), layers).environment("STAND_IN_VERSION", version)
}
