//! `make bench`: what a build costs, next to mmdebstrap and qemu-img doing the same work, all in one run.
//!
//! Prints a table and leaves it in `target/bench/table.md`. Everything runs without network, from a package cache that
//! the preparation fills. Runs alternate, so that a noisy minute touches both sides; a figure is the median.
//!
//! With `HABUILD_NEW_IMAGE`, and `HABUILD_OLD_IMAGE` to compare with, it boots these images instead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a bench fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock and runs what it measures")]

#[path = "bench/boots.rs"]
mod boots;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use habuild::bake::packages::Packages;
use habuild::plan::lock::{Lock, Package};
use habuild::sys::cmd::{Cmd, Tool};

const RUNS: usize = 3;
const FORMATS: &str = "raw,qcow2";

fn main() {
    if let Some(images) = boots::images() {
        print!("{}", boots::table(&images, RUNS));
        return;
    }
    let place = Place::prepare();
    let repository = place.repository();
    let mut times = Times::default();
    for run in 0..RUNS {
        println!("run {} of {RUNS}", run + 1);
        place.forget_layers();
        times.cold.push(place.image("qcow2"));
        times.qcow2.push(place.seconds_of("qcow2"));
        place.change_last_layer(run);
        times.changed.push(place.image("qcow2"));
        times.unchanged.push(place.image("qcow2"));
        times.tar.push(place.mmdebstrap(&repository));
        times.qemu_img.push(place.qemu_img());
    }
    let table = times.table(place.size("out/harbor-node.qcow2"), place.size("converted.qcow2"));
    print!("{table}");
    fs::write(place.path("table.md"), table).unwrap();
    // Gigabytes that nobody needs afterwards; the package cache makes the next run quick.
    for name in ["raw", "converted.qcow2", "plain.tar", "out", "repository"] {
        let _ = fs::remove_dir_all(place.path(name));
        let _ = fs::remove_file(place.path(name));
    }
}

#[derive(Default)]
struct Times {
    cold: Vec<f64>,
    changed: Vec<f64>,
    unchanged: Vec<f64>,
    tar: Vec<f64>,
    qcow2: Vec<f64>,
    qemu_img: Vec<f64>,
}

impl Times {
    fn table(&self, ours: u64, theirs: u64) -> String {
        let (tar, convert) = (median(&self.tar), median(&self.qemu_img));
        let row = |what: &str, times: &[f64], than: f64| {
            let time = median(times);
            format!("| {what} | {time:.2} s | {:.3} × |\n", time / than)
        };
        let mut table = String::from("| | median | next to |\n|---|---|---|\n");
        table += &row("**mmdebstrap, a plain tar of the same packages**", &self.tar, tar);
        table += &row("cold bake to qcow2, tools layer cached", &self.cold, tar);
        table += &row("rebuild after a changed file of the last layer", &self.changed, tar);
        table += &row("nothing changed", &self.unchanged, tar);
        table += &row("**`qemu-img convert -c`**", &self.qemu_img, convert);
        table += &row("qcow2 export of the same disk", &self.qcow2, convert);
        let mib = |bytes: u64| bytes / (1 << 20);
        table +=
            &format!("\nqcow2: {} MiB, by `qemu-img convert -c` {} MiB. Median of {RUNS} runs", mib(ours), mib(theirs));
        table += &format!(" on {} processors.\n", std::thread::available_parallelism().unwrap());
        table
    }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// `target/bench`: a copy of the definitions, a cache and outputs of its own.
struct Place {
    root: PathBuf,
    lock: PathBuf,
    tools: String,
}

impl Place {
    /// Copies the definitions, fills the package cache, makes the raw disk that qemu-img converts.
    fn prepare() -> Self {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let root = project.join("target/bench");
        fs::create_dir_all(&root).unwrap();
        for name in ["images", "layers", "target", "raw", "out", "repository"] {
            let _ = fs::remove_dir_all(root.join(name));
        }
        for name in ["images", "layers"] {
            Cmd::program("cp").arg("-r").arg(project.join(name)).arg(root.join(name)).run().unwrap();
        }
        let binary = "target/x86_64-unknown-linux-musl/release/habuild-firstboot";
        fs::create_dir_all(root.join(binary).parent().unwrap()).unwrap();
        fs::copy(project.join(binary), root.join(binary)).expect("make firstboot builds it");
        let mut place = Self { lock: PathBuf::new(), tools: String::new(), root };
        println!("preparing: package cache, tools layer, raw disk");
        place.habuild("image").arg("--format").arg(FORMATS).arg("--output").arg(place.path("raw")).run().unwrap();
        place.lock = place.path("raw/harbor-node.ubuntu-noble-amd64.lock");
        let plan = place.habuild("plan").arg("--json").arg("--locked").arg(&place.lock).output_text().unwrap();
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        let layers = plan["layers"].as_array().unwrap();
        let tools = layers.iter().find(|layer| layer["name"] == "tools").unwrap();
        place.tools = tools["key"].as_str().unwrap().to_owned();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn size(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).unwrap().len()
    }

