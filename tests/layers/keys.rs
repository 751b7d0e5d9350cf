//! Inputs that differ give keys that differ, whatever blanks, quotes and newlines are in them.

use std::collections::BTreeMap;

use habuild::plan::layer::{BundleSource, Frozen, PlannedBundle, PlannedFile, PlannedLayer, Source, Step};
use habuild::plan::lock::Package;
use habuild::spec::image::Base;
use habuild::spec::layer::Operation;
use habuild::spec::names::Distribution;
use habuild::sys::digest::Digest;

use crate::specs;

/// Another architecture than there is.
fn base(release: &str, architecture: &str) -> Base {
    Base { architecture: architecture.into(), ..specs::base(Distribution::Ubuntu, release) }
}

/// A layer of nothing but the given parts.
fn layer(name: &str, base: &Base, request: &[&str], packages: &[Package], steps: Vec<Step>) -> PlannedLayer {
    let request: Vec<String> = request.iter().map(|&name| name.into()).collect();
    let (epoch, tool, parent) = (1, Some("mmdebstrap 1"), None);
    PlannedLayer::freeze(Frozen { name, parent, base, epoch, tool, request: &request, packages, steps }).unwrap()
}

fn of_steps(steps: Vec<Step>) -> PlannedLayer {
    layer("a", &base("noble", "amd64"), &[], &[], steps)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.into()).collect()
}

fn package(name: &str, version: &str, architecture: &str) -> Package {
    Package {
        name: name.into(),
        version: version.into(),
        architecture: architecture.into(),
        sha256: Digest::of(b"1"),
        size: 1,
        filename: "pool/x".into(),
        security: false,
    }
}

fn file(to: &str, mode: u32) -> Step {
    Step::File(PlannedFile { to: to.into(), mode, source: Source::Text("x".into()) })
}

fn fetch(to: &str, mode: u32) -> Step {
    let source = Source::Url { url: "https://example.com/x".into(), sha256: Digest::of(b"x") };
    Step::File(PlannedFile { to: to.into(), mode, source })
}

fn user(name: &str, home: &str, shell: &str) -> Step {
    Step::Operation(Operation::User { name: name.into(), id: 1, home: home.into(), shell: shell.into() })
}

fn directory(path: &str, mode: u32) -> Step {
    Step::Operation(Operation::Directory { path: path.into(), mode })
}

fn link(path: &str, target: &str) -> Step {
    Step::Operation(Operation::Link { path: path.into(), target: target.into() })
}

fn bundle(content: &[u8]) -> Step {
    Step::Bundle(PlannedBundle::whole(Digest::of(content), BundleSource::Url("https://example.com".into())))
}

fn set(settings: &str) -> Step {
    let settings = serde_json::from_str(settings).unwrap();
    let from = BundleSource::Url("https://example.com".into());
    Step::Bundle(PlannedBundle { settings, ..PlannedBundle::whole(Digest::of(b"1"), from) })
}

fn remove(paths: &[&str]) -> Step {
    Step::Operation(Operation::Remove { paths: words(paths) })
}

fn run(command: &[&str]) -> Step {
    Step::Operation(Operation::Run { command: words(command) })
}

fn enable(unit: &str) -> Step {
    Step::Operation(Operation::Enable { unit: unit.into() })
}

fn mask(units: &[&str]) -> Step {
    Step::Operation(Operation::Mask { units: words(units) })
}

