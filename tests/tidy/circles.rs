//! Files import one another without circles: each can be read knowing only those below it.
//!
//! A module's own file and the files in it count as one thing when one of them names that module: what lies in a module
//! may use its types, and the module is the way in to what lies in it.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, files, nothing};

/// The sources whose files are looked at.
const CRATES: [&str; 3] = ["builder/src", "firstboot/src", "firstboot/contract/src"];

/// Which file names which, and in which line first.
type Imports = BTreeMap<String, BTreeMap<String, usize>>;

#[test]
fn files_import_one_another_without_circles() {
    let files = files();
    let mut found = Vec::new();
    for root in CRATES {
        let imports = imports(&files, root);
        assert!(imports.values().any(|named| !named.is_empty()), "{root}: no file imports another: has it moved?");
        found.extend(circles(&imports).iter().map(|circle| told(circle, &imports)));
    }
    nothing("no file needs itself by way of others", &found);
}

/// A circle for people: each import within it.
fn told(circle: &BTreeSet<String>, imports: &Imports) -> String {
    let lines = circle.iter().flat_map(|file| {
        let within = imports[file].iter().filter(|(to, _)| circle.contains(*to));
        within.map(move |(to, line)| format!("{file}:{line} names {to}"))
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// The sets of files that need one another: each can be reached from every other.
fn circles(imports: &Imports) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|from| (from, below(from, imports))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (from, below) in &reached {
        if below.contains(from) && !circles.iter().any(|circle| circle.contains(*from)) {
            let back = below.iter().filter(|to| reached.get(*to).is_some_and(|below| below.contains(from)));
            circles.push(back.map(|file| (*file).clone()).collect());
        }
    }
    circles
}

/// All that a file needs, itself only if a circle leads back.
fn below<'i>(from: &str, imports: &'i Imports) -> BTreeSet<&'i String> {
    let mut below = BTreeSet::new();
    let mut open: Vec<&String> = imports[from].keys().collect();
    while let Some(file) = open.pop() {
        if below.insert(file) {
            open.extend(imports[file].keys());
        }
    }
    below
}

/// What each file of a crate names, without its tests: those may look at everything.
fn imports(files: &[File], root: &str) -> Imports {
    let of_crate = |file: &&File| file.is_rust() && file.path.starts_with(&format!("{root}/"));
    // `main.rs` is a crate of its own.
    let is_other = |file: &&File| ["tests.rs", "/main.rs"].iter().any(|end| file.path.ends_with(end));
    let files: Vec<&File> = files.iter().filter(of_crate).filter(|file| !is_other(file)).collect();
    let files: Vec<&File> = files.into_iter().filter(|file| !file.path.contains("/tests/")).collect();
    let modules: BTreeMap<Vec<&str>, &str> =
        files.iter().map(|file| (module_of(&file.path, root), &*file.path)).collect();
    let mut imports = Imports::new();
    for file in files {
        let own = module_of(&file.path, root);
        let named = imports.entry(file.path.clone()).or_default();
        for (line, path) in paths(&before_tests(file)) {
            let Some(to) = resolve(&path, &own, &modules) else { continue };
            if !own.starts_with(&module_of(to, root)) {
                named.entry(to.to_owned()).or_insert(line);
            }
        }
    }
    imports
}

/// A file's place in its crate: `["bake", "docker"]` for `bake/docker/mod.rs` and for `bake/docker.rs`.
fn module_of<'f>(path: &'f str, root: &str) -> Vec<&'f str> {
    let rest = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').trim_end_matches(".rs");
    rest.split('/').filter(|part| !["mod", "lib"].contains(part)).collect()
}

/// A file's code up to its tests, one line each.
fn before_tests(file: &File) -> Vec<(usize, &str)> {
    file.code().take_while(|(_, line)| !line.starts_with("mod tests {")).collect()
}

/// The file that a path from a module leads to: that of the longest module which it begins with.
fn resolve<'m>(path: &[String], own: &[&str], modules: &BTreeMap<Vec<&str>, &'m str>) -> Option<&'m str> {
    let mut at = own.to_vec();
    let mut rest = path.iter().map(String::as_str).peekable();
    match rest.peek() {
        Some(&"crate") => at.clear(),
        Some(&"super") => {}
        // A module's own child, which needs no word before it.
        Some(child) => {
            modules.get(&[own, &[*child]].concat())?;
        }
        None => return None,
    }
    for part in rest {
        match part {
            "crate" => {}
            "super" => drop(at.pop()),
            part => {
                at.push(part);
                if !modules.contains_key(&at) {
                    at.pop();
                    break;
                }
            }
        }
    }
    modules.get(&at).copied()
}

/// Every path of two words or more, with its line; a group is as many paths as it has words.
fn paths(code: &[(usize, &str)]) -> Vec<(usize, Vec<String>)> {
    let mut found: Vec<(usize, Vec<String>)> = Vec::new();
    // What stands before each open brace: a path's beginning before a group, else nothing.
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut goes_on = false;
    for &(number, line) in code {
        let mut rest = line.split("// ").next().unwrap_or(line);
        while let Some(first) = rest.chars().next() {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            if length > 0 {
                let mut path = match goes_on {
                    true => found.pop().map(|(_, path)| path).unwrap_or_default(),
                    false => groups.last().cloned().unwrap_or_default(),
                };
                // `self` is the module itself, wherever it stands.
                path.extend(Some(&rest[..length]).filter(|&word| word != "self").map(str::to_owned));
                found.push((number, path));
                goes_on = false;
                rest = &rest[length..];
            } else if let Some(after) = rest.strip_prefix("::{") {
                groups.push(found.pop().map(|(_, path)| path).unwrap_or_default());
                rest = after;
            } else if let Some(after) = rest.strip_prefix("::") {
                (goes_on, rest) = (true, after);
            } else {
                match first {
                    '{' => groups.push(Vec::new()),
                    '}' => drop(groups.pop()),
                    _ => {}
                }
                goes_on &= first.is_whitespace();
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    found.retain(|(_, path)| path.len() > 1);
    found
}

#[test]
fn finds_circles_and_no_more() {
    let file = |path: &str, text: &str| File { path: format!("builder/src/{path}.rs"), text: text.into() };
    let found = |files: &[File]| -> Vec<String> {
        let imports = imports(files, "builder/src");
        circles(&imports).iter().map(|circle| told(circle, &imports)).collect()
    };
    let lib = || file("lib", "mod a;\nmod b;\n");
    // A module and what lies in it are one thing, and tests may look at everything.
    let b = [file("b/mod", "mod c;\nuse c::C;\n"), file("b/c", "use super::B;\nuse crate::lib_item;\n")];
    let a = file("a", "use crate::b::{self, c::{C, D}};\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n");
    let test = file("b/c_tests", "use crate::a::A;\n");
    let [b, c] = b;
    assert_eq!(found(&[lib(), a, b, c, test]), [""; 0]);
    // Directly, in a group, and inside a function.
    let (a, b) = (file("a", "use crate::b::B;\n"), file("b", "fn x() {\n    super::a::y()\n}\n"));
    let both = "builder/src/a.rs:1 names builder/src/b.rs; builder/src/b.rs:2 names builder/src/a.rs";
    assert_eq!(found(&[lib(), a, b]), [both]);
    // By way of a third.
    let three = [file("a", "use crate::{b, c::d};"), file("b", "use std::fmt;"), file("c/mod", "pub mod d;")];
    let [a, b, c] = three;
    assert_eq!(found(&[lib(), a, b, c, file("c/d", "use crate::{x, e};"), file("e", "use crate::a::A;")]).len(), 1);
}
