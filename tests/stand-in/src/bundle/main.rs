//! Builds a bundle of the stand-in: `stand-in-bundle cfg|yml|yml-before CORE PACKAGES-DIR FILES-DIR OUT.tgz`.
//!
//! PACKAGES-DIR holds `web.tar`, and `mariadb.tar` or `data.tar`: trees of the distribution's packages (the script beside
//! makes them). FILES-DIR is what lies in the bundle beside the images.
//! Nothing of the clock, the host or the order of a directory reaches the bundle.

mod cfg;
mod image;
mod trim;
mod yml;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

/// 2017-06-01, near the release that is stood in for.
pub const EPOCH: u64 = 1_496_275_200;

fn main() -> Result<()> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [kind, core, packages, files, out] = args.as_slice() else {
        bail!("usage: stand-in-bundle cfg|yml|yml-before CORE PACKAGES-DIR FILES-DIR OUT.tgz");
    };
    let core = fs::read(core).with_context(|| core.display().to_string())?;
    let (version, images) = match kind.to_str() {
        Some("cfg") => (cfg::VERSION, cfg::images(&core, packages)?),
        Some("yml") => (yml::VERSION, yml::images(yml::VERSION, &core, packages)?),
        Some("yml-before") => (yml::BEFORE, yml::images(yml::BEFORE, &core, packages)?),
        _ => bail!("{} is none of cfg, yml and yml-before", kind.display()),
    };
    // Beside its place, and renamed: whoever is interrupted leaves nothing that looks finished.
    let draft = out.with_extension("new");
    let file = GzEncoder::new(File::create(&draft)?, Compression::new(1));
    let mut bundle = tar::Builder::new(file);
    for (path, mode) in walk(files)? {
        let text = fs::read(files.join(&path))?;
        let text = match path.to_str() {
            Some("docker-compose.yml") => String::from_utf8(text)?.replace("__version__", version).into_bytes(),
            Some("harbor.yml.tmpl") if version == yml::BEFORE => {
                String::from_utf8(text)?.replace("_version: 2.15.0", "_version: 2.14.0").into_bytes()
            }
            _ => text,
        };
        add(&mut bundle, &format!("harbor/{}", path.display()), &text, mode)?;
    }
    add(&mut bundle, &format!("harbor/harbor.{version}.tar.gz"), &images, 0o644)?;
    let mut file = bundle.into_inner()?.finish()?;
    file.flush()?;
    file.sync_all()?;
    fs::rename(&draft, out).context("rename")?;
    Ok(())
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
