//! What people type, and where it goes: readers that have gone, disks that are full, paths that cannot be. Nothing is baked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "starts habuild and closes what it writes to")]

#[path = "kit/specs.rs"]
mod specs;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use habuild::bake::store::{Layer, Store};
use habuild::plan::lock::{Lock, LockedLayer, Package};
use habuild::spec::names::Distribution;
use habuild::sys::digest::Digest;

/// A project with one layer of one package, its lock, and a cache that lacks both. No first-boot binary.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        let write = |name: &str, content: &[u8]| {
            let path = place.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let (base, packages) = (specs::base(Distribution::Ubuntu, "noble"), "[packages]\ndefault = [\"core\"]\n");
        let image = "name = \"x\"\nlayers = [\"base\"]\n[base]\ndistribution = \"ubuntu\"\nrelease = \"noble\"\n";
        write("images/x.toml", image.as_bytes());
        let mut lock = Lock::new(&base, 1);
        for layer in ["base", "tools"] {
            write(&format!("layers/{layer}/layer.toml"), format!("description = \"x\"\n{packages}").as_bytes());
            let core = Package {
                name: "core".into(),
                version: "1".into(),
                architecture: "amd64".into(),
                sha256: Digest::of(b"core"),
                size: 4,
                filename: "pool/core.deb".into(),
                security: false,
            };
            let locked = LockedLayer { above: Vec::new(), request: vec!["core".into()], packages: vec![core] };
            lock.layers.insert(layer.into(), locked);
        }
        write("layers/base/keys/ubuntu.gpg", b"");
        write("lock", lock.text().unwrap().as_bytes());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// habuild in the project, with a home of its own.
    fn habuild(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_habuild"));
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command.env("XDG_CACHE_HOME", self.path("home"));
        command
    }

    /// A command that takes the spec, with the lock: `image` fails, since the cache has no packages.
    fn locked(&self, command: &str, more: &[&str]) -> Command {
        let mut habuild = self.habuild(&[command, "x", "--locked", "lock", "--offline"]);
        habuild.args(more);
        habuild
    }

    /// The default cache.
    fn cache(&self) -> PathBuf {
        self.path("home/habuild")
    }

    /// Puts a layer with a file of so many bytes into the cache.
    fn layer(&self, name: &str, length: usize) -> (Store, Layer) {
        let store = Store::open(&self.cache()).unwrap();
        let scratch = store.scratch().unwrap();
        let made = scratch.directory("made").unwrap();
        fs::write(made.join("file"), vec![1; length]).unwrap();
        habuild::bake::pack::settle(&made, 1).unwrap();
        let key = Digest::of(name.as_bytes());
        let tree = store.keep_tree(key, &made).unwrap();
        let layer = store.commit(name, key, "layer\n", &tree, scratch.path()).unwrap();
        (store, layer)
    }
}

/// A pipe that nobody reads any more.
fn gone() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// The exit code, and what was said on standard error and then on standard output.
fn ended(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let words = [output.stderr, output.stdout].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&words).into_owned())
}

#[track_caller]
fn assert_ends(command: &mut Command, code: i32, words: &[&str]) {
    let (ended, said) = ended(command);
    assert!(ended == code && words.iter().all(|words| said.contains(words)), "{command:?} ended with {ended}:\n{said}");
}

#[test]
fn a_reader_that_has_gone_does_not_end_a_build() {
    let place = Place::new();
    // The first event is written before the packages are looked for.
    assert_ends(place.locked("image", &["--json"]).stdout(gone()), 4, &["the cache lacks 1 packages"]);
    assert_ends(place.locked("plan", &[]).stdout(gone()), 0, &[]);
}

#[test]
fn a_reader_that_has_gone_does_not_end_gc_or_verify() {
    let place = Place::new();
    let layers = ["a", "b"].map(|name| place.layer(name, 1 + name.len()));
    for (store, layer) in &layers {
        fs::write(store.tar(layer), "torn").unwrap();
    }
    assert_ends(place.habuild(&["cache", "verify"]).stdout(gone()), 5, &["2 layers are damaged", "removes them"]);
    assert_ends(place.habuild(&["cache", "gc"]).stdout(gone()), 0, &[]);
    assert_eq!(layers[0].0.layers().unwrap(), []);
}

