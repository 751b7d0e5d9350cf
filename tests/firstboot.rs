//! The first-boot binary as a whole: what it prints for each node config in `golden/node`, and what a boot says.
//!
//! `UPDATE_GOLDEN=1` rewrites the expected files.
#![expect(clippy::disallowed_methods, reason = "starts the binary under test")]
#![expect(clippy::unwrap_used, reason = "clippy's allowance for tests does not reach their own functions")]

#[path = "firstboot/cuts.rs"]
mod cuts;
#[path = "firstboot/machine.rs"]
mod machine;
#[path = "firstboot/refused.rs"]
mod refused;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A machine that has only a node config and two consoles.
struct Machine {
    root: TempDir,
}

impl Machine {
    fn new(config: Option<&[u8]>) -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc/habuild", "sys/class/tty/console", "dev"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("sys/class/tty/console/active"), "tty0 ttyS0\n").unwrap();
        fs::write(root.path().join("dev/tty0"), "").unwrap();
        fs::write(root.path().join("dev/ttyS0"), "").unwrap();
        let machine = Self { root };
        if let Some(config) = config {
            fs::write(machine.config(), config).unwrap();
            fs::set_permissions(machine.config(), fs::Permissions::from_mode(0o600)).unwrap();
        }
        machine
    }

    fn config(&self) -> PathBuf {
        self.root.path().join("etc/habuild/node.yaml")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_habuild-firstboot"));
        command.args(arguments).arg("--root").arg(self.root.path()).output().unwrap()
    }

    fn console(&self, name: &str) -> String {
        fs::read_to_string(self.root.path().join("dev").join(name)).unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/node")
}

fn node(name: &str) -> Vec<u8> {
    fs::read(golden().join(name)).unwrap()
}

fn report(output: &Output) -> String {
    format!(
        "exit code {}\n--- standard output\n{}--- standard error\n{}",
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr)
    )
}

#[test]
fn show_prints_what_is_expected_of_each_node_config() {
    let mut names: Vec<PathBuf> = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    names.sort();
    assert!(names.len() > 10);
    let mut differing = Vec::new();
    for path in names {
        let machine = Machine::new(Some(&fs::read(&path).unwrap()));
        let mut actual = report(&machine.run(&["show"]));
        let boot = machine.run(&["boot"]);
        actual +=
            &format!("--- console at boot, exit code {}\n{}", boot.status.code().unwrap(), machine.console("tty0"));
        let expected = path.with_extension("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &actual).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != actual {
            differing.push(format!("{}:\n{actual}", path.display()));
        }
    }
    assert!(differing.is_empty(), "UPDATE_GOLDEN=1 rewrites what differs:\n{}", differing.join("\n"));
}

#[test]
fn no_literal_secret_is_ever_printed() {
    for name in ["refs.yaml", "wrong.yaml", "references.yaml", "local.yaml"] {
        let machine = Machine::new(Some(&node(name)));
        for arguments in [&["show"][..], &["show", "--json"], &["boot"]] {
            let output = machine.run(arguments);
            let all = report(&output) + &machine.console("tty0") + &machine.console("ttyS0");
            for secret in ["s3cret", "Harbor12345"] {
                assert!(!all.contains(secret), "{name} {arguments:?}:\n{all}");
            }
        }
        if let Ok(config) = contract::schema::parse_bytes(&node(name)) {
            let debug = format!("{config:?}{config:#?}{:?}", contract::schema::warnings(&config));
            assert!(!debug.contains("s3cret") && !debug.contains("Harbor12345"), "{name}: {debug}");
        }
    }
}

#[test]
fn show_json_is_one_object_with_the_config_as_written() {
    let output = Machine::new(Some(&node("full.yaml"))).run(&["show", "--json"]);
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["config"]["cluster"], "hub");
    assert_eq!(object["config"]["storage"]["cephfs"]["monitors"][1], "[fd00::12]:6789");
    assert_eq!(object["config"]["harbor"]["admin_password"], "ref+vault://secret/harbor#/admin");
    assert_eq!(object["config"]["secret_stores"]["vault"]["auth"], "approle");
    assert_eq!(object["warnings"][0]["key"], "upgrade");
    assert!(output.stderr.is_empty());
}

