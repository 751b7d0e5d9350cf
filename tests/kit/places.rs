//! Projects to build in: copies of this one's definitions, each with a cache and an output directory.
#![allow(clippy::disallowed_methods, reason = "starts habuild and looks at its exit code")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A project of its own.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) cache: PathBuf,
    pub(crate) lock: PathBuf,
    /// Removes the project when the test is over.
    pub(crate) _scratch: Option<TempDir>,
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

/// Runs a command that must succeed; what it wrote to standard output.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{words}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Copies the definitions, the programs for the node and the stand-in's bundle into `root`.
pub(crate) fn copy_project(root: &Path) {
    for name in ["images", "layers"] {
        run(Command::new("cp").arg("-r").arg(project().join(name)).arg(root));
    }
    let programs = "target/x86_64-unknown-linux-musl";
    for name in [
        &format!("{programs}/release/habuild-firstboot"),
        &format!("{programs}/initrd/habuild-init"),
        "target/stand-in/cfg.tgz",
    ] {
        let built = project().join(name);
        assert!(built.is_file(), "there is no {}: run make firstboot initrd stand-in", built.display());
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::copy(built, root.join(name)).unwrap();
    }
}

impl Place {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A habuild command on this project, its cache and the output directory `out`.
    pub(crate) fn habuild(&self, command: &str) -> Command {
        let mut habuild = habuild(&self.root);
        habuild.arg(command).arg("--cache").arg(&self.cache);
        if command != "cache" {
            habuild.arg("--output").arg(self.path("out"));
        }
        habuild
    }

    /// The same with the place's lock.
    pub(crate) fn locked(&self, command: &str) -> Command {
        let mut habuild = self.habuild(command);
        habuild.arg("--locked").arg(&self.lock);
        habuild
    }

    /// `habuild plan --json`.
    pub(crate) fn plan(&self) -> Value {
        serde_json::from_str(&run(self.locked("plan").arg("--json"))).unwrap()
    }

    /// The keys that the plan gives the layers, the initrd and the disk.
    pub(crate) fn keys(&self) -> Vec<(String, String)> {
        let plan = self.plan();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let layers = plan["layers"].as_array().unwrap().iter();
        let mut keys: Vec<(String, String)> = layers.map(|layer| (text(&layer["name"]), text(&layer["key"]))).collect();
        keys.extend(["initrd", "disk"].map(|name| (name.to_owned(), text(&plan[name]))));
        keys
    }

    /// Takes layers out of the cache; what they are made of stays until the next `gc`.
    pub(crate) fn forget(&self, layers: &[&str]) {
        for (name, key) in self.keys() {
            if layers.contains(&name.as_str()) {
                let _ = fs::remove_file(self.cache.join(format!("keys/{key}.json")));
            }
        }
    }

    /// Changes a file of the last layer, so that the image has to be made anew and little of it baked.
    pub(crate) fn change_last_layer(&self, text: &str) {
        let unit = self.path("layers/firstboot/files/habuild-firstboot.service");
        fs::write(&unit, format!("{}# {text}\n", fs::read_to_string(&unit).unwrap())).unwrap();
    }
}
