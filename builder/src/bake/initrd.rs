//! The kernel and its initrd: our own program (`firstboot/initrd`), and the modules of the bottom layer's kernel that it loads.
//!
//! It is a layer like any other (two files, `vmlinuz` and `initrd.img`), so a change in a later layer leaves it alone.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};

use super::cpio::Cpio;
use super::modules::{self, Modules};
use super::pack;
use super::rootfs::Rootfs;
use super::store::{Layer, Store};
use crate::plan::Plan;
use crate::report::{Failure, Fault};
use crate::sys::file;

/// The name of the layer in the store.
pub(crate) const NAME: &str = "initrd";

/// Where the tools layer has the initrd's program.
const PROGRAM: &str = "/usr/lib/habuild/init";

/// The name of the list of modules that are always loaded, which the program reads.
const LIST: &str = "usr/lib/modules-load.d/habuild.conf";

/// Makes the kernel and initrd of `plan` and puts them into the store.
pub(crate) fn make(plan: &Plan, bottom: &Path, tools: &Path, store: &Store) -> Result<Layer> {
    let scratch = store.scratch()?;
    let (version, kernel) = find_kernel(&Rootfs::new(bottom))?;
    let out = scratch.directory("out")?;
    let program = Rootfs::new(tools).read(PROGRAM)?.ok_or_else(|| {
        Failure::new(Fault::Usage, format!("the tools layer has no {PROGRAM}, the program of the initrd"))
            .remedy("copy artifact:init there in layers/tools/layer.toml")
    })?;
    let modules = modules::choose(&bottom.join(format!("usr/lib/modules/{version}")), &version)?;
    file::write(&out.join("initrd.img"), archive(program, modules, &version)?)?;
    fs::copy(&kernel, out.join("vmlinuz")).with_context(|| format!("failed to copy {}", kernel.display()))?;
    settle_modes(&out)?;
    pack::settle(&out, plan.epoch)?;
    let tree = store.keep_tree(plan.initrd, &out)?;
    let inputs = format!("layer {NAME}\nkernel {version}\nkey {}\n", plan.initrd);
    store.commit(NAME, plan.initrd, &inputs, &tree, scratch.path())
}

/// The initrd: gzip, which every kernel reads.
fn archive(program: Vec<u8>, modules: Modules, version: &str) -> Result<Vec<u8>> {
    let mut cpio = Cpio::new();
    cpio.add_file("init", 0o755, program);
    // Before devtmpfs is mounted, the kernel opens the one for process 1, and Rust's start-up the other if there is none.
    cpio.add_device("dev/console", 0o600, 5, 1);
    cpio.add_device("dev/null", 0o666, 1, 3);
    for (path, content) in modules.files {
        cpio.add_file(&format!("usr/lib/modules/{version}/{path}"), 0o644, content);
    }
    let list: String = modules.always.iter().map(|name| format!("{name}\n")).collect();
    cpio.add_file(LIST, 0o644, list.into_bytes());
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(&cpio.bytes()?).context("gzip")?;
    gzip.finish().context("gzip")
}

/// The newest kernel of a root: its version, and its file.
fn find_kernel(root: &Rootfs) -> Result<(String, PathBuf)> {
    let versions = root.list("/usr/lib/modules")?;
    let [version] = versions.as_slice() else {
        return Err(Failure::new(
            Fault::Usage,
            format!("the bottom layer holds {} kernels, one is wanted ({})", versions.len(), versions.join(", ")),
        )
        .remedy("name one kernel package in layers/base/layer.toml")
        .into());
    };
    let kernel = root.join(&format!("/boot/vmlinuz-{version}"))?;
    if !kernel.is_file() {
        return Err(
            Failure::new(Fault::Usage, format!("there is no {} for the kernel's modules", kernel.display())).into()
        );
    }
    Ok((version.clone(), kernel))
}

fn settle_modes(directory: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for name in ["initrd.img", "vmlinuz"] {
        let path = directory.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
            .with_context(|| format!("failed to set the mode of {}", path.display()))?;
    }
    file::make_directory(directory)
}
