//! Golden tests of `spec`: what it makes of good files and what it says of bad ones, word for word.
//!
//! Each `tests/golden/spec/NAME.toml` is an image spec with `NAME.expected` beside it: the spec as it was understood,
//! or the report. Lines `# set: KEY=VALUE` at its top are `--set` options. Layers are those of `golden/spec/root`.
//! `UPDATE_GOLDEN=1` writes the expectations anew; read the difference before you commit it.

#![expect(clippy::expect_used, reason = "a test says what it needed and did not get")]

use std::fs;
use std::path::{Path, PathBuf};

use habuild::report::{Fault, Report, fault_of};
use habuild::spec::{self, Override};

/// Tests run in the crate's directory; the reports show paths from here on.
const GOLDEN: &str = "../tests/golden/spec";
const GOOD: &str = "name = \"x\"\nlayers = [\"base\"]\n[base]\ndistribution = \"debian\"\nrelease = \"bookworm\"\n";

fn root() -> PathBuf {
    Path::new(GOLDEN).join("root")
}

/// What a person sees of a result: the spec as JSON, or every problem.
fn shown(result: anyhow::Result<spec::Catalog>) -> String {
    match result {
        Ok(catalog) => {
            let layers: Vec<&str> = catalog.layers.keys().map(String::as_str).collect();
            let image = serde_json::to_string_pretty(&catalog.image).expect("a spec is JSON");
            format!("layers: {}\n{image}\n", layers.join(", "))
        }
        Err(error) => {
            assert_eq!(fault_of(&error), Fault::Usage, "{error:?}");
            let report = error.downcast_ref::<Report>().expect("the error is a report");
            assert!(!report.problems.is_empty());
            format!("{report}\n").replace(&format!("{GOLDEN}/"), "")
        }
    }
}

fn load(file: &Path, options: &[Override]) -> String {
    shown(spec::load(&root(), &file.to_string_lossy(), options))
}

/// Loads a file with these bytes; the report calls it `x.toml`.
fn load_bytes(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("x.toml");
    fs::write(&file, bytes).expect("the file is written");
    load(&file, &[]).replace(&format!("{}/", directory.path().display()), "")
}

