//! The images of Harbor 1.1.

use std::path::Path;

use anyhow::Result;

use super::image::{Archive, Image, Layer};

pub const VERSION: &str = "v1.1.2-stand-in";

/// The images as `docker save` writes them, compressed.
pub fn images(core: &[u8], packages: &Path) -> Result<Vec<u8>> {
    let core = Layer::core(core)?;
    let web = Layer::packages(&packages.join("web.tar"))?;
    let db = Layer::packages(&packages.join("mariadb.tar"))?;
    // A file of the layer below that must not be seen: what a registry with its own defaults would read.
    let without_default = Layer::whiteout("etc/docker/registry/config.yml")?;
    let mut archive = Archive::default();
    for (name, mode) in [("log", "log"), ("adminserver", "adminserver"), ("ui", "ui"), ("jobservice", "jobservice")] {
        archive
            .add(Image::new(&format!("vmware/harbor-{name}:{VERSION}"), &[&core]).entrypoint(&["/harbor/core", mode]));
    }
    archive.add(
        Image::new(&format!("vmware/harbor-db:{VERSION}"), &[&core, &db])
            .entrypoint(&["/harbor/core", "db"])
            .volume("/var/lib/mysql"),
    );
    archive.add(
        Image::new("vmware/registry:2.6.1-photon", &[&core, &web, &without_default])
            .entrypoint(&["/usr/bin/docker-registry"]),
    );
    archive.add(Image::new("vmware/nginx:1.11.5-patched", &[&core, &web]).entrypoint(&[
        "/usr/sbin/nginx",
        "-c",
        "/etc/nginx/nginx.conf",
        "-g",
        "daemon off;",
    ]));
    archive.write(9)
}
