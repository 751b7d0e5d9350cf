//! Builds the stand-in's bundle: `stand-in-bundle CORE PACKAGES-DIR OUT.tgz`.
//!
//! PACKAGES-DIR holds `web.tar` and `mariadb.tar`, trees of the distribution's packages (the script beside makes them).
//! Nothing of the clock, the host or the order of a directory reaches the bundle.

mod image;
mod trim;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

use image::{Archive, Image, Layer};

pub const VERSION: &str = "v1.1.2-stand-in";
/// 2017-06-01, near the release that is stood in for.
pub const EPOCH: u64 = 1_496_275_200;

fn main() -> Result<()> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [core, packages, files, out] = args.as_slice() else {
        bail!("usage: stand-in-bundle CORE PACKAGES-DIR FILES-DIR OUT.tgz");
    };
    let images = images(core, packages)?;
    // Beside its place, and renamed: whoever is interrupted leaves nothing that looks finished.
    let draft = out.with_extension("new");
    let file = GzEncoder::new(File::create(&draft)?, Compression::new(1));
    let mut bundle = tar::Builder::new(file);
    for (path, mode) in walk(files)? {
        let text = fs::read(files.join(&path))?;
        let text = if path == Path::new("docker-compose.yml") {
            String::from_utf8(text)?.replace("__version__", VERSION).into_bytes()
        } else {
            text
        };
        add(&mut bundle, &format!("harbor/{}", path.display()), &text, mode)?;
    }
    add(&mut bundle, &format!("harbor/harbor.{VERSION}.tar.gz"), &images, 0o644)?;
    let mut file = bundle.into_inner()?.finish()?;
    file.flush()?;
    file.sync_all()?;
    fs::rename(&draft, out).context("rename")?;
    Ok(())
}

/// The images as `docker save` writes them, compressed.
fn images(core: &Path, packages: &Path) -> Result<Vec<u8>> {
    let core = Layer::core(&fs::read(core).with_context(|| core.display().to_string())?)?;
    let web = Layer::packages(&packages.join("web.tar"))?;
    let db = Layer::packages(&packages.join("mariadb.tar"))?;
    // A file of the layer below that must not be seen: what a registry with its own defaults would read.
    let without_default = Layer::whiteout("etc/docker/registry/config.yml")?;
    let mut archive = Archive::default();
    for (name, mode) in [("log", "log"), ("adminserver", "adminserver"), ("ui", "ui"), ("jobservice", "jobservice")] {
        archive.add(Image::new(&format!("vmware/harbor-{name}:{VERSION}"), &[&core]).entrypoint(&["/harbor/core", mode]));
    }
    archive.add(
        Image::new(&format!("vmware/harbor-db:{VERSION}"), &[&core, &db])
            .entrypoint(&["/harbor/core", "db"])
            .volume("/var/lib/mysql"),
    );
    archive.add(
        Image::new("vmware/registry:2.6.1-photon", &[&core, &web, &without_default]).entrypoint(&["/usr/bin/docker-registry"]),
    );
    archive.add(
        Image::new("vmware/nginx:1.11.5-patched", &[&core, &web])
            .entrypoint(&["/usr/sbin/nginx", "-c", "/etc/nginx/nginx.conf", "-g", "daemon off;"]),
    );
    archive.write()
}

/// Every file below a directory with its mode, sorted.
fn walk(top: &Path) -> Result<Vec<(PathBuf, u32)>> {
    let (mut found, mut open) = (Vec::new(), vec![top.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let executable = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path)?.permissions()) & 0o100;
                let mode = if executable != 0 { 0o755 } else { 0o644 };
                found.push((path.strip_prefix(top)?.to_owned(), mode));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Adds a file of root's.
pub fn add<W: std::io::Write>(archive: &mut tar::Builder<W>, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(EPOCH);
    header.set_uid(0);
    header.set_gid(0);
    Ok(archive.append_data(&mut header, path, bytes)?)
}
