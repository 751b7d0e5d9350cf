//! File systems from trees, made by the tools layer's own programs: squashfs for the root, ext4 for the state.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use uuid::Uuid;
use walkdir::WalkDir;

use super::content::Content;
use super::settle;
use crate::report::{self, Failure, Fault};
use crate::sys::enter::Overlay;
use crate::sys::file::{self, Scratch};
use crate::sys::sandbox::Sandbox;

/// Where a sandbox shows the image's tree, and where it writes.
const TREE: &str = "/run/tree";
const OUT: &str = "/run/out";

/// The kinds of extended attributes that squashfs stores.
const STORED: [&str; 3] = ["user.", "trusted.", "security."];

/// The tools layer, mounted so that a program may write where it likes; nothing of that is kept.
#[derive(Debug)]
pub(crate) struct Tools {
    overlay: Overlay,
}

impl Tools {
    /// Mounts the tools' tree.
    pub(crate) fn mount(tree: &Path, scratch: &Scratch) -> Result<Self> {
        let (upper, work, at) =
            (scratch.directory("tools.upper")?, scratch.directory("tools.work")?, scratch.directory("tools")?);
        Ok(Self { overlay: Overlay::mount(&[tree.into()], &upper, &work, &at)? })
    }

    /// A sandbox with the tools as its root and `out` at `/run/out`.
    #[must_use]
    pub(crate) fn sandbox(&self, out: &Path) -> Sandbox {
        Sandbox::new(self.overlay.path()).bind(out, OUT)
    }

    /// A file of the tools layer.
    #[must_use]
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.overlay.path().join(path.trim_start_matches('/'))
    }
}

/// Makes `out/root.img`, a squashfs of `tree` without what `/var` holds, padded to whole 4 KiB blocks.
pub(crate) fn squashfs(tools: &Tools, tree: &Path, empty: &Path, out: &Path, epoch: i64) -> Result<PathBuf> {
    let arguments = [
        TREE,
        "/run/out/root.img",
        "-noappend",
        "-no-progress",
        "-quiet",
        "-reproducible",
        "-no-recovery",
        // Level 3 is nearly as small as higher levels on these files and several times as fast.
        "-comp",
        "zstd",
        "-Xcompression-level",
        "3",
        "-b",
        "262144",
        "-mkfs-time",
    ];
    let attributes = attribute_options(tools, tree, out)?;
    tools
        .sandbox(out)
        .bind_read_only(tree, TREE)
        .bind_read_only(empty, "/run/tree/var")
        .command("mksquashfs", arguments.into_iter().map(str::to_owned).chain([epoch.to_string()]).chain(attributes))?
        .run_logged()
        .context("failed to make the root file system")?;
    let image = out.join("root.img");
    Ok(image)
}

/// mksquashfs' options by which the root carries `security.capability` and no other extended attribute, whatever the
/// host's file system and its security modules give every file.
fn attribute_options(tools: &Tools, tree: &Path, out: &Path) -> Result<Vec<String>> {
    let version = tools.sandbox(out).command("mksquashfs", ["-version"])?.output_text()?;
    if can_choose_attributes(&version) {
        return Ok(["-xattrs-include", "^security\\.capability$"].map(str::to_owned).into());
    }
    // bookworm's 4.5.1 takes all or none.
    if let Some((path, name)) = foreign_attribute(tree)? {
        let words = format!("the host's file system gives {} the attribute {name}", path.display());
        return Err(Failure::new(Fault::Environment, format!("{words}, and this release's mksquashfs would keep it"))
            .remedy("name a --cache on a file system without such attributes, or bake an image of a newer release")
            .into());
    }
    Ok(vec!["-xattrs".to_owned()])
}

