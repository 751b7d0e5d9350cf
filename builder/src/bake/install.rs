//! Installs packages: the bottom of a chain by mmdebstrap, later layers by the image's own apt, in a sandbox.
//!
//! Both see a local repository that holds exactly the planned packages and nothing else, so what apt chooses is what
//! was planned. There is no network, no service is started, and no initrd is made.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::rootfs::Rootfs;
use crate::plan::layer::PlannedLayer;
use crate::report::{FREE_SPACE, Failure, Fault};
use crate::spec::image::Base;
use crate::sys::sandbox::Sandbox;

/// Said to dpkg, here and in later layers. Documentation is for people at a desk: the node keeps the licences only, and
/// the rest is never unpacked. A build that is cut off begins the layer anew, so nothing is gained by waiting for the
/// disk after each package.
const DPKG: [&str; 8] = [
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
];

/// Keeps openssh-server from making host keys, which takes seconds: each node makes its own, and `clean` removes these.
const NO_HOST_KEYS: &str =
    r#"mkdir -p "$1/etc/ssh"; for kind in rsa ecdsa ed25519; do touch "$1/etc/ssh/ssh_host_${kind}_key"; done"#;

/// Releases whose packages leave it to their installer to make `/bin`, `/sbin` and `/lib*` links into `/usr`; the others' packages
/// do it themselves.
const LINKED_BY_INSTALLER: [&str; 1] = ["jammy"];

/// Makes those links before anything is unpacked, as debootstrap does for amd64 (`setup_merged_usr` of its `functions`).
const USR_LINKS: &str =
    r#"for name in bin sbin lib lib32 lib64 libx32; do mkdir -p "$1/usr/$name"; ln -s "usr/$name" "$1/$name"; done"#;

/// Where mmdebstrap sees the repository: apt reads no blank in a source's path, and a cache's path may hold one. Every
/// Debian has this directory (Filesystem Hierarchy Standard), and only this sandbox sees the mount.
const REPOSITORY: &str = "/mnt";

/// Refuses every start of a service while packages are installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Refuses a cache whose path mmdebstrap cannot hand on to apt, whose configuration has no way to write it.
pub(crate) fn refuse_path(cache: &Path) -> Result<()> {
    if cache.as_os_str().as_encoded_bytes().iter().any(|byte| matches!(byte, b'"' | b'\n' | b'\r')) {
        let words = format!("the cache's path {cache:?} has a double quote or a line break, which apt cannot take");
        return Err(Failure::new(Fault::Environment, words).remedy("name another directory with --cache").into());
    }
    Ok(())
}

/// Makes the bottom layer in the empty directory `root` from the repository in `repository`.
pub(crate) fn bootstrap(
    layer: &PlannedLayer,
    base: &Base,
    root: &Path,
    repository: &Path,
    scratch: &Path,
) -> Result<()> {
    let mut arguments: Vec<String> =
        ["--verbose", "--mode=root", "--variant=apt", "--format=directory"].map(str::to_owned).into();
    arguments.push(format!("--include={}", layer.request.join(",")));
    arguments.push(format!("--architectures={}", base.architecture));
    for option in ["APT::Sandbox::User \"root\"", "APT::Install-Recommends \"false\"", "Acquire::Languages \"none\""] {
        arguments.push(format!("--aptopt={option}"));
    }
    arguments.extend(DPKG.map(|option| format!("--dpkgopt={option}")));
    if LINKED_BY_INSTALLER.contains(&base.release.as_str()) {
        arguments.push(format!("--setup-hook={USR_LINKS}"));
    }
    arguments.push(format!("--essential-hook={NO_HOST_KEYS}"));
    arguments.push(base.release.clone());
    arguments.push(path_text(root)?);
    arguments.push(format!("deb [trusted=yes] copy://{REPOSITORY} ./"));
    Sandbox::host()
        .bind_read_only(repository, REPOSITORY)
        .env("TMPDIR", &path_text(scratch)?)
        .command("mmdebstrap", arguments)?
        .run_logged()
        .map_err(|error| failed(layer, error))
}

/// Installs a later layer's packages into the mounted `root`.
pub(crate) fn install(layer: &PlannedLayer, root: &Rootfs, repository: &Path) -> Result<()> {
    if layer.packages.is_empty() {
        return Ok(());
    }
    root.write(POLICY, b"#!/bin/sh\nexit 101\n", 0o755)?;
    let mut arguments: Vec<String> =
        vec!["--yes".into(), "--no-install-recommends".into(), "--allow-downgrades".into()];
    for option in [
        "APT::Sandbox::User=root",
        "Dir::Log=/run",
        "Dir::Etc::SourceList=/dev/null",
        "Dir::Etc::SourceParts=/dev/null",
    ] {
        arguments.extend(["-o".into(), option.into()]);
    }
    arguments.push("install".into());
    arguments.extend(layer.packages.iter().map(|package| format!("/run/repository/{}.deb", package.sha256)));
    let result = Sandbox::new(root.path())
        .bind_read_only(repository, "/run/repository")
        .command("apt-get", arguments)?
        .run_logged();
    root.remove(POLICY)?;
    result.map_err(|error| failed(layer, error))
}

fn failed(layer: &PlannedLayer, error: anyhow::Error) -> anyhow::Error {
    // A full disk reaches us as dpkg's and apt's words only.
    let words = format!("{error:#}");
    if words.contains("No space left on device") || words.contains("have enough free space") {
        return Failure::new(Fault::Environment, format!("the disk is full while layer {} is baked", layer.name))
            .remedy(FREE_SPACE)
            .because(error)
            .into();
    }
    Failure::new(Fault::Step, format!("the packages of layer {} could not be installed", layer.name))
        .because(error)
        .into()
}

fn path_text(path: &Path) -> Result<String> {
    Ok(path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?.to_owned())
}
