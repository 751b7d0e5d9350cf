//! The machine as QEMU's arguments, and the files it starts from.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::accelerator::Engine;
use super::{Forward, Options};
use crate::report::{Failure, Fault};
use crate::spec::image::Firmware;
use crate::sys::cmd::{Cmd, Tool};

/// A disk image's format and the size of the disk in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Image {
    format: &'static str,
    size: u64,
}

impl Image {
    fn probe(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|error| {
            Failure::new(Fault::Usage, format!("failed to open image {}", path.display())).because(error)
        })?;
        let read = || format!("failed to read image {}", path.display());
        let length = file.metadata().with_context(read)?.len();
        let mut head = Vec::new();
        file.by_ref().take(32).read_to_end(&mut head).with_context(read)?;
        // A qcow2 header has the disk's size in bytes 24 to 31.
        Ok(match (head.strip_prefix(b"QFI\xfb"), head.last_chunk::<8>()) {
            (Some(_), Some(size)) if head.len() == 32 => Self { format: "qcow2", size: u64::from_be_bytes(*size) },
            _ => Self { format: "raw", size: length },
        })
    }
}

/// Makes a fresh overlay, through which the image is only read. One from before is replaced.
pub(super) fn make_overlay(options: &Options, overlay: &Path) -> Result<()> {
    let image = Image::probe(&options.image)?;
    let path = fs::canonicalize(&options.image)
        .with_context(|| format!("failed to resolve the path {}", options.image.display()))?;
    let mut create =
        Cmd::new(Tool::QemuImg).args(["create", "-q", "-f", "qcow2", "-F", image.format, "-b"]).arg(path).arg(overlay);
    if let Some(wanted) = options.disk_size {
        if wanted.0 < image.size {
            let (wanted, image) = (wanted.0, image.size);
            let words = format!("a disk of {wanted} bytes is smaller than the image, which has {image}");
            return Err(Failure::new(Fault::Usage, words).into());
        }
        create = create.arg(wanted.0.to_string());
    }
    create.run().context("failed to make an overlay for the image")?;
    Ok(())
}

/// UEFI's code, and a copy of its empty variable store in `dir`; nothing for BIOS.
pub(super) fn firmware(firmware: Firmware, dir: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    if firmware == Firmware::Bios {
        return Ok(None);
    }
    let place = Path::new("/usr/share/OVMF");
    for suffix in ["_4M.fd", ".fd"] {
        let [code, empty] = ["OVMF_CODE", "OVMF_VARS"].map(|name| place.join(format!("{name}{suffix}")));
        if code.exists() && empty.exists() {
            let variables = dir.join("uefi-variables");
            fs::copy(&empty, &variables).with_context(|| format!("failed to copy {}", empty.display()))?;
            return Ok(Some((code, variables)));
        }
    }
    Err(Failure::new(Fault::Environment, "no UEFI firmware in /usr/share/OVMF")
        .remedy("install package ovmf: apt-get install ovmf")
        .into())
}

/// Gives each forward without a host port a free one.
pub(super) fn settle_forwards(forwards: &[Forward]) -> Result<Vec<Forward>> {
    // All are held until all are chosen, so that no port is chosen twice.
    let mut held = Vec::new();
    let mut settled = Vec::new();
    for &Forward { host, guest } in forwards {
        let failed = |error| {
            Failure::new(Fault::Environment, format!("failed to take port {host} of 127.0.0.1"))
                .because(error as std::io::Error)
        };
        let listener = TcpListener::bind(("127.0.0.1", host)).map_err(failed)?;
        settled.push(Forward { host: listener.local_addr().map_err(failed)?.port(), guest });
        held.push(listener);
    }
    Ok(settled)
}

/// What a machine is made of.
#[derive(Debug, Clone)]
pub(super) struct Parts<'a> {
    pub(super) overlay: PathBuf,
    pub(super) seed: PathBuf,
    /// UEFI's code and variables.
    pub(super) uefi: Option<&'a (PathBuf, PathBuf)>,
    pub(super) forwards: &'a [Forward],
    pub(super) memory_mib: u32,
    pub(super) cpus: u32,
    pub(super) engine: Engine,
}

impl Parts<'_> {
    /// The command that runs the machine. The console is its standard input and output.
    pub(super) fn command(&self) -> Cmd {
        let mut network = "user,id=net".to_owned();
        for Forward { host, guest } in self.forwards {
            network += &format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
        }
        let mut command = Cmd::new(Tool::QemuSystem)
            .args(["-no-user-config", "-nodefaults", "-display", "none", "-machine", "q35", "-vga", "std"])
            .args(self.engine.args())
            .args(["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()])
            .args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"])
            .args(["-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"])
            // Without its boot ROM the network card costs no time before the disk.
            .args(["-netdev", &network, "-device", "virtio-net-pci,netdev=net,romfile="])
            // The overlay is thrown away, so nobody waits for it to reach the host's disk.
            .args(["-drive", &drive("id=disk,if=none,format=qcow2,cache=unsafe", &self.overlay)])
            .args(["-device", "virtio-blk-pci,drive=disk,bootindex=1"])
            .args(["-drive", &drive("id=seed,if=none,format=raw,readonly=on", &self.seed)])
            .args(["-device", "virtio-blk-pci,drive=seed"]);
        if let Some((code, variables)) = self.uefi {
            command = command
                .args(["-drive", &drive("if=pflash,unit=0,format=raw,readonly=on", code)])
                .args(["-drive", &drive("if=pflash,unit=1,format=raw", variables)]);
        }
        command.ends_with_us()
    }
}

/// A `-drive` argument; QEMU wants commas in the file's name doubled.
fn drive(settings: &str, file: &Path) -> String {
    format!("{settings},file={}", file.to_string_lossy().replace(',', ",,"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_formats_apart() {
        let dir = tempfile::tempdir().unwrap();
        let probe = |bytes: &[u8]| {
            let path = dir.path().join("image");
            fs::write(&path, bytes).unwrap();
            Image::probe(&path).unwrap()
        };
        let mut header = b"QFI\xfb\0\0\0\x03".to_vec();
        header.resize(24, 0);
        header.extend(0x1_2345_6789_u64.to_be_bytes());
        header.resize(600, 9);
        assert_eq!(probe(&header), Image { format: "qcow2", size: 0x1_2345_6789 });
        assert_eq!(probe(&[0; 512]), Image { format: "raw", size: 512 });
        assert_eq!(probe(b"QFI\xfb"), Image { format: "raw", size: 4 });
    }

    #[test]
    fn takes_free_ports() {
        let forwards = settle_forwards(&[Forward { host: 0, guest: 22 }, Forward { host: 0, guest: 80 }]).unwrap();
        assert_eq!([forwards[0].guest, forwards[1].guest], [22, 80]);
        assert!(forwards[0].host != 0 && forwards[0].host != forwards[1].host);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(settle_forwards(&[Forward { host: port, guest: 22 }]).is_err());
    }

    #[test]
    fn escapes_commas() {
        let parts = Parts {
            overlay: "/tmp/a,b/overlay".into(),
            seed: "/tmp/seed".into(),
            uefi: None,
            forwards: &[Forward { host: 2222, guest: 22 }],
            memory_mib: 1024,
            cpus: 1,
            engine: Engine::Tcg,
        };
        let line = parts.command().line();
        assert!(line.contains("file=/tmp/a,,b/overlay"), "{line}");
        assert!(line.contains("-netdev user,id=net,hostfwd=tcp:127.0.0.1:2222-:22"), "{line}");
        assert!(line.contains("-accel tcg,thread=multi -cpu max"), "{line}");
    }
}