    fn habuild(&self, command: &str) -> Cmd {
        let habuild = Cmd::program(env!("CARGO_BIN_EXE_habuild")).arg("--root").arg(&self.root).arg(command);
        habuild.arg("--cache").arg(self.path("cache"))
    }

    /// Seconds that `habuild image` takes; its events are kept for [`Self::seconds_of`].
    fn image(&self, format: &str) -> f64 {
        let begun = Instant::now();
        let events = self
            .habuild("image")
            .args(["--offline", "--json", "--format", format])
            .arg("--locked")
            .arg(&self.lock)
            .arg("--output")
            .arg(self.path("out"))
            .output_text()
            .unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        fs::write(self.path("events.json"), events).unwrap();
        seconds
    }

    /// Seconds that the part `name` took in the last [`Self::image`].
    fn seconds_of(&self, name: &str) -> f64 {
        let events = fs::read_to_string(self.path("events.json")).unwrap();
        let mut events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        events.find(|event| event["name"] == name && event["event"] == "done").unwrap()["seconds"].as_f64().unwrap()
    }

    /// Removes every layer but the tools, and the output.
    fn forget_layers(&self) {
        let read = |name: &str| fs::read_dir(self.path(name)).unwrap().map(|entry| entry.unwrap().path());
        let keys: Vec<PathBuf> = read("cache/keys").collect();
        for key in keys.iter().filter(|path| !path.to_string_lossy().contains(&self.tools)) {
            fs::remove_file(key).unwrap();
        }
        self.habuild("cache").arg("gc").run().unwrap();
        let _ = fs::remove_dir_all(self.path("out"));
    }

    /// Changes a file of the image's last layer.
    fn change_last_layer(&self, run: usize) {
        let unit = self.path("layers/firstboot/files/habuild-firstboot.service");
        let text = fs::read_to_string(&unit).unwrap();
        fs::write(&unit, format!("{text}# run {run} of process {}\n", std::process::id())).unwrap();
    }

    /// The packages of the image's layers as a local repository.
    fn repository(&self) -> PathBuf {
        let lock: Lock = toml::from_str(&fs::read_to_string(&self.lock).unwrap()).unwrap();
        let layers = lock.layers.into_iter().filter(|(name, _)| name != "tools");
        let packages: Vec<Package> = layers.flat_map(|(_, layer)| layer.packages).collect();
        let at = self.path("repository");
        fs::create_dir_all(&at).unwrap();
        Packages::open(&self.path("cache")).unwrap().repository(&packages, "noble", &at).unwrap();
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        fs::write(self.path("names"), names.join(",")).unwrap();
        at
    }

    /// Seconds that mmdebstrap takes to make a plain tar of them, with the options that habuild gives it.
    fn mmdebstrap(&self, repository: &Path) -> f64 {
        let names = fs::read_to_string(self.path("names")).unwrap();
        let begun = Instant::now();
        Cmd::new(Tool::Mmdebstrap)
            .args(["--quiet", "--variant=apt", "--format=tar"])
            .arg(format!("--include={names}"))
            .args(["--aptopt=APT::Sandbox::User \"root\"", "--aptopt=APT::Install-Recommends \"false\""])
            .args(["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"])
            .args(["--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*"])
            .arg("noble")
            .arg(self.path("plain.tar"))
            .arg(format!("deb [trusted=yes] copy://{} ./", repository.display()))
            .run()
            .unwrap();
        begun.elapsed().as_secs_f64()
    }

    /// Seconds that qemu-img takes to convert the raw disk.
    fn qemu_img(&self) -> f64 {
        let begun = Instant::now();
        Cmd::new(Tool::QemuImg)
            .args(["convert", "-c", "-f", "raw", "-O", "qcow2"])
            .arg(self.path("raw/harbor-node.raw"))
            .arg(self.path("converted.qcow2"))
            .run()
            .unwrap();
        begun.elapsed().as_secs_f64()
    }
}
