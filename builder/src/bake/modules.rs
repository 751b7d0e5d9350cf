//! Which of a kernel's modules go into the initrd: what opens the root, and what the disks of clouds and hypervisors need.
//!
//! The initrd's program loads modules as they are (`firstboot/initrd/src/modules.rs`), so they are put there uncompressed, with
//! the parts of `depmod`'s indices (`modules.dep(5)`) that speak of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::report::{Failure, Fault};

/// What is always loaded, in this order; what is part of the kernel is left out. dm-verity takes the fastest SHA-256 that is
/// there when it opens the root, for as long as the root is mounted: nothing else would load that one in time.
const ALWAYS: [&str; 5] = ["sha256_ssse3", "dm_verity", "overlay", "squashfs", "ext4"];

/// Drivers of disks, which are loaded for the devices that ask for them. A kernel that lacks one is not made for such machines.
const DISKS: [&str; 14] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "nvme",
    "xen_blkfront",
    "hv_vmbus",
    "hv_storvsc",
    "pci_hyperv",
    "vmw_pvscsi",
    "mptspi",
    "mptsas",
    "sd_mod",
    "ahci",
    "ata_piix",
];

/// What the initrd gets of a kernel's modules.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// Files by their path below the kernel's directory of modules: modules, and indices.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// The names of those that are always loaded.
    pub(super) always: Vec<&'static str>,
}

/// Chooses from `directory`, which is `/usr/lib/modules/VERSION` of the kernel's packages.
///
/// # Errors
/// A kernel that cannot open the root: it has one of the modules that it takes neither as a file nor in itself.
pub(super) fn choose(directory: &Path, version: &str) -> Result<Modules> {
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
    };
    let (needs, built_in, aliases) = (read("modules.dep")?, read("modules.builtin")?, read("modules.alias")?);
    let needs: BTreeMap<&str, Vec<&str>> = needs
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (path, needs.split_whitespace().collect()))
        .collect();
    let by_name: BTreeMap<String, &str> = needs.keys().map(|path| (name(path), *path)).collect();
    let built_in: BTreeSet<String> = built_in.lines().map(name).collect();

    let mut chosen: BTreeSet<&str> = BTreeSet::new();
    let mut modules = Modules::default();
    for wanted in ALWAYS {
        match by_name.get(wanted) {
            Some(path) => {
                modules.always.push(wanted);
                chosen.insert(path);
            }
            // One that uses the processor's instructions for what the kernel does anyway.
            None if built_in.contains(wanted) || wanted == "sha256_ssse3" => {}
            None => {
                return Err(Failure::new(
                    Fault::Usage,
                    format!(
                        "kernel {version} has no module {wanted}, nor is it part of it: it could not open the root"
                    ),
                )
                .remedy("name another kernel package in layers/base/layer.toml")
                .into());
            }
        }
    }
    chosen.extend(DISKS.iter().filter_map(|wanted| by_name.get(*wanted)));
    // `modules.dep` names all that a module needs, directly or not.
    let needed: Vec<&str> = chosen.iter().filter_map(|path| needs.get(path)).flatten().copied().collect();
    chosen.extend(needed);

    let names: BTreeSet<String> = chosen.iter().map(|path| name(path)).collect();
    let mut index = String::new();
    for path in &chosen {
        let content = fs::read(directory.join(path)).with_context(|| format!("failed to read module {path}"))?;
        modules.files.insert(plain(path).to_owned(), uncompressed(path, content)?);
        let needs: Vec<&str> = needs.get(path).into_iter().flatten().map(|path| plain(path)).collect();
        index += format!("{}: {}", plain(path), needs.join(" ")).trim_end();
        index.push('\n');
    }
    modules.files.insert("modules.dep".into(), index.into_bytes());
    let aliases =
        aliases.lines().filter(|line| line.rsplit(' ').next().is_some_and(|last| names.contains(&name(last))));
    let aliases: String = aliases.map(|line| format!("{line}\n")).collect();
    modules.files.insert("modules.alias".into(), aliases.into_bytes());
    Ok(modules)
}

/// A module's name: that of its file, in which `-` and `_` mean the same.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split_once(".ko").map_or(file, |(name, _)| name).replace('-', "_")
}

/// A module's path without the ending of a compression.
fn plain(path: &str) -> &str {
    path.find(".ko").and_then(|end| path.get(..end + ".ko".len())).unwrap_or(path)
}

