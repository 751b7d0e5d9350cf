//! Mounts, and the change from the initrd's root to the node's.

#![expect(clippy::disallowed_methods, reason = "the initrd mounts, changes the root and becomes systemd")]

use std::convert::Infallible;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot, fchdir};

use crate::failure::Failure;

/// Where the node's root is mounted before it is the root. The overlay's options in the image's `/etc/fstab` say the same.
const ROOT: &str = "/sysroot";

/// What the initrd's kernel interfaces are: what, where, type, flags, options. As systemd mounts them
/// (`src/shared/mount-setup.c`), which takes them as they are.
fn interfaces() -> [(&'static str, MsFlags, &'static str); 4] {
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    [
        ("devtmpfs", MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME, "mode=0755"),
        ("proc", plain, ""),
        ("sysfs", plain, ""),
        (
            "tmpfs",
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_STRICTATIME,
            "mode=0755,size=20%,nr_inodes=800k",
        ),
    ]
}

/// Where they are, in the initrd and in the node's root.
const PLACES: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];

/// Mounts the kernel's interfaces.
pub fn prepare() -> Result<(), Failure> {
    for ((kind, flags, options), at) in interfaces().into_iter().zip(PLACES) {
        make_directory(at)?;
        attach(kind, at, kind, flags, options)?;
    }
    Ok(())
}

/// Mounts the verified root.
pub fn root(device: &Path) -> Result<(), Failure> {
    make_directory(ROOT)?;
    attach(&device.display().to_string(), ROOT, "squashfs", MsFlags::MS_RDONLY, "")
}

/// Mounts `/var`, and `/etc`'s overlay upon it.
pub fn state(device: &Path) -> Result<(), Failure> {
    attach(&device.display().to_string(), &format!("{ROOT}/var"), "ext4", MsFlags::empty(), "")?;
    let written = format!("{ROOT}/var/lib/habuild/etc");
    let options = format!("lowerdir={ROOT}/etc,upperdir={written}/upper,workdir={written}/work");
    attach("overlay", &format!("{ROOT}/etc"), "overlay", MsFlags::empty(), &options)
}

/// Runs `action` with the node's root as the root, and devices and processes in it.
pub fn inside_root<T>(action: impl FnOnce() -> T) -> Result<T, Failure> {
    let failed = |error| Failure::system(format!("change the root to {ROOT} and back"), error);
    let outside = File::open("/").map_err(|error| Failure::system("open /", error))?;
    let bound = [format!("{ROOT}/dev"), format!("{ROOT}/proc"), format!("{ROOT}/sys")];
    for (from, to) in PLACES.iter().zip(&bound) {
        attach(from, to, "", MsFlags::MS_BIND, "")?;
    }
    chroot(ROOT).and_then(|()| chdir("/")).map_err(failed)?;
    let done = action();
    fchdir(&outside).and_then(|()| chroot(".")).map_err(failed)?;
    for to in &bound {
        umount2(to.as_str(), MntFlags::MNT_DETACH).map_err(|error| Failure::system(format!("unmount {to}"), error))?;
    }
    Ok(done)
}

/// Makes the node's root the root, with the kernel's interfaces and without the initrd's files, which would hold memory
/// for ever, and becomes `init`, with the arguments that the kernel gave.
pub fn hand_over(init: &str) -> Result<Infallible, Failure> {
    let failed = |error| Failure::system(format!("make {ROOT} the root"), error);
    for place in PLACES {
        attach(place, &format!("{ROOT}{place}"), "", MsFlags::MS_MOVE, "")?;
    }
    chdir(ROOT).map_err(failed)?;
    let initrd = fs::metadata("/").map_err(|error| Failure::system("look at /", error))?.dev();
    empty(Path::new("/"), initrd);
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).map_err(failed)?;
    chroot(".").and_then(|()| chdir("/")).map_err(failed)?;
    let error = Command::new(init).args(std::env::args_os().skip(1)).exec();
    Err(Failure::system(format!("start {init}"), error))
}

/// Removes what is below `directory` on the device `initrd`. What cannot be removed costs memory, no more.
fn empty(directory: &Path, initrd: u64) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // Of a link itself: nothing is followed out of here.
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.dev() != initrd => {}
            Ok(metadata) if metadata.is_dir() => {
                empty(&path, initrd);
                let _ = fs::remove_dir(&path);
            }
            Ok(_) => _ = fs::remove_file(&path),
            Err(_) => {}
        }
    }
}

fn make_directory(at: &str) -> Result<(), Failure> {
    fs::create_dir_all(at).map_err(|error| Failure::system(format!("make the directory {at}"), error))
}

fn attach(from: &str, to: &str, kind: &str, flags: MsFlags, options: &str) -> Result<(), Failure> {
    let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
    mount(Some(from), to, some(kind), flags, some(options))
        .map_err(|error| Failure::system(format!("mount {from} on {to}"), error))
}
