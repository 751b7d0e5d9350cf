//! File systems from trees, made by the tools layer's own programs: squashfs for the root, ext4 for the state.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

use super::gpt::Guid;
use crate::sys::enter::Overlay;
use crate::sys::file::Scratch;
use crate::sys::sandbox::Sandbox;

/// Where a sandbox shows the image's tree, and where it writes.
const TREE: &str = "/run/tree";
const OUT: &str = "/run/out";

/// The tools layer, mounted so that a program may write where it likes; nothing of that is kept.
#[derive(Debug)]
pub struct Tools {
    overlay: Overlay,
}

impl Tools {
    /// Mounts the tools' tree.
    pub fn mount(tree: &Path, scratch: &Scratch) -> Result<Self> {
        let (upper, work, at) =
            (scratch.directory("tools.upper")?, scratch.directory("tools.work")?, scratch.directory("tools")?);
        Ok(Self { overlay: Overlay::mount(&[tree.into()], &upper, &work, &at)? })
    }

    /// A sandbox with the tools as its root and `out` at `/run/out`.
    #[must_use]
    pub fn sandbox(&self, out: &Path) -> Sandbox {
        Sandbox::new(self.overlay.path()).bind(out, OUT)
    }

    /// A file of the tools layer.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.overlay.path().join(path.trim_start_matches('/'))
    }
}

/// Makes `out/root.img`, a squashfs of `tree` without what `/var` holds, padded to whole 4 KiB blocks.
pub fn squashfs(tools: &Tools, tree: &Path, empty: &Path, out: &Path, epoch: i64) -> Result<PathBuf> {
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
        "-xattrs",
        "-mkfs-time",
    ];
    tools
        .sandbox(out)
        .bind_read_only(tree, TREE)
        .bind_read_only(empty, "/run/tree/var")
        .command("mksquashfs", arguments.into_iter().map(str::to_owned).chain([epoch.to_string()]))?
        .run_logged()
        .context("failed to make the root file system")?;
    let image = out.join("root.img");
    Ok(image)
}

/// Makes `out/state.img`, an ext4 file system of `size` bytes that holds `var`, bit for bit the same each time.
pub fn ext4(tools: &Tools, var: &Path, out: &Path, size: u64, uuid: Guid, epoch: i64) -> Result<PathBuf> {
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
    let sandbox = tools.sandbox(out).bind_read_only(var, TREE).env("E2FSPROGS_FAKE_TIME", &epoch.to_string());
    sandbox.command("mke2fs", arguments)?.run_logged().context("failed to make the state file system")?;
    // mke2fs copies the times at which this build made the files; one sorted script sets them all.
    let script = out.join("state.times");
    fs::write(&script, times(var, epoch)?).with_context(|| format!("failed to write {}", script.display()))?;
    sandbox
        .command("debugfs", ["-w", "-f", "/run/out/state.times", "/run/out/state.img"])?
        .run()
        .context("failed to settle the state file system")?;
    Ok(out.join("state.img"))
}

/// The `debugfs` script that settles every inode's times.
fn times(var: &Path, epoch: i64) -> Result<String> {
    let mut script = String::new();
    let mut settle = |path: &str, modified: i64| {
        let quoted = format!("\"{}\"", path.replace('"', "\"\""));
        for (field, time) in [("atime", modified), ("ctime", epoch), ("mtime", modified), ("crtime", epoch)] {
            script.push_str(&format!("sif {quoted} {field} @{time}\n"));
            // The nanoseconds and the epoch bits of each time.
            script.push_str(&format!("sif {quoted} {field}_extra 0\n"));
        }
    };
    settle("/", epoch);
    settle("/lost+found", epoch);
    for entry in WalkDir::new(var).min_depth(1).sort_by_file_name() {
        let entry = entry.with_context(|| format!("failed to walk {}", var.display()))?;
        let metadata = entry.metadata().with_context(|| format!("failed to read {}", entry.path().display()))?;
        let name = entry.path().strip_prefix(var).context("a walk that left its tree")?;
        settle(&format!("/{}", name.display()), metadata.mtime());
    }
    Ok(script)
}
