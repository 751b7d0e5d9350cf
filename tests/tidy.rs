//! The project's rules that no compiler checks: files, imports, names, waits, hosts, keys. ARCHITECTURE.md says why.
//!
//! The list of files is git's: what it tracks, and what is new and not ignored. Each rule names everything that
//! breaks it, with file and line.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/keys.rs"]
mod keys;

use std::fs;
use std::path::{Path, PathBuf};

use habuild::sys::cmd::Cmd;

/// The longest a file may be, in lines.
const LONGEST: usize = 400;

/// The most lines of shell that a Makefile target may have; what is longer belongs into `tests/` or into habuild.
const MOST_SHELL: usize = 10;

/// Names that say nothing about what a file holds.
const EMPTY_NAMES: [&str; 8] = ["utils", "util", "common", "helpers", "helper", "manager", "imp", "misc"];

/// The files that may open clippy's disallowed methods or types, and what for.
const MAY_OPEN: [(&str, &str); 23] = [
    ("builder/src/cli/events.rs", "an event says when it happened"),
    ("builder/src/sys/cmd.rs", "starts processes"),
    ("builder/src/sys/enter.rs", "makes namespaces, mounts"),
    ("builder/src/sys/userns.rs", "makes namespaces"),
    ("firstboot/initrd/src/debug.rs", "starts a shell"),
    ("firstboot/initrd/src/mounts.rs", "mounts, changes the root, becomes systemd"),
    ("firstboot/initrd/src/programs.rs", "starts programs of the root"),
    ("firstboot/src/host/command.rs", "starts processes"),
    ("firstboot/src/host/mod.rs", "what the clock says, for certificates and the database's clock"),
    ("firstboot/src/preflight/tests/servers.rs", "starts the servers that are looked at"),
    ("tests/bake/bits.rs", "compares files with cmp"),
    ("tests/bake/cached.rs", "starts several habuilds at once"),
    ("tests/bake/caches.rs", "copies caches with cp"),
    ("tests/bake/cuts.rs", "starts habuild in a process group of its own"),
    ("tests/bake/hosts.rs", "starts habuild in namespaces of the test's own"),
    ("tests/bake/people.rs", "starts habuild and looks at its exit code"),
    ("tests/bench.rs", "reads the clock, runs what it measures"),
    ("tests/bundle/checked.rs", "starts habuild"),
    ("tests/cli.rs", "starts habuild and closes what it writes to"),
    ("tests/firstboot.rs", "starts the binary under test"),
    ("tests/formats.rs", "starts the tools that it compares with"),
    ("tests/kit/places.rs", "starts habuild and looks at its exit code"),
    ("tests/share.rs", "starts the binary under test, many times"),
];

/// The files that may sleep, and what for.
const MAY_SLEEP: [(&str, &str); 10] = [
    ("firstboot/initrd/src/disks.rs", "looks for disks, with nobody else there"),
    ("firstboot/initrd/src/say.rs", "the time that words stay on the console"),
    ("firstboot/src/cli.rs", "status --wait: the agent tells by a file"),
    ("firstboot/src/steps/runner.rs", "the pause before a step is tried again"),
    ("firstboot/src/steps/start.rs", "systemd tells nobody that a unit was stopped"),
    ("firstboot/src/supervise/core.rs", "a core tells nobody when it serves"),
    ("tests/kit/machine.rs", "ssh fails at once while nobody listens"),
    ("tests/lab/place.rs", "services of the lab tell nobody when they are there"),
    ("tests/stand-in/src/core/ui.rs", "the pause before what it needs is asked again"),
    ("tests/vm/driver.rs", "a process that is not a child of the test tells nobody when it ends"),
];