#[test]
fn what_show_prints_is_a_node_config_again() {
    for name in ["full.yaml", "small.yaml"] {
        let first = Machine::new(Some(&node(name))).run(&["show"]);
        let second = Machine::new(Some(&first.stdout)).run(&["show"]);
        assert_eq!(text(&first.stdout), text(&second.stdout), "{name}");
    }
}

#[test]
fn a_missing_node_config_is_explained() {
    let machine = Machine::new(None);
    let show = machine.run(&["show"]);
    assert_eq!(show.status.code(), Some(3));
    assert!(text(&show.stderr).contains("write_files"), "{}", text(&show.stderr));
    let boot = machine.run(&["boot"]);
    assert_eq!(boot.status.code(), Some(0));
    let line = "habuild: no node config at /etc/habuild/node.yaml: this node stays as it is (if its user-data should have \
                made one: cloud-init status --long)\n";
    assert_eq!(machine.console("tty0"), line);
    assert_eq!(machine.console("ttyS0"), line);
    assert_eq!(text(&boot.stderr), line);
}

#[test]
fn an_unreadable_node_config_is_explained() {
    let machine = Machine::new(None);
    fs::create_dir(machine.config()).unwrap();
    assert_eq!(machine.run(&["show"]).status.code(), Some(3));
    let boot = machine.run(&["boot"]);
    assert_eq!(boot.status.code(), Some(1));
    assert!(machine.console("tty0").contains("failed step=metadata: /etc/habuild/node.yaml cannot be read"));
}

#[test]
fn a_node_config_that_others_may_read_is_told() {
    let machine = Machine::new(Some(&node("small.yaml")));
    fs::set_permissions(machine.config(), fs::Permissions::from_mode(0o644)).unwrap();
    let show = machine.run(&["show"]);
    assert_eq!(show.status.code(), Some(0));
    assert!(text(&show.stderr).contains("others may read this file"), "{}", text(&show.stderr));
}

#[test]
fn a_relative_path_is_taken_from_the_working_directory() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_habuild-firstboot"));
    let show = command.args(["show", "--config", "small.yaml"]).current_dir(golden()).output().unwrap();
    assert_eq!(show.status.code(), Some(0), "{}", text(&show.stderr));
}

#[test]
fn a_boot_without_consoles_is_a_boot() {
    let machine = Machine::new(Some(&node("small.yaml")));
    fs::remove_dir_all(machine.root.path().join("sys")).unwrap();
    let boot = machine.run(&["boot"]);
    assert!(
        text(&boot.stderr).contains("failed step=metadata: this image holds no Harbor bundle"),
        "{}",
        report(&boot)
    );
}

#[test]
fn no_text_makes_the_parser_panic_or_hang() {
    // Every prefix of a full config, and every single line of it taken out or doubled.
    let full = String::from_utf8(node("full.yaml")).unwrap();
    let lines: Vec<&str> = full.split_inclusive('\n').collect();
    for end in 0..full.len() {
        let _ = contract::schema::parse_bytes(&full.as_bytes()[..end]);
    }
    for i in 0..lines.len() {
        let without: String = lines.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, line)| *line).collect();
        let _ = contract::schema::parse(&without);
        let doubled: String = lines[..=i].iter().chain(&lines[i..]).copied().collect();
        let _ = contract::schema::parse(&doubled);
    }
    // Every character replaced by one that means something in YAML.
    for (at, _) in full.char_indices().step_by(3) {
        for odd in ["\0", "\t", "{", "[", "&", "*", ":", "\u{feff}", "\"", "|", "ü"] {
            let text = format!("{}{odd}{}", &full[..at], full.get(at + 1..).unwrap_or_default());
            if let Err(problems) = contract::schema::parse(&text) {
                assert!(!problems.is_empty(), "{odd:?} at {at}");
            }
        }
    }
}