fn uncompressed(path: &str, content: Vec<u8>) -> Result<Vec<u8>> {
    let ending = path.get(plain(path).len()..).unwrap_or_default();
    let mut plain = Vec::new();
    let read = match ending {
        "" => return Ok(content),
        ".zst" => ruzstd::decoding::StreamingDecoder::new(content.as_slice())
            .map_err(|error| error.to_string())
            .and_then(|mut stream| stream.read_to_end(&mut plain).map_err(|error| error.to_string())),
        // One stream, as xz writes it; each block's check is compared, and so is the index at the end.
        ".xz" => lzma_rust2::XzReader::new(content.as_slice(), false)
            .read_to_end(&mut plain)
            .map_err(|error| error.to_string()),
        other => {
            return Err(Failure::new(Fault::Usage, format!("module {path}: {other} is not in this version"))
                .remedy("use a kernel package whose modules are plain, or compressed with zstd or xz")
                .into());
        }
    };
    match read {
        Ok(_) => Ok(plain),
        Err(error) => Err(anyhow::anyhow!("module {path} is damaged: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of modules as depmod leaves it.
    fn kernel(dep: &str, built_in: &str, alias: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("modules.dep", dep), ("modules.builtin", built_in), ("modules.alias", alias)] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        for path in dep.lines().filter_map(|line| line.split_once(':')).map(|(path, _)| path) {
            let at = dir.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, path).unwrap();
        }
        dir
    }

    const DEP: &str = "kernel/md/dm-verity.ko: kernel/md/dm-bufio.ko kernel/dm-mod.ko
kernel/md/dm-bufio.ko: kernel/dm-mod.ko
kernel/dm-mod.ko:
kernel/fs/overlay.ko:
kernel/nvme.ko: kernel/nvme-core.ko
kernel/nvme-core.ko:
kernel/sound.ko:
";

    #[test]
    fn what_the_root_and_the_disks_need_and_nothing_else() {
        let alias = "# Aliases\nalias pci:v*d* nvme\nalias of:N*sound sound\nalias dm-verity-x dm-verity\n";
        let dir = kernel(DEP, "kernel/fs/ext4/ext4.ko\nkernel/fs/squashfs.ko\n", alias);
        let modules = choose(dir.path(), "6.1").unwrap();
        assert_eq!(modules.always, ["dm_verity", "overlay"]);
        let paths: Vec<&str> = modules.files.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "kernel/dm-mod.ko",
                "kernel/fs/overlay.ko",
                "kernel/md/dm-bufio.ko",
                "kernel/md/dm-verity.ko",
                "kernel/nvme-core.ko",
                "kernel/nvme.ko",
                "modules.alias",
                "modules.dep"
            ]
        );
        let text = |name: &str| String::from_utf8(modules.files[name].clone()).unwrap();
        assert_eq!(text("modules.alias"), "alias pci:v*d* nvme\nalias dm-verity-x dm-verity\n");
        assert!(text("modules.dep").contains("\nkernel/md/dm-verity.ko: kernel/md/dm-bufio.ko kernel/dm-mod.ko\n"));
        assert!(text("modules.dep").contains("kernel/fs/overlay.ko:\n"));
    }

    #[test]
    fn a_kernel_that_cannot_open_the_root() {
        let dir = kernel(DEP, "kernel/fs/ext4/ext4.ko\n", "");
        let error = choose(dir.path(), "6.1").unwrap_err().to_string();
        assert!(error.contains("kernel 6.1 has no module squashfs"), "{error}");
    }

    #[test]
    fn compressed_modules() {
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x02, 0x11, 0x00, 0x00, b'h', b'i'];
        assert_eq!(uncompressed("a.ko.zst", frame.to_vec()).unwrap(), b"hi");
        let damaged = uncompressed("a.ko.zst", frame[..9].to_vec()).unwrap_err().to_string();
        assert!(damaged.starts_with("module a.ko.zst is damaged"), "{damaged}");
        assert!(uncompressed("a.ko.gz", Vec::new()).unwrap_err().to_string().contains("not in this version"));
    }

    #[test]
    fn a_module_cut_short_or_changed_is_damaged() {
        // "hi", as `xz --check=crc32` compresses it; that is what the kernel's build asks for.
        let stream = [
            0xfd, b'7', b'z', b'X', b'Z', 0, 0, 1, 0x69, 0x22, 0xde, 0x36, 2, 0, 0x21, 1, 0x16, 0, 0, 0, 0x74, 0x2f,
            0xe5, 0xa3, 1, 0, 1, b'h', b'i', 0, 0, 0, 0xac, 0x2a, 0x93, 0xd8, 0, 1, 0x16, 2, 0xd0, 0x61, 0x10, 0xd2,
            0x90, 0x42, 0x99, 0x0d, 1, 0, 0, 0, 0, 1, b'Y', b'Z',
        ];
        assert_eq!(uncompressed("a.ko.xz", stream.to_vec()).unwrap(), b"hi");
        for length in 0..stream.len() {
            let said = uncompressed("a.ko.xz", stream[..length].to_vec()).expect_err(&length.to_string()).to_string();
            assert!(said.starts_with("module a.ko.xz is damaged"), "{length}: {said}");
        }
        for at in 0..stream.len() {
            let mut changed = stream;
            changed[at] ^= 0x10;
            let said = uncompressed("a.ko.xz", changed.to_vec()).expect_err(&at.to_string()).to_string();
            assert!(said.starts_with("module a.ko.xz is damaged"), "{at}: {said}");
        }
    }
}
