//! Where a test bakes: a copy of the project's definitions, a cache, an output directory.
#![allow(clippy::disallowed_methods, reason = "these tests start habuild and look at its exit code")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use habuild::plan::lock::Lock;
use serde_json::Value;
use tempfile::TempDir;

use super::small;

/// Smaller than an image for people: its raw form is read from end to end.
pub(crate) const SMALL: &str = "disk.var.size=1GiB";
/// Who builds as an ordinary user when the tests run as root; `make setup-tests` makes it.
pub(crate) const USER: &str = "habuild-test";

/// The lock's name in an output directory.
const LOCK: &str = "harbor-node.ubuntu-noble-amd64.lock";

/// A project of its own.
#[derive(Debug)]
pub(crate) struct Place {
    dir: TempDir,
    cache: PathBuf,
}

/// An image, baked once from nothing.
#[derive(Debug)]
pub(crate) struct Warm {
    pub(crate) root: PathBuf,
    pub(crate) lock: PathBuf,
}

/// Lets one build run at a time: two cores are enough for one, and timings stay readable.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The project that holds this test.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// `habuild`, to be given arguments.
pub(crate) fn habuild(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_habuild"));
    command.arg("--root").arg(root).stdin(Stdio::null());
    command
}

/// Copies the definitions, the first-boot binary and the stand-in's bundle into `root`.
pub(crate) fn copy_project(root: &Path) {
    for name in ["images", "layers"] {
        run(Command::new("cp").arg("-r").arg(project().join(name)).arg(root));
    }
    for name in ["target/x86_64-unknown-linux-musl/release/habuild-firstboot", "target/stand-in/cfg.tgz"] {
        let built = project().join(name);
        assert!(built.is_file(), "there is no {}: run make firstboot stand-in", built.display());
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::copy(built, root.join(name)).unwrap();
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{words}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The cache of the person who runs the tests: packages that it has are not fetched again.
fn own_packages() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    cache.map(|cache| cache.join("habuild/packages")).filter(|packages| packages.is_dir())
}

/// Gives `cache` the package files of another cache.
pub(crate) fn lend_packages(from: &Path, cache: &Path) {
    fs::create_dir_all(cache.join("packages")).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with('.') {
            fs::copy(entry.path(), cache.join("packages").join(name)).unwrap();
        }
    }
}

/// Makes the directory `to` of the package files of the small image; gives their length.
pub(crate) fn lend_locked(to: &Path) -> u64 {
    let lock: Lock = toml::from_str(&fs::read_to_string(&warm().lock).unwrap()).unwrap();
    fs::create_dir_all(to).unwrap();
    let packages = lock.layers.into_values().flat_map(|layer| layer.packages);
    let files = packages.map(|package| format!("{}.deb", package.sha256)).collect::<BTreeSet<_>>();
    files.iter().map(|name| fs::copy(warm().root.join("cache/packages").join(name), to.join(name)).unwrap()).sum()
}

/// The lock of the small image, and the project that it was made in, whose cache has an index and no layer; made by the
/// first that asks.
pub(crate) fn locked() -> &'static Warm {
    static LOCKED: OnceLock<Warm> = OnceLock::new();
    LOCKED.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bake");
        if root.join("cache/FORMAT").is_file() {
            // An ordinary user's layers belong to its subordinate ids: habuild can remove them, the user cannot.
            run(habuild(project()).args(["cache", "gc", "--all", "--cache"]).arg(root.join("cache")));
        }
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        copy_project(&root);
        small::shrink(&root);
        let out = root.join("lock");
        run(habuild(&root).args(["lock", "--cache"]).arg(root.join("cache")).arg("--output").arg(&out));
        Warm { lock: out.join(LOCK), root }
    })
}

/// The small image in the cache, and in `out`, which every test may read; made by the first that asks.
pub(crate) fn warm() -> &'static Warm {
    static WARM: OnceLock<()> = OnceLock::new();
    let locked = locked();
    WARM.get_or_init(|| {
        let _alone = alone();
        let cache = locked.root.join("cache");
        if let Some(packages) = own_packages() {
            lend_packages(&packages, &cache);
        }
        let mut image = habuild(&locked.root);
        image.args(["image", "--set", SMALL, "--format", "raw,qcow2", "--locked"]).arg(&locked.lock);
        run(image.arg("--cache").arg(cache).arg("--output").arg(locked.root.join("out")));
    });
    locked
}

/// The default image, whole, baked into the same cache: the tools are the small image's.
pub(crate) fn full() -> Warm {
    let cache = warm().root.join("cache");
    let _alone = alone();
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bake/full");
    fs::create_dir_all(&root).unwrap();
    copy_project(&root);
    let out = root.join("out");
    let here = format!("umask 022; export LC_ALL=C TZ=UTC; cd {}", root.display());
    let mut image = Command::new(elsewhere(&root, Path::new(env!("CARGO_BIN_EXE_habuild")), &here));
    image.arg("--root").arg(&root).args(["image", "--set", SMALL, "--format", "raw,qcow2", "--cache"]).arg(cache);
    run(image.arg("--output").arg(&out));
    Warm { lock: out.join(LOCK), root }
}

