//! `make bench`: what a build costs, next to mmdebstrap and qemu-img doing the same work, all in one run.
//!
//! Prints a table and leaves it in `target/bench/table.md`. Everything runs without network, from a package cache that
//! the preparation fills. Runs alternate, so that a noisy minute touches both sides; a figure is the median.
//!
//! With `HABUILD_NEW_IMAGE`, and `HABUILD_OLD_IMAGE` to compare with, it boots these images instead; with
//! `HABUILD_LOAD_IMAGE` it boots that one with its images in Docker's store, and with `docker load` first. With
//! `HABUILD_BENCH=bundle` (`make bench-bundle`) it measures what a Harbor bundle costs, with `HABUILD_BENCH=agent`
//! (`make bench-agent`) what the first-boot agent costs on a node. `HABUILD_RUNS` is how often each is measured.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a bench fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock and runs what it measures")]

#[path = "bench/agent.rs"]
mod agent;
#[path = "bench/archives.rs"]
mod archives;
#[path = "kit/boot.rs"]
mod boot;
#[path = "bench/boots.rs"]
mod boots;
#[path = "kit/bundle.rs"]
mod bundle;
#[path = "bench/bundles.rs"]
mod bundles;
#[path = "bench/dockerd.rs"]
mod dockerd;
#[path = "bench/load.rs"]
mod load;
#[path = "kit/machine.rs"]
#[allow(dead_code, reason = "the bench drives one node, and needs less of it than the tests")]
mod machine;
#[path = "kit/places.rs"]
mod places;
#[path = "kit/server.rs"]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use habuild::bake::packages::Packages;
use habuild::plan::lock::{Lock, Package};
use habuild::sys::cmd::{Cmd, Tool};

use places::{Place, copy_project, habuild, project, run};

/// So often is each side measured, if `HABUILD_RUNS` says nothing else.
const RUNS: usize = 3;
const FORMATS: &str = "raw,qcow2";

fn main() {
    if bundles::baked() {
        return;
    }
    let runs = std::env::var("HABUILD_RUNS").map_or(RUNS, |runs| runs.parse().expect("HABUILD_RUNS is a number"));
    let part = std::env::var("HABUILD_BENCH").unwrap_or_default();
    if part == "agent" {
        leave("agent", &agent::table());
        return;
    }
    if part == "bundle" {
        let at = project().join("target/bench");
        leave("bundle", &bundles::table(&at, runs));
        return;
    }
    if let Some(images) = boots::images() {
        leave(&boots::name(&images), &boots::table(&images, runs));
        return;
    }
    if let Some(image) = load::image() {
        print!("{}", load::table(&image, runs));
        return;
    }
    let bench = Bench::prepare();
    let repository = bench.repository();
    let mut times = Times::default();
    for run in 0..runs {
        println!("run {} of {runs}", run + 1);
        bench.forget_layers();
        times.cold.push(bench.image("qcow2"));
        times.qcow2.push(bench.seconds_of("qcow2"));
        bench.change_last_layer(run);
        times.changed.push(bench.image("qcow2"));
        times.unchanged.push(bench.image("qcow2"));
        times.tar.push(bench.mmdebstrap(&repository));
        times.qemu_img.push(bench.qemu_img());
    }
    let table = times.table(runs, bench.size("out/harbor-node.qcow2"), bench.size("converted.qcow2"));
    print!("{table}");
    fs::write(bench.path("table.md"), table).unwrap();
    // Gigabytes that nobody needs afterwards; the package cache makes the next run quick.
    for name in ["raw", "converted.qcow2", "plain.tar", "out", "repository"] {
        let _ = fs::remove_dir_all(bench.path(name));
        let _ = fs::remove_file(bench.path(name));
    }
}

/// Prints a table, and leaves it where `make bench-readme` takes it from.
fn leave(name: &str, table: &str) {
    print!("{table}");
    let at = project().join("target/bench");
    fs::create_dir_all(&at).unwrap();
    fs::write(at.join(name).with_extension("md"), table).unwrap();
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
    fn table(&self, runs: usize, ours: u64, theirs: u64) -> String {
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
            &format!("\nqcow2: {} MiB, by `qemu-img convert -c` {} MiB. Median of {runs} runs", mib(ours), mib(theirs));
        table += &format!(" on {} processors.\n", std::thread::available_parallelism().unwrap());
        table
    }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// `target/bench`: a project of its own that has been built once.
struct Bench {
    place: Place,
    /// Every layer but the tools.
    layers: Vec<String>,
}

impl Bench {
    /// Copies the project, fills the package cache, makes the raw disk that qemu-img converts.
    fn prepare() -> Self {
        let root = project().join("target/bench");
        fs::create_dir_all(&root).unwrap();
        for name in ["images", "layers", "target", "raw", "out", "repository"] {
            let _ = fs::remove_dir_all(root.join(name));
        }
        copy_project(&root);
        println!("preparing: package cache, tools layer, raw disk");
        let (cache, raw) = (root.join("cache"), root.join("raw"));
        run(habuild(&root).args(["image", "--format", FORMATS, "--cache"]).arg(&cache).arg("--output").arg(&raw));
        let place = Place { root, cache, lock: raw.join("harbor-node.ubuntu-noble-amd64.lock"), _scratch: None };
        let layers = place.keys().into_iter().map(|(name, _)| name).filter(|name| name != "tools").collect();
        Self { place, layers }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    fn size(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).unwrap().len()
    }

    /// Seconds that `habuild image` takes; its events are kept for [`Self::seconds_of`].
    fn image(&self, format: &str) -> f64 {
        let begun = Instant::now();
        let events = run(self.place.locked("image").args(["--offline", "--json", "--format", format]));
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
        self.place.forget(&self.layers.iter().map(String::as_str).collect::<Vec<_>>());
        run(self.place.habuild("cache").arg("gc"));
        let _ = fs::remove_dir_all(self.path("out"));
    }

    /// Changes a file of the image's last layer.
    fn change_last_layer(&self, run: usize) {
        self.place.change_last_layer(&format!("run {run} of process {}", std::process::id()));
    }

    /// The packages of the image's layers as a local repository.
    fn repository(&self) -> PathBuf {
        let lock: Lock = toml::from_str(&fs::read_to_string(&self.place.lock).unwrap()).unwrap();
        let layers = lock.layers.into_iter().filter(|(name, _)| name != "tools");
        let packages: Vec<Package> = layers.flat_map(|(_, layer)| layer.packages).collect();
        let at = self.path("repository");
        fs::create_dir_all(&at).unwrap();
        Packages::open(&self.place.cache).unwrap().repository(&packages, "noble", &at).unwrap();
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
