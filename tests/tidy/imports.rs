//! Who may name whom: the stages in their order, and `contract` as the only crate that builder and agent share.

use super::{File, files, nothing};

/// The modules of the builder, and those that each may name besides itself.
///
/// A stage names the ones before it, for their values; `sys`, `report` and `formats` name no stage. Not here: `cli`, the table
/// that joins them all.
const MODULES: [(&str, &[&str]); 9] = [
    ("report", &[]),
    ("sys", &["report"]),
    ("formats", &["report", "sys"]),
    ("spec", &["report", "sys"]),
    ("plan", &["report", "sys", "spec"]),
    ("bake", &["report", "sys", "spec", "plan"]),
    ("assemble", &["report", "sys", "spec", "plan", "bake", "formats"]),
    ("export", &["report", "sys", "spec", "plan", "bake", "assemble", "formats"]),
    ("boot", &["report", "sys", "spec", "formats"]),
];

/// What the contract may use of the standard library: nothing that reaches outside the process.
const PURE: [&str; 9] = ["borrow", "cmp", "collections", "error", "fmt", "iter", "mem", "ops", "str"];

/// Of `std::net`, what is only a value.
const ADDRESSES: [&str; 3] = ["IpAddr", "Ipv4Addr", "Ipv6Addr"];

#[test]
fn stages_name_only_what_lies_before_them() {
    let files = files();
    let mut found = Vec::new();
    for (module, may) in MODULES {
        let of_module: Vec<&File> = files.iter().filter(|file| module_of(file) == Some(module)).collect();
        assert!(!of_module.is_empty(), "there is no module {module}: has it moved?");
        for file in of_module {
            for (line, other) in named_modules(file) {
                if other != module && !may.contains(&other.as_str()) {
                    found.push(format!("{}:{line} names {other}; {module} may name {may:?}", file.path));
                }
            }
        }
    }
    nothing("spec → plan → bake → assemble → export, and sys and report below them", &found);
}

#[test]
fn every_module_has_its_rule() {
    let known =
        |module: &str| ["cli", "lib", "main"].contains(&module) || MODULES.iter().any(|(name, _)| *name == module);
    let found: Vec<String> = files()
        .iter()
        .filter(|file| module_of(file).is_some_and(|r| !known(r)))
        .map(|file| file.path.clone())
        .collect();
    nothing("a new module gets its line in tests/tidy/imports.rs", &found);
}

#[test]
fn builder_and_agent_share_the_contract_and_nothing_else() {
    let mut found = Vec::new();
    for (directory, other) in
        [("builder/", "firstboot"), ("firstboot/src/", "habuild"), ("firstboot/contract/", "firstboot")]
    {
        let manifest = format!("{}Cargo.toml", directory.trim_end_matches("src/"));
        for file in files().iter().filter(|file| file.path == manifest) {
            let package = if other == "firstboot" { "habuild-firstboot" } else { "habuild" };
            let names = |line: &str| line.split(['.', ' ', '=']).next() == Some(package);
            let lines = file.text.lines().enumerate().filter(|(_, line)| names(line));
            found.extend(lines.map(|(i, _)| format!("{manifest}:{} depends on {package}", i + 1)));
        }
        for file in files().iter().filter(|file| file.is_rust() && file.path.starts_with(directory)) {
            let names = paths(file, other).into_iter();
            found.extend(names.map(|(line, name)| format!("{}:{line} names {other}::{name}", file.path)));
        }
    }
    nothing("builder → contract ← firstboot are the only arrows between the crates", &found);
}

#[test]
fn the_contract_is_pure() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| file.path.starts_with("firstboot/contract/src/")) {
        for (line, name) in paths(file, "std") {
            if !PURE.contains(&name.as_str()) && !["net", "io"].contains(&name.as_str()) {
                found.push(format!("{}:{line} uses std::{name}", file.path));
            }
        }
        for (line, name) in paths(file, "net") {
            if !ADDRESSES.contains(&name.as_str()) {
                found.push(format!("{}:{line} uses std::net::{name}", file.path));
            }
        }
        // Decompressing what is in memory.
        for (line, name) in paths(file, "io").into_iter().filter(|(_, name)| name != "Read") {
            found.push(format!("{}:{line} uses std::io::{name}", file.path));
        }
        for krate in ["nix", "rustix", "libc", "ureq", "rustls", "tempfile"] {
            found.extend(
                paths(file, krate).into_iter().map(|(line, name)| format!("{}:{line} uses {krate}::{name}", file.path)),
            );
        }
    }
    nothing("the contract is pure: it opens no file, starts no process, asks no server", &found);
}

/// The module that a file of the builder's library lies in.
fn module_of(file: &File) -> Option<&str> {
    let rest = file.path.strip_prefix("builder/src/")?;
    rest.split('/').next()?.split('.').next()
}

/// The modules that a file names, with the line: by `crate::`, or by climbing out.
fn named_modules(file: &File) -> Vec<(usize, String)> {
    let mut named = paths(file, "crate");
    // From a module's own file, `super` is the crate, except in a module inside the file.
    let is_top = file.path.ends_with("/mod.rs") || file.path.matches('/').count() == 2;
    for (number, line) in file.code() {
        let climbs = line.contains(concat!("super::", "super"));
        let leaves = is_top && ["use super::", "pub use super::"].iter().any(|start| line.starts_with(start));
        if climbs || leaves {
            named.push((number, "by `super` (write `crate`)".into()));
        }
    }
    named
}

/// What follows `start::` in a file's code: one name each, also of `start::{a::b, c}`.
fn paths(file: &File, start: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let code: String = file.code().map(|(number, line)| format!("\u{1}{number}\u{2}{line}\n")).collect();
    let begin = format!("{start}::");
    for (at, _) in code.match_indices(&begin) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let number = code[..at].rsplit_once('\u{1}').and_then(|(_, rest)| rest.split_once('\u{2}'));
        let number = number.and_then(|(number, _)| number.parse().ok()).unwrap_or(0);
        let rest = &code[at + begin.len()..];
        found.extend(first_names(rest).into_iter().map(|name| (number, name)));
    }
    found
}

/// The first name of each path that `rest` begins with: one, or those between braces.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            _ if fresh && (c.is_alphabetic() || c == '_') => {
                names.push(name(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn finds_paths() {
    let text = "// use crate::cli;\nuse crate::plan::Plan;\nuse crate::{assemble::{self, gpt}, export,\n    boot};\nlet x = \
                mycrate::bake();\n";
    let file = File { path: "builder/src/x/y.rs".into(), text: text.into() };
    let found: Vec<(usize, String)> = paths(&file, "crate");
    let expected = [(2, "plan"), (3, "assemble"), (3, "export"), (3, "boot")].map(|(n, name)| (n, name.to_owned()));
    assert_eq!(found, expected);
    assert_eq!(module_of(&file), Some("x"));
    let file = File { path: "builder/src/x/mod.rs".into(), text: "use super::plan;\n".into() };
    assert_eq!(named_modules(&file).len(), 1);
}
