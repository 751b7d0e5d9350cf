//! The kernel and its initrd: made once per image, by dracut of the tools layer, over the bottom layer's modules.
//!
//! It is a layer like any other (two files, `vmlinuz` and `initrd.img`), so a change in a later layer leaves it alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::pack;
use super::rootfs::Rootfs;
use super::store::{Layer, Store};
use crate::plan::Plan;
use crate::report::{Failure, Fault};
use crate::sys::enter::Overlay;
use crate::sys::file;
use crate::sys::sandbox::Sandbox;

/// The name of the layer in the store.
pub(crate) const NAME: &str = "initrd";

/// dracut's modules: systemd, the verity root, file systems, and nothing that asks the network.
const MODULES: &str = "base systemd systemd-initrd systemd-veritysetup dm kernel-modules kernel-modules-extra rootfs-block udev-rules fs-lib shutdown";

/// Drivers that dracut would leave to the host's hardware: the disks of clouds and hypervisors, and the root's own.
const DRIVERS: &str = "squashfs erofs overlay dm-verity sha256-ssse3 ext4 vfat nls_iso8859-1 virtio_blk \
                       virtio_scsi virtio_pci nvme xen-blkfront hv_storvsc hv_vmbus vmw_pvscsi mptspi sd_mod ahci ata_piix";

/// dm-verity takes the fastest SHA-256 that is there when it opens the root, for as long as the root is mounted, and
/// nothing else would load the one that uses the processor's instructions in time.
const SOFTDEP: &str = "softdep dm-verity pre: sha256-ssse3\n";

/// Makes the kernel and initrd of `plan` and puts them into the store.
pub(crate) fn make(plan: &Plan, bottom: &Path, tools: &Path, store: &Store) -> Result<Layer> {
    let scratch = store.scratch()?;
    let (version, kernel) = find_kernel(&Rootfs::new(bottom))?;
    let out = scratch.directory("out")?;
    let (upper, work, merged) = (scratch.directory("upper")?, scratch.directory("work")?, scratch.directory("root")?);
    let overlay = Overlay::mount(&[tools.into()], &upper, &work, &merged)?;
    let root = Rootfs::new(overlay.path());
    let modules = format!("/usr/lib/modules/{version}");
    root.make_directory(&modules)?;
    // Not in /etc: dracut takes that only for an initrd of one host.
    root.write("/usr/lib/modprobe.d/habuild.conf", SOFTDEP.as_bytes(), 0o644)?;
    let quiet = [
        "--quiet",
        "--force",
        "--no-hostonly",
        "--no-hostonly-cmdline",
        "--reproducible",
        "--no-early-microcode",
        "--zstd",
    ];
    Sandbox::new(overlay.path())
        .bind_read_only(&bottom.join(format!("usr/lib/modules/{version}")), &modules)
        .bind(&out, "/run/out")
        .env("SOURCE_DATE_EPOCH", &plan.epoch.to_string())
        // Devices and attributes cannot be made in a user namespace, and systemd needs neither in an initrd.
        .env("DRACUT_NO_MKNOD", "1")
        .env("DRACUT_NO_XATTR", "1")
        .command(
            "dracut",
            quiet.into_iter().map(str::to_owned).chain(
                [
                    "--tmpdir",
                    "/tmp",
                    "--kver",
                    &version,
                    "--modules",
                    MODULES,
                    "--add-drivers",
                    DRIVERS,
                    "/run/out/initrd.img",
                ]
                .map(str::to_owned),
            ),
        )?
        .run_logged()
        .map_err(|error| Failure::new(Fault::Step, "the initrd could not be made").because(error))?;
    drop(overlay);
    fs::copy(&kernel, out.join("vmlinuz")).with_context(|| format!("failed to copy {}", kernel.display()))?;
    settle_modes(&out)?;
    pack::settle(&out, plan.epoch)?;
    let tree = store.keep_tree(plan.initrd, &out)?;
    let inputs = format!("layer {NAME}\nkernel {version}\nkey {}\n", plan.initrd);
    store.commit(NAME, plan.initrd, &inputs, &tree, scratch.path())
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