/// The first file with an extended attribute that squashfs would store and no image carries, and the attribute.
fn foreign_attribute(tree: &Path) -> Result<Option<(PathBuf, String)>> {
    // A list is at most 64 KiB (linux/limits.h, XATTR_LIST_MAX).
    let mut names = vec![0_u8; 1 << 16];
    for entry in WalkDir::new(tree) {
        let entry = entry.with_context(|| format!("failed to walk {}", tree.display()))?;
        let length = match rustix::fs::llistxattr(entry.path(), &mut names[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::OPNOTSUPP) => continue,
            Err(error) => return Err(error).with_context(|| format!("failed to read {}", entry.path().display())),
        };
        let stored = |name: &&[u8]| STORED.iter().any(|start| name.starts_with(start.as_bytes()));
        let mut foreign = names[..length].split(|byte| *byte == 0).filter(stored);
        if let Some(name) = foreign.find(|name| *name != b"security.capability") {
            return Ok(Some((entry.path().into(), String::from_utf8_lossy(name).into_owned())));
        }
    }
    Ok(None)
}

/// Whether a mksquashfs knows `-xattrs-include`: from 4.6 on.
fn can_choose_attributes(version: &str) -> bool {
    let numbers = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let mut parts = numbers.unwrap_or_default().split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(4), Some(6))
}

/// What a state file system is, besides its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    /// Its length in bytes.
    pub size: u64,
    /// Its UUID, and the seed of its directories' hashes.
    pub uuid: Uuid,
    /// The time of everything that has none of its own.
    pub epoch: i64,
}

/// Makes `out/state.img`, an ext4 file system that holds `content`, bit for bit the same each time.
pub(crate) fn ext4(tools: &Tools, content: &Content, out: &Path, state: State) -> Result<PathBuf> {
    let State { size, uuid, epoch } = state;
    let extended = format!("hash_seed={uuid},lazy_itable_init=1,nodiscard");
    let (id, blocks) = (uuid.to_string(), format!("{}k", size / 1024));
    let arguments = [
        "-q",
        "-t",
        "ext4",
        "-L",
        "state",
        "-U",
        &id,
        "-E",
        &extended,
        "-m",
        "1",
        "-d",
        TREE,
        "/run/out/state.img",
        &blocks,
    ];
    let mut sandbox = tools.sandbox(out).env("E2FSPROGS_FAKE_TIME", &epoch.to_string());
    for (at, from) in &content.trees {
        let at = at.to_str().context("a mount point that is not UTF-8")?;
        sandbox = sandbox.bind_read_only(from, format!("{TREE}{at}").trim_end_matches('/'));
    }
    sandbox.command("mke2fs", arguments)?.run_logged().map_err(|error| {
        match format!("{error:#}").contains("allocate") {
            true => Failure::new(Fault::Usage, format!("what /var holds does not fit into {}", report::size(size)))
                .remedy("give disk.var.size more")
                .because(error)
                .into(),
            false => error.context("failed to make the state file system"),
        }
    })?;
    // mke2fs copies the times at which this build made the files; one sorted script sets them all.
    let script = out.join("state.script");
    file::write(&script, settle::script(content, epoch, out, OUT)?)?;
    let output = sandbox
        .command("debugfs", ["-w", "-f", "/run/out/state.script", "/run/out/state.img"])?
        .stdout(std::process::Stdio::null())
        .run()
        .context("failed to settle the state file system")?;
    settle::check(&output.stderr).context("failed to settle the state file system")?;
    Ok(out.join("state.img"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_an_attribute_that_no_image_carries() {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let file = directory.path().join("file");
        file::write(&file, "x").unwrap();
        assert_eq!(foreign_attribute(directory.path()).unwrap(), None);
        rustix::fs::lsetxattr(&file, "user.label", b"x", rustix::fs::XattrFlags::empty()).unwrap();
        assert_eq!(foreign_attribute(directory.path()).unwrap(), Some((file, "user.label".into())));
    }

    #[test]
    fn knows_which_mksquashfs_can_choose() {
        for (version, can) in [
            ("mksquashfs version 4.6.1 (2023/03/25)", true),
            ("mksquashfs version 4.7.2 (2025/09/01)", true),
            ("mksquashfs version 5.0 (2030/01/01)", true),
            ("mksquashfs version 4.5.1 (2022/03/17)", false),
            ("mksquashfs version 4.5 (2021/07/22)", false),
            ("", false),
        ] {
            assert_eq!(can_choose_attributes(version), can, "{version}");
        }
    }
}