impl Place {
    /// A project with the warm cache, which it shares: for tests that damage nothing.
    pub(crate) fn sharing() -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        copy_project(dir.path());
        small::shrink(dir.path());
        Self { dir, cache: warm().root.join("cache") }
    }

    /// A project to be planned, for which nothing is baked.
    pub(crate) fn planning() -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        copy_project(dir.path());
        small::shrink(dir.path());
        let cache = dir.path().join("cache");
        Self { dir, cache }
    }

    /// A project with a copy of the warm cache: every layer, and no package file.
    pub(crate) fn copying() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        copy_project(dir.path());
        small::shrink(dir.path());
        let cache = dir.path().join("cache");
        fs::create_dir_all(&cache).unwrap();
        for name in ["FORMAT", "keys", "layers"] {
            run(Command::new("cp").arg("-r").arg(warm().root.join("cache").join(name)).arg(&cache));
        }
        Self { dir, cache }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// A habuild command on this project and its cache.
    pub(crate) fn habuild(&self, command: &str) -> Command {
        let mut habuild = habuild(self.dir.path());
        habuild.arg(command).arg("--cache").arg(&self.cache);
        if command != "cache" {
            habuild.arg("--output").arg(self.path("out")).args(["--set", SMALL]);
        }
        habuild
    }

    /// The same with the small image's lock.
    pub(crate) fn locked(&self, command: &str) -> Command {
        let mut habuild = self.habuild(command);
        habuild.arg("--locked").arg(&locked().lock);
        habuild
    }

    /// `habuild plan --json`.
    pub(crate) fn plan(&self) -> Value {
        serde_json::from_str(&run(self.locked("plan").arg("--json"))).unwrap()
    }

    /// The key that the plan gives a layer, or the disk.
    pub(crate) fn key(&self, name: &str) -> String {
        let plan = self.plan();
        if let Some(key) = plan[name].as_str() {
            return key.to_owned();
        }
        let layers = plan["layers"].as_array().unwrap();
        let layer = layers.iter().find(|layer| layer["name"] == name).unwrap();
        layer["key"].as_str().unwrap().to_owned()
    }

    /// Takes a layer and those above it out of the cache.
    pub(crate) fn forget(&self, layers: &[&str]) {
        for layer in layers {
            let key = self.key(layer);
            let _ = fs::remove_file(self.cache.join(format!("keys/{key}.json")));
        }
        run(self.habuild("cache").arg("gc"));
    }

    /// Changes a file of the last layer, so that the image has to be made anew and little of it baked.
    pub(crate) fn change_last_layer(&self, text: &str) {
        let unit = self.path("layers/firstboot/files/habuild-firstboot.service");
        fs::write(&unit, format!("{}# {text}\n", fs::read_to_string(&unit).unwrap())).unwrap();
    }

    /// Nothing half-written is in the output directory, nothing is left of a build's scratch once the next has run,
    /// and every layer of the cache reads back.
    pub(crate) fn assert_whole(&self) {
        let out = self.path("out");
        let names: Vec<String> = fs::read_dir(&out)
            .map(|entries| entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        if names.iter().any(|name| !name.starts_with('.')) {
            run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&out));
        }
        run(self.habuild("cache").arg("verify"));
    }
}

/// A program in `directory` that becomes `program` under a mask, in a working directory, with more in its environment.
/// Whatever starts it (sudo, setpriv) cannot change these any more.
pub(crate) fn elsewhere(directory: &Path, program: &Path, surroundings: &str) -> PathBuf {
    let script = directory.join("habuild-elsewhere");
    fs::write(&script, format!("#!/bin/sh\n{surroundings}\nexec {} \"$@\"\n", program.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// The exit code, and the message that a person gets.
pub(crate) fn failure(command: &mut Command) -> (i32, String) {
    let output: Output = command.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "{command:?} succeeded");
    let words = String::from_utf8(output.stderr).unwrap();
    // Progress lines come first; the message begins at the one `habuild: `.
    assert_eq!(words.matches("habuild: ").count(), 1, "not one message:\n{words}");
    let message = words[words.find("habuild: ").unwrap()..].trim().to_owned();
    (output.status.code().expect("ended by a signal"), message)
}

/// A command as the ordinary user `name`. The tests run as root, or sudo is there.
pub(crate) fn as_user(name: &str, home: &Path, program: &Path) -> Command {
    let id = |kind: &str| run(Command::new("id").args([kind, name])).trim().to_owned();
    let mut command = root_command("setpriv");
    command.args(["--reuid", &id("-u"), "--regid", &id("-g"), "--clear-groups"]);
    command.args(["env", "-i", "PATH=/usr/bin:/bin"]).arg(format!("HOME={}", home.display())).arg(program);
    command
}

/// A command as root.
pub(crate) fn root_command(program: &str) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        return Command::new(program);
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).status();
    assert!(
        sudo.is_ok_and(|status| status.success()),
        "this test needs root: run as root, or with sudo that asks nothing"
    );
    let mut command = Command::new("sudo");
    command.arg("-n").arg(program);
    command
}