/// A file of the project.
struct File {
    /// Its path from the project's directory on.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Its lines that are no comments, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(i, line)| (i + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// The project's directory.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The project's text files. What holds a NUL or is not UTF-8 is none.
fn files() -> Vec<File> {
    // Another user's checkout is not git's business here.
    let git = Cmd::program("git").args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others"]);
    let listed = git.arg("--exclude-standard").current_dir(root()).output_text();
    let listed = listed.unwrap_or_else(|error| {
        panic!("tidy asks git which files there are: install git and run the test in a git checkout ({error:#})")
    });
    let text = |path: &str| {
        let bytes = fs::read(root().join(path)).ok()?;
        String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
    };
    let files = listed.split_terminator('\0').filter_map(|path| Some(File { path: path.into(), text: text(path)? }));
    let files: Vec<File> = files.collect();
    assert!(files.iter().any(|file| file.path == "tests/tidy.rs"), "git lists other files than this project's");
    files
}

/// Fails with every word of `found`.
fn nothing(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n- {}", found.join("\n- "));
}

#[test]
fn files_are_short_and_say_their_purpose_first() {
    let mut found = Vec::new();
    for file in files() {
        let is_source = file.is_rust() || file.path.ends_with(".sh") || file.path == "Makefile";
        let length = file.text.lines().count();
        if is_source && length > LONGEST {
            found.push(format!("{} has {length} lines", file.path));
        }
        if file.is_rust() && !file.text.starts_with("//! ") {
            found.push(format!("{} does not begin with `//! ` and its purpose", file.path));
        }
    }
    nothing(&format!("a source file has at most {LONGEST} lines and says first what it is for"), &found);
}

#[test]
fn names_say_what_a_file_holds() {
    let says_nothing = |path: &str| {
        let mut parts = path.split('/').map(|part| part.split('.').next().unwrap_or(part));
        parts.any(|part| EMPTY_NAMES.contains(&part))
    };
    let found: Vec<String> =
        files().into_iter().filter(|file| file.is_rust()).map(|file| file.path).filter(|p| says_nothing(p)).collect();
    nothing("a file is named after what it holds", &found);
}

#[test]
fn only_listed_files_open_what_clippy_disallows() {
    // The lint's group, as an attribute names it; `concat!` keeps this file out of its own list.
    let found = |text: &str| text.contains(concat!("clippy::", "disallowed"));
    listed("opens clippy's disallowed methods or types", &MAY_OPEN, found);
}

#[test]
fn only_listed_files_sleep() {
    let found = |text: &str| [concat!("thread::", "sleep"), concat!(" sleep", "(")].iter().any(|p| text.contains(p));
    listed("sleeps, where it should wait for what happens", &MAY_SLEEP, found);
}

/// Exactly the files of `list` have a line of code that `matches`.
fn listed(what: &str, list: &[(&str, &str)], matches: impl Fn(&str) -> bool) {
    let mut found = Vec::new();
    let mut used: Vec<String> = Vec::new();
    for file in files().into_iter().filter(File::is_rust) {
        let lines: Vec<usize> = file.code().filter(|(_, line)| matches(line)).map(|(number, _)| number).collect();
        let Some(line) = lines.first() else { continue };
        if !list.iter().any(|(path, _)| *path == file.path) {
            found.push(format!("{}:{line} {what}, and is not in the list of tests/tidy.rs", file.path));
        }
        used.push(file.path);
    }
    for (path, reason) in list.iter().filter(|(path, _)| !used.iter().any(|used| used == path)) {
        found.push(format!("{path} is in the list of tests/tidy.rs ({reason}) and no longer {what}"));
    }
    nothing("the list and the files agree", &found);
}

#[test]
fn no_test_is_skipped() {
    let bare = concat!("#[", "ignore");
    let found = find(File::is_rust, |line| {
        line.contains(bare) || line.contains("cfg_attr(") && line.contains(concat!(", ", "ignore"))
    });
    nothing("a test that cannot run fails: it is not ignored", &found);
}

#[test]
fn no_host_of_a_package_archive() {
    // Joined here, so that this file is clean too. A dot, slash or @ before: also `de.archive.…`; no letter: not `my…`.
    let domains = [("ubuntu", "com"), ("debian", "org"), ("launchpad", "net"), ("launchpadcontent", "net")]
        .into_iter()
        .chain([("download.docker", "com"), ("download.ceph", "com"), ("crates", "io"), ("mirrors.kernel", "org")])
        .map(|(name, end)| format!("{name}.{end}"));
    let domains: Vec<String> = domains.collect();
    let names_one = |line: &str| domains.iter().any(|domain| begins_at_a_border(line, domain));
    let mut found = Vec::new();
    for file in files() {
        for (i, line) in file.text.lines().enumerate() {
            // Cargo's own way to say where a crate comes from.
            let cargos = file.path.ends_with("Cargo.lock") && line.starts_with("source = \"registry+");
            if !cargos && names_one(line) {
                found.push(format!("{}:{}: {}", file.path, i + 1, line.trim()));
            }
        }
    }
    nothing("without a mirror in the spec, the bootstrapping tool names the archive; no file here does", &found);
}

#[test]
fn no_path_of_a_build_machine() {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp/", "wt")];
    let found = find(|_| true, |line| places.iter().any(|place| begins_at_a_border(line, place)));
    nothing("a path of one machine means nothing on another", &found);
}

/// Whether `words` stand in `line` and do not go on what stands before them, as `/b/` goes on `/a`.
fn begins_at_a_border(line: &str, words: &str) -> bool {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || (c == '.' && words.starts_with('/'));
    line.match_indices(words).any(|(at, _)| !line[..at].ends_with(|c: char| goes_on(c)))
}

/// The lines, comments too, of those files that `wanted` takes, as `FILE:LINE: TEXT`.
fn find(wanted: impl Fn(&File) -> bool, matches: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files().into_iter().filter(|file| wanted(file)) {
        let lines = file.text.lines().enumerate().filter(|(_, line)| matches(line));
        found.extend(lines.map(|(i, line)| format!("{}:{}: {}", file.path, i + 1, line.trim())));
    }
    found
}

#[test]
fn makefile_targets_are_short() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let found: Vec<String> = recipes(&makefile)
        .into_iter()
        .filter(|(_, lines)| *lines > MOST_SHELL)
        .map(|(target, lines)| format!("{target} has {lines} lines of shell"))
        .collect();
    nothing(&format!("a Makefile target has at most {MOST_SHELL} lines of shell"), &found);
}

/// The targets of a makefile with the number of their shell lines.
fn recipes(makefile: &str) -> Vec<(String, usize)> {
    let mut recipes: Vec<(String, usize)> = Vec::new();
    for line in makefile.lines() {
        match line.strip_prefix('\t') {
            Some(_) => recipes.iter_mut().next_back().into_iter().for_each(|(_, lines)| *lines += 1),
            None => recipes.extend(line.split_once(':').map(|(target, _)| (target.trim().to_owned(), 0))),
        }
    }
    recipes
}

#[test]
fn reads_recipes_and_borders() {
    let makefile = "A := b\nall: one\n\tx; \\\n\ty\n\n# a comment\none:\n\tz\n";
    assert_eq!(
        recipes(makefile).into_iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>(),
        [("all".to_owned(), 2), ("one".to_owned(), 1)]
    );
    assert!(begins_at_a_border("see /a/b", "/a/"));
    assert!(!begins_at_a_border("see /var/a/b", "/a/"));
    assert!(begins_at_a_border("http://x.example.com/", "example.com"));
    assert!(!begins_at_a_border("myexample.com", "example.com"));
}