#[test]
fn nobody_reads_the_warnings() {
    let place = Place::new();
    fs::write(place.path("bad.toml"), "name = 1\n").unwrap();
    for stderr in [gone, full] {
        assert_ends(place.habuild(&["check", "bad.toml"]).stderr(stderr()), 2, &[]);
        assert_ends(place.locked("image", &[]).stderr(stderr()), 4, &[]);
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let place = Place::new();
    place.layer("a", 1);
    let commands = [place.locked("plan", &[]), place.habuild(&["check", "--list"]), place.habuild(&["cache", "list"])];
    for mut command in commands {
        assert_ends(command.stdout(full()), 3, &["standard output could not be written", "No space left"]);
    }
}

#[test]
fn a_record_that_is_no_text_counts_as_missing() {
    let place = Place::new();
    let (_, layer) = place.layer("a", 2 << 20);
    let record = format!("keys/{}.json", layer.key);
    fs::write(place.cache().join(&record), b"\xff").unwrap();
    assert_ends(&mut place.locked("plan", &[]), 0, &[]);
    assert_ends(&mut place.locked("image", &[]), 4, &["the cache lacks 1 packages"]);
    assert_ends(&mut place.habuild(&["cache", "verify"]), 5, &[&record, "one layer is damaged"]);
    // Its tar and its tree.
    assert_ends(&mut place.habuild(&["cache", "gc"]), 0, &[&record, "freed 4 MiB"]);
    assert_ends(&mut place.habuild(&["cache", "verify"]), 0, &[]);
}

#[test]
fn gc_says_what_it_freed() {
    let place = Place::new();
    let (store, layer) = place.layer("a", 2 << 20);
    fs::write(store.tar(&layer), vec![0; 2 << 20]).unwrap();
    assert_ends(&mut place.habuild(&["cache", "verify"]), 5, &["one layer is damaged", "gc removes it; "]);
    assert_ends(&mut place.habuild(&["cache", "gc"]), 0, &["freed 4 MiB"]);
    place.layer("a", 1 << 20);
    let said = ["removed 1 layer that no build has used for 0 days", "freed 2 MiB"];
    assert_ends(&mut place.habuild(&["cache", "gc", "--unused", "0"]), 0, &said);
}

#[test]
fn a_path_that_is_no_text_is_refused_before_anything_is_made() {
    let place = Place::new();
    // What such a path would become.
    let other = place.path("c\u{fffd}");
    fs::create_dir_all(other.join("keys")).unwrap();
    fs::write(other.join("FORMAT"), "1\n").unwrap();
    let commands: [&[&str]; 6] = [
        &["cache", "gc", "--all", "--cache"],
        &["bundle", "lock", "--cache"],
        &["image", "x", "--locked", "lock", "--offline", "--cache"],
        &["image", "x", "--locked", "lock", "--offline", "-o"],
        &["plan", "x", "--locked", "lock", "-o"],
        &["lock", "x", "-o"],
    ];
    for arguments in commands {
        let mut command = place.habuild(arguments);
        assert_ends(command.arg(OsStr::from_bytes(b"c\xff")), 2, &[r"c\xFF", "is not UTF-8"]);
    }
    assert!(other.join("keys").is_dir() && !place.path("home").exists());
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 4, "something was made");
}

#[test]
fn a_cache_that_cannot_be_is_refused_with_a_remedy() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    let commands: [&[&str]; 4] = [
        &["image", "x", "--locked", "lock", "--offline"],
        &["plan", "x", "--offline"],
        &["lock", "x"],
        &["cache", "list"],
    ];
    for arguments in commands {
        for cache in ["file", "/proc/x"] {
            if arguments[0] == "cache" && cache != "file" {
                continue;
            }
            let words = ["cannot be written", "remedy: name another directory with --cache"];
            assert_ends(place.habuild(arguments).args(["--cache", cache]), 3, &words);
        }
    }
    for cache in ["a\"b", "a\nb"] {
        let words = ["double quote or a line break", "remedy: name another directory with --cache"];
        assert_ends(&mut place.locked("image", &["--cache", cache]), 3, &words);
        assert!(!place.path(cache).exists());
    }
}

#[test]
fn a_build_hears_at_once_that_another_writes_to_its_output() {
    let place = Place::new();
    fs::create_dir(place.path("out")).unwrap();
    let lock = File::create(place.path("out/.habuild.lock")).unwrap();
    lock.lock().unwrap();
    assert_ends(&mut place.locked("image", &["-o", "out"]), 3, &["another build is writing to "]);
    drop(lock);
    assert_ends(&mut place.locked("image", &["-o", "out"]), 4, &["the cache lacks 1 packages"]);
}

#[test]
fn a_mistake_names_the_option_that_was_given() {
    let place = Place::new();
    for (option, value) in [("--base", ":"), ("--format", ""), ("--mirror", "x")] {
        let (code, said) = ended(&mut place.habuild(&["image", "x", option, value]));
        assert!(code == 2 && said.contains(&format!("{option}: ")) && !said.contains("--set"), "{code}:\n{said}");
    }
    assert_ends(&mut place.habuild(&["image", "x", "--set", "base.mirror=x"]), 2, &["--set base.mirror: "]);
}

#[test]
fn only_a_layer_that_copies_the_first_boot_binary_needs_it() {
    let place = Place::new();
    assert_ends(&mut place.locked("plan", &[]), 0, &["packages to fetch: "]);
    let layer = place.path("layers/base/layer.toml");
    let text = fs::read_to_string(&layer).unwrap();
    fs::write(&layer, text + "[[action]]\ncopy = { from = \"artifact:firstboot\", to = \"/x\" }\n").unwrap();
    assert_ends(&mut place.locked("plan", &[]), 3, &["the first-boot binary is not built", "remedy: make firstboot"]);
}
