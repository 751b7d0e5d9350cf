//! The boot loader: GRUB for BIOS and UEFI, its configuration, and the ESP that holds kernel and initrd.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::filesystem::Tools;
use super::layout::{BIOS_BOOT_SIZE, derived};
use crate::formats::fat::{FatContent, FatTree};
use crate::formats::gpt::SECTOR;
use crate::spec::image::Firmware;
use crate::sys::digest::Digest;
use crate::sys::file;

/// Size of the ESP in bytes: a kernel and an initrd of today take 40 MiB.
pub(crate) const ESP_SIZE: u64 = 128 << 20;

/// GRUB's modules: find the ESP by its serial number, read the configuration, start the kernel.
const MODULES: [&str; 9] =
    ["part_gpt", "fat", "normal", "linux", "search", "search_fs_uuid", "configfile", "echo", "reboot"];

/// What starts the machine.
#[derive(Debug)]
pub(crate) struct Boot {
    /// The first 440 bytes of the disk; empty without BIOS.
    pub boot_code: Vec<u8>,
    /// GRUB's core for the BIOS-boot partition; empty without BIOS.
    pub core: Vec<u8>,
    /// The files of the ESP.
    pub esp: FatTree,
    /// The ESP's serial number.
    pub volume_id: u32,
}

/// The kernel's command line.
///
/// `habuild.root=` is what the initrd's program verifies the root with. It is not called `roothash=`: systemd's generator would
/// open the same device once more.
/// `gpt` has the kernel believe the backup of a damaged partition table, as the initrd does: the plug may be pulled while it
/// enlarges the state.
/// A damaged block is never handed out: the kernel panics, and tries again after 10 seconds. A cloud's machine has one
/// to four serial ports; for 48, as kernels are configured, 48 devices would go through udev, seconds of each boot.
#[must_use]
pub(crate) fn command_line(root_hash: &Digest) -> String {
    format!(
        "root=/dev/mapper/root ro habuild.root={root_hash} gpt 8250.nr_uarts=4 console=tty0 console=ttyS0,115200 panic=10"
    )
}

/// Prepares boot loaders for `firmware`; `files` holds `vmlinuz` and `initrd.img`, `out` is scratch.
pub(crate) fn prepare(
    tools: &Tools,
    firmware: &[Firmware],
    files: &Path,
    root_hash: &Digest,
    bios_boot_lba: u64,
    out: &Path,
) -> Result<Boot> {
    let serial = derived(root_hash, "esp serial").to_string();
    let volume_id = u32::from_str_radix(&serial[..8], 16).context("a serial number that is none")?;
    let name = format!("{:04X}-{:04X}", volume_id >> 16, volume_id & 0xffff);
    let early = format!("search --no-floppy --fs-uuid --set=root {name}\nset prefix=($root)/grub\n");
    file::write(&out.join("early.cfg"), early)?;
    let configuration =
        format!("set timeout=0\nlinux /vmlinuz {}\ninitrd /initrd.img\nboot\n", command_line(root_hash));
    let mut esp = FatTree::new();
    esp.add_file("grub/grub.cfg", FatContent::Bytes(configuration.into_bytes()))?;
    for name in ["vmlinuz", "initrd.img"] {
        esp.add_file(name, FatContent::Bytes(file::read(&files.join(name))?))?;
    }
    let (mut boot_code, mut core) = (Vec::new(), Vec::new());
    if firmware.contains(&Firmware::Uefi) {
        make_image(tools, "x86_64-efi", "bootx64.efi", &["efi_gop"], out)?;
        esp.add_file("EFI/BOOT/BOOTX64.EFI", FatContent::Bytes(file::read(&out.join("bootx64.efi"))?))?;
    }
    if firmware.contains(&Firmware::Bios) {
        make_image(tools, "i386-pc", "core.img", &["biosdisk"], out)?;
        let path = tools.path("usr/lib/grub/i386-pc/boot.img");
        boot_code = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        core = file::read(&out.join("core.img"))?;
        patch(&mut boot_code, &mut core, bios_boot_lba)?;
    }
    Ok(Boot { boot_code, core, esp, volume_id })
}

fn make_image(tools: &Tools, format: &str, name: &str, more: &[&str], out: &Path) -> Result<()> {
    let output = format!("/run/out/{name}");
    let first = ["-O", format, "-p", "/grub", "-c", "/run/out/early.cfg", "-o", &output];
    tools
        .sandbox(out)
        .command("grub-mkimage", first.iter().chain(&MODULES).chain(more).copied())?
        .run()
        .with_context(|| format!("failed to make GRUB's {format} image"))?;
    Ok(())
}

/// Tells the boot code and the core where the core lies: GRUB's `boot.S` and `diskboot.S`.
///
/// At 0x5c of the boot code, the core's first sector. At 0x1f4 of the core, its block list: the second sector (64
/// bits), how many sectors follow, and the segment they are loaded to. At 0x66 of the boot code, the jump that GRUB's
/// installer replaces by two no-operations on hard disks, so that the BIOS' drive number is believed.
fn patch(boot_code: &mut Vec<u8>, core: &mut Vec<u8>, first_lba: u64) -> Result<()> {
    boot_code.truncate(440);
    ensure!(boot_code.len() == 440, "GRUB's boot.img has {} bytes", boot_code.len());
    core.resize(core.len().next_multiple_of(SECTOR as usize), 0);
    ensure!(core.len() as u64 <= BIOS_BOOT_SIZE, "GRUB's core has {} bytes, {BIOS_BOOT_SIZE} fit", core.len());
    let following = u16::try_from(core.len() as u64 / SECTOR - 1).context("GRUB's core is too long")?;
    boot_code[0x5c..0x64].copy_from_slice(&first_lba.to_le_bytes());
    boot_code[0x66..0x68].copy_from_slice(&[0x90, 0x90]);
    core[0x1f4..0x1fc].copy_from_slice(&(first_lba + 1).to_le_bytes());
    core[0x1fc..0x1fe].copy_from_slice(&following.to_le_bytes());
    core[0x1fe..0x200].copy_from_slice(&0x820_u16.to_le_bytes());
    Ok(())
}
