//! What a Harbor bundle costs a bake, next to `docker load` of the same container images by a real dockerd; then the
//! next version of it, of which the cache, and Docker's store, hold four fifths.
//!
//! The bake's part is a process of its own that does what `habuild image` does with a bundle: hash it, unpack it into the
//! cache, lay Docker's store out. Both sides write to the same file system, which needs 10 GB.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use habuild::bake::bundle;
use habuild::bake::docker;
use habuild::bake::packages::Packages;
use habuild::bake::store::Store;
use habuild::plan::layer::{BundleSource, PlannedBundle};
use habuild::sys::cmd::Cmd;
use habuild::sys::digest::Digest;
use walkdir::WalkDir;

use crate::archives::{Archives, VERSIONS};
use crate::dockerd::{Cost, Docker};
use crate::median;

/// Names the directory in which this process is the bake's part, and the bundle.
const IN: &str = "HABUILD_BENCH_BAKE_IN";
const BUNDLE: &str = "HABUILD_BENCH_BAKE";

/// Whether this process is the bake's part; if so, it has been done.
pub(crate) fn baked() -> bool {
    let (Some(directory), Some(bundle)) = (std::env::var_os(IN), std::env::var_os(BUNDLE)) else { return false };
    bake(Path::new(&directory), Path::new(&bundle));
    true
}

fn bake(directory: &Path, path: &Path) {
    let begun = Instant::now();
    let (sha256, _) = Digest::of_file(path).unwrap();
    let cache = directory.join("cache");
    let (store, packages) = (Store::open(&cache).unwrap(), Packages::open(&cache).unwrap());
    let planned = PlannedBundle::whole(sha256, BundleSource::File(path.into()));
    let (bundle, found) = bundle::take(&planned, &store, &packages, true).unwrap();
    assert!(!found);
    let scratch = store.scratch().unwrap();
    let root = scratch.directory("docker").unwrap();
    let laid_out = docker::lay_out(&root, &bundle.images, &bundle.layers).unwrap();
    let Cost { seconds, processor, memory } = Cost::of("self", begun.elapsed().as_secs_f64());
    let trees = laid_out.mounts.values().map(PathBuf::as_path).chain([root.as_path()]);
    let length = trees.map(length_of).sum::<u64>();
    println!("{seconds} {processor} {memory} {length}");
}

/// What a tree takes in an ext4 file system with blocks of 4 KiB and inodes of 256 bytes, as `assemble` counts it.
fn length_of(tree: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let lengths = WalkDir::new(tree).into_iter().map(|entry| {
        let metadata = entry.unwrap().metadata().unwrap();
        match metadata.is_symlink() || !seen.insert(metadata.ino()) {
            true => 256,
            false if metadata.is_dir() => 4096 + 256,
            false => metadata.len().next_multiple_of(4096) + 256,
        }
    });
    lengths.sum()
}

#[derive(Default)]
struct Costs {
    bake: [Vec<Cost>; 2],
    load: [Vec<Cost>; 2],
    /// What the image grows by, and what dockerd's directory takes, for each version.
    image: [u64; 2],
    docker: [u64; 2],
}

/// Measures `runs` times in the directory `root`; the table of medians.
pub(crate) fn table(root: &Path, runs: usize) -> String {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    assert!(is_root, "make bench-bundle starts a dockerd, in namespaces of its own: run it as root");
    let docker = Docker::fetch(&root.join("docker"));
    println!("preparing: two bundles of 1 GB");
    let at = root.join("bundles");
    let _ = fs::remove_dir_all(&at);
    let archives = Archives::make(&at);
    let mut costs = Costs::default();
    for run in 0..runs {
        println!("run {} of {runs}", run + 1);
        // Nothing is removed between two runs: ext4 takes its time to give a removed file's inode to another.
        let (cache, data) = (at.join(format!("bake-{run}")), at.join(format!("docker-{run}")));
        for (version, name) in VERSIONS.iter().enumerate() {
            let (cost, length) = bake_apart(&cache, &archives.bundle(version));
            println!("  bake {name}: {}", words(cost));
            costs.bake[version].push(cost);
            costs.image[version] = length;
        }
        let dockerd = docker.start(&data);
        for (version, name) in VERSIONS.iter().enumerate() {
            sync();
            let cost = dockerd.load(&archives.saved(version));
            println!("  docker load {name}: {}", words(cost));
            costs.load[version].push(cost);
            costs.docker[version] = length_of(&data);
        }
        assert!(dockerd.images() > 8, "docker load has loaded both versions");
    }
    let table = costs.table(&archives, &docker.version(), runs);
    fs::remove_dir_all(&at).unwrap();
    table
}

/// What was written before costs nobody later.
fn sync() {
    Cmd::program("sync").run().unwrap();
}

/// The bake's part in a process of its own; what the image grows by too.
fn bake_apart(directory: &Path, bundle: &Path) -> (Cost, u64) {
    sync();
    let this = std::env::current_exe().unwrap();
    let said = Cmd::program(this).env(IN, directory).env(BUNDLE, bundle).output_text().unwrap();
    let numbers: Vec<f64> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
    (Cost { seconds: numbers[0], processor: numbers[1], memory: numbers[2] as u64 }, numbers[3] as u64)
}

fn words(cost: Cost) -> String {
    format!("{:.2} s, {:.2} s of processors, {} MiB", cost.seconds, cost.processor, mib(cost.memory))
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

impl Costs {
    fn table(&self, archives: &Archives, docker: &str, runs: usize) -> String {
        let of = |costs: &[Cost], pick: fn(&Cost) -> f64| median(&costs.iter().map(pick).collect::<Vec<_>>());
        let row = |what: &str, costs: &[Cost]| {
            let (time, processor) = (of(costs, |cost| cost.seconds), of(costs, |cost| cost.processor));
            let than = time / of(&self.load[0], |cost| cost.seconds);
            let memory = costs.iter().map(|cost| cost.memory).max().unwrap_or_default();
            format!("| {what} | {time:.2} s | {than:.2} × | {processor:.2} s | {} MiB |\n", mib(memory))
        };
        let mut table = String::from("| | median | next to | processors | memory |\n|---|---|---|---|---|\n");
        table += &row(&format!("**`docker load`, dockerd {docker}, empty store**"), &self.load[0]);
        table += &row("the bake's part, empty cache", &self.bake[0]);
        table += &row("`docker load` of the next version", &self.load[1]);
        table += &row("the bake's part for it", &self.bake[1]);
        let (first, second) = (archives.lengths[0], archives.lengths[1]);
        table += &format!(
            "\nA bundle of {} MiB with 8 images, {} MiB of layers with {} files; the next version has {} % of its own from it. ",
            mib(fs::metadata(archives.bundle(0)).unwrap().len()),
            mib(first),
            archives.entries,
            archives.shared * 100 / second,
        );
        table += &format!(
            "The image grows by {} MiB ({} MiB with the next version); dockerd's directory by {} MiB. ",
            mib(self.image[0]),
            mib(self.image[1]),
            mib(self.docker[0]),
        );
        table += &format!(
            "Median of {runs} runs, largest peak, on {} processors.\n",
            std::thread::available_parallelism().unwrap()
        );
        table
    }
}