/// Groups of layers of which no two may have the same key.
fn groups() -> Vec<(&'static str, Vec<PlannedLayer>)> {
    let noble = base("noble", "amd64");
    let named = |name| layer(name, &noble, &[], &[], Vec::new());
    let asked = |names: &[&str]| layer("a", &noble, names, &[], Vec::new());
    let locked = |packages: &[Package]| layer("a", &noble, &[], packages, Vec::new());
    let one = |step| of_steps(vec![step]);
    let digest = Digest::of(b"1");
    vec![
        ("name", vec![named("a"), named("a\nepoch 2"), named("a "), named("\"a\""), named("")]),
        (
            "base",
            vec![
                layer("a", &base("x", "y z"), &[], &[], Vec::new()),
                layer("a", &base("x y", "z"), &[], &[], Vec::new()),
            ],
        ),
        ("request", vec![asked(&["a", "b"]), asked(&["a b"]), asked(&["b", "a"]), asked(&[]), asked(&[""])]),
        (
            "package",
            vec![
                locked(&[package("a", "1", "all")]),
                locked(&[package("a 1", "", "all")]),
                locked(&[package("a", "1 all", "")]),
                locked(&[package("a", "1", "all"), package("b", "1", "all")]),
                locked(&[package(&format!("a 1 all {digest}\npackage b"), "1", "all")]),
            ],
        ),
        ("file", vec![one(file("/a", 0o644)), one(file("/a", 0o755)), one(file("/a 0644", 0o644)), one(file("", 0))]),
        ("fetch", vec![one(fetch("/a", 0o644)), one(fetch("/a", 0o755)), one(fetch("/a 0644", 0o644))]),
        (
            "run",
            vec![
                one(run(&["a", "b"])),
                one(run(&["a b"])),
                one(run(&["a\", \"b"])),
                one(run(&["a", "b", ""])),
                of_steps(vec![run(&["a"]), run(&["b"])]),
                one(run(&["a\nrun b"])),
            ],
        ),
        ("enable", vec![of_steps(vec![enable("a"), enable("b")]), one(enable("a\nenable b")), one(enable("a b"))]),
        (
            "mask",
            vec![
                one(mask(&["a", "b"])),
                one(mask(&["a b"])),
                one(mask(&["\"a\"", "b"])),
                of_steps(vec![mask(&["a"]), mask(&["b"])]),
            ],
        ),
        (
            "user",
            vec![
                one(user("a", "/b", "/c d")),
                one(user("a", "/b /c", "d")),
                one(user("a 1", "/b", "")),
                one(user("a", "", "/b")),
            ],
        ),
        ("directory", vec![one(directory("/a", 0o755)), one(directory("/a 0755", 0o755)), one(directory("/a", 0o700))]),
        (
            "link",
            vec![one(link("/a", "/b /c")), one(link("/a /b", "/c")), one(link("/a", "/b")), one(link("/a\\n", ""))],
        ),
        (
            "remove",
            vec![
                one(remove(&["/a", "/b"])),
                one(remove(&["/a /b"])),
                one(remove(&["/a\n/b"])),
                one(remove(&["/a\\n/b"])),
                of_steps(vec![remove(&["/a"]), remove(&["/b"])]),
                one(remove(&["/a\nremove /b"])),
            ],
        ),
        (
            "bundle",
            vec![
                one(bundle(b"1")),
                one(bundle(b"2")),
                of_steps(vec![bundle(b"1"), bundle(b"2")]),
                one(set(r#"{"log": {"level": "debug"}}"#)),
                one(set(r#"{"log": {"level": "info"}}"#)),
            ],
        ),
        (
            "order",
            vec![of_steps(vec![remove(&["/a"]), link("/a", "/b")]), of_steps(vec![link("/a", "/b"), remove(&["/a"])])],
        ),
    ]
}

#[test]
fn inputs_that_differ_have_keys_that_differ() {
    let mut equal = Vec::new();
    for (kind, layers) in groups() {
        let mut seen: BTreeMap<Digest, &PlannedLayer> = BTreeMap::new();
        for layer in &layers {
            if let Some(other) = seen.insert(layer.key, layer) {
                equal.push(format!(
                    "{kind}: {:?} {:?} and {:?} {:?}",
                    other.request, other.steps, layer.request, layer.steps
                ));
            }
        }
    }
    assert!(equal.is_empty(), "one key for different inputs:\n{}", equal.join("\n"));
}

#[test]
fn inputs_are_one_a_line_and_plain_words_stay_plain() {
    for (kind, layers) in groups() {
        for layer in layers {
            let fixed = 7;
            assert_eq!(layer.inputs.lines().count(), fixed + layer.packages.len() + layer.steps.len(), "{kind}");
        }
    }
    let digest = Digest::of(b"x");
    let layer = of_steps(vec![file("/etc/a b", 0o644), link("/etc/b c", "../a"), remove(&["/x\ny"])]);
    let end = format!(
        "file \"/etc/a b\" 0644 {digest}\noperation {}\noperation {}\n",
        r#"{"link":{"path":"/etc/b c","target":"../a"}}"#, r#"{"remove":{"paths":["/x\ny"]}}"#,
    );
    assert!(layer.inputs.ends_with(&end), "{}", layer.inputs);
}