fn check(name: &str, found: &str) -> Result<(), String> {
    let file = Path::new(GOLDEN).join(format!("{name}.expected"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, found).expect("the expectation is written");
        return Ok(());
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    match expected == found {
        true => Ok(()),
        false => Err(format!("--- {name}: expected\n{expected}--- {name}: found\n{found}")),
    }
}

#[test]
fn every_golden_spec_is_told_as_expected() {
    let mut names: Vec<String> = fs::read_dir(GOLDEN)
        .expect("the golden directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.file_stem().expect("a stem").to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() > 20, "the golden specs are found: {names:?}");
    let wrong: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let file = Path::new(GOLDEN).join(format!("{name}.toml"));
            let text = fs::read_to_string(&file).expect("the spec is read");
            let options = text.lines().map_while(|line| line.strip_prefix("# set: "));
            let options: Vec<Override> = options.map(|option| option.parse().expect("a good option")).collect();
            check(name, &load(&file, &options)).err()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_expectation_has_its_spec() {
    let generated = ["empty", "not-utf-8", "brackets", "mistake-after-bom", "mistake-after-crlf", "no-such-image"];
    for entry in fs::read_dir(GOLDEN).expect("the golden directory") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a stem").to_string_lossy().into_owned();
        let orphan = path.extension().is_some_and(|extension| extension == "expected")
            && !path.with_extension("toml").exists()
            && !generated.contains(&stem.as_str());
        assert!(!orphan, "{} has no spec", path.display());
    }
}

#[test]
fn five_mistakes_are_five_problems_with_their_places() {
    let file = Path::new(GOLDEN).join("five-mistakes.toml");
    let error = spec::load(&root(), &file.to_string_lossy(), &[]).expect_err("it has five mistakes");
    let report = error.downcast_ref::<Report>().expect("the error is a report");
    assert_eq!(report.problems.len(), 5, "{report}");
    assert!(report.problems.iter().all(|problem| problem.line > 0 && problem.column > 0 && problem.file == file));
}

#[test]
fn hostile_files_are_told_in_one_line() {
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("not-utf-8", b"name = \"caf\xe9\"\n".to_vec()),
        ("brackets", vec![b'['; 64 << 10]),
        ("mistake-after-bom", [b"\xef\xbb\xbf", GOOD.replace("name", "nmae").as_bytes()].concat()),
        ("mistake-after-crlf", GOOD.replace("debian", "debain").replace('\n', "\r\n").into_bytes()),
    ] {
        let said = load_bytes(&bytes);
        assert!(said.lines().all(|line| line.len() < 200), "{said}");
        check(name, &said).unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[test]
fn a_bom_and_crlf_change_nothing() {
    let plain = load_bytes(GOOD.as_bytes());
    assert!(plain.contains("\"name\": \"x\""), "{plain}");
    assert_eq!(load_bytes(GOOD.replace('\n', "\r\n").as_bytes()), plain);
    assert_eq!(load_bytes(&[b"\xef\xbb\xbf", GOOD.as_bytes()].concat()), plain);
}

#[test]
fn what_is_no_file_is_told() {
    let said = load(Path::new("../tests/golden/"), &[]);
    assert_eq!(said, "../tests/golden/: is a directory, not a file (name the .toml file in it)\n");
    assert_eq!(load(Path::new("./none.toml"), &[]), "./none.toml: there is no such file\n");
    let large = load_bytes(&vec![b'#'; 300 << 10]);
    assert_eq!(large, "x.toml: is longer than 256 KiB (is this a definition file at all?)\n");
}

/// Whatever a slip of the hand does to a spec, the answer is a spec or a report.
#[test]
fn no_damage_to_a_spec_makes_it_panic() {
    let spec = fs::read_to_string(Path::new(GOLDEN).join("everything.toml")).expect("the spec is read");
    let mut refused = 0;
    for at in 0..spec.len() {
        for damaged in [spec[..at].to_owned(), format!("{}{}", &spec[..at], &spec[at + 1..]), {
            let mut bytes = spec.clone().into_bytes();
            bytes[at] = b"\"[]{}=.\n\0#"[at % 10];
            String::from_utf8(bytes).expect("ASCII stays ASCII")
        }] {
            refused += usize::from(load_bytes(damaged.as_bytes()).starts_with("x.toml:"));
        }
    }
    assert!(refused > spec.len(), "most damage is noticed: {refused} of {}", 3 * spec.len());
}

#[test]
fn an_image_is_found_by_its_name() {
    let project = tempfile::tempdir().expect("a temporary directory");
    let images = project.path().join("images");
    fs::create_dir(&images).expect("a directory");
    let shown = |result| shown(result).replace(&format!("{}/", project.path().display()), "");
    let said = shown(spec::load(project.path(), "harbor-nod", &[]));
    assert!(said.starts_with("images/harbor-nod.toml: no image specs in "), "{said}");
    fs::write(images.join("harbor-node.toml"), GOOD).expect("the spec is written");
    fs::write(images.join("other.toml"), GOOD).expect("the spec is written");
    assert_eq!(
        shown(spec::load(project.path(), "harbor-nod", &[])),
        "images/harbor-nod.toml: unknown image \"harbor-nod\" (did you mean \"harbor-node\"?)\n"
    );
    let said = shown(spec::load(project.path(), "harbor-node", &[]));
    assert!(said.contains("layers/tools/layer.toml: the tools layer is missing"), "{said}");
    assert!(said.contains("no layers in"), "{said}");
}

#[test]
fn the_images_of_this_repository_are_good() {
    let mut seen = 0;
    for entry in fs::read_dir("../images").expect("the images") {
        let file = entry.expect("an entry").path();
        let catalog = spec::load(&root(), &file.to_string_lossy(), &[])
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(Some(catalog.image.name.as_ref()), file.file_stem(), "an image is named as its file");
        assert_eq!(catalog.image_file, file);
        seen += 1;
    }
    assert!(seen >= 2);
}

#[test]
fn check_takes_images_and_layers_and_refuses_the_rest() {
    let say = |path: &Path| match spec::check_file(&root(), path) {
        Ok(_) => "good".to_owned(),
        Err(error) => error.to_string().replace(&format!("{GOLDEN}/"), ""),
    };
    assert_eq!(say(Path::new("../images/harbor-node.toml")), "good");
    assert_eq!(say(&root().join("layers/docker/layer.toml")), "good");
    assert!(say(&root().join("layers/broken-syntax/layer.toml")).contains("layer.toml:"));
    assert!(say(&Path::new(GOLDEN).join("five-mistakes.toml")).contains("\"noble\""));
    assert!(say(&root().join("layers/docker/files/daemon.json")).contains("check takes image specs"));
    assert!(say(Path::new("none")).contains("cannot be read"));
}

#[test]
fn arguments_that_are_not_utf8_are_a_mistake_on_the_command_line() {
    use std::os::unix::ffi::OsStrExt as _;
    let odd = std::ffi::OsStr::from_bytes(b"\xff");
    for arguments in [vec![odd], vec!["plan".as_ref(), odd], vec!["__namespace".as_ref(), odd]] {
        let habuild = habuild::sys::cmd::Cmd::program(env!("CARGO_BIN_EXE_habuild")).args(&arguments);
        let (_, status) = habuild.run_unchecked().unwrap();
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}
