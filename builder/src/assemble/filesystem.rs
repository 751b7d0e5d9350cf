//! File systems from trees, made by the tools layer's own programs: squashfs for the root, ext4 for the state.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use uuid::Uuid;

use super::settle;
use crate::bake::docker::marks::Mark;
use crate::report::{self, Failure, Fault};
use crate::sys::enter::Overlay;
use crate::sys::file::{self, Scratch};
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

/// What the state file system is made of, besides its tree.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    /// Its length in bytes.
    pub size: u64,
    /// Its UUID, and the seed of its directories' hashes.
    pub uuid: Uuid,
    /// The time of everything that has none of its own.
    pub epoch: i64,
    /// What the tree cannot hold.
    pub marks: &'a [Mark],
}

/// Makes `out/state.img`, an ext4 file system that holds `var`, bit for bit the same each time.
pub fn ext4(tools: &Tools, var: &Path, out: &Path, state: State<'_>) -> Result<PathBuf> {
    let State { size, uuid, epoch, marks } = state;
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
    file::write(&script, settle::script(var, marks, epoch, out, OUT)?)?;
    let output = sandbox
        .command("debugfs", ["-w", "-f", "/run/out/state.script", "/run/out/state.img"])?
        .stdout(std::process::Stdio::null())
        .run()
        .context("failed to settle the state file system")?;
    settle::check(&output.stderr).context("failed to settle the state file system")?;
    Ok(out.join("state.img"))
}
