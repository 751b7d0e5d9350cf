//! The bundle's own `prepare` (Harbor 1.8 and later): a container that renders Harbor's configuration.
//!
//! It makes new secrets at each run, empties directories before it fills them, and sets owners on everything that it finds. So
//! it runs in a directory of its own that no container of Harbor's sees, without a network, and only when what it is given
//! differs from the last time; what it wrote is kept, and rendered from at each boot.
//!
//! Invariant: what is kept was written by a run that came to its end; its digest is written down last.

use std::io;
use std::path::Path;

use contract::harbor::{COMPOSE_FILE, PrepareFile, Prepared, RenderedFile, broken};

use crate::bundle::Bundle;
use crate::host::Host;
use crate::host::docker;
use crate::host::journal;
use crate::noted::{is_noted, note};
use crate::share::sha256;
use crate::trouble::Trouble;

/// Where it runs.
const PLACE: &str = "/var/lib/habuild/prepare";
/// Names what it was last given.
const NOTE: &str = "/var/lib/habuild/prepared";
/// The directories that it sees (v1.8.6 to v2.15.2 `make/prepare`); all versions get all of them.
const SEEN: [(&str, &str); 6] = [
    ("input", "/input"),
    ("data", "/data"),
    ("data/secret", "/secret"),
    ("compose_location", "/compose_location"),
    ("config", "/config"),
    ("hostfs", "/hostfs"),
];
/// What holds secrets and nobody reads again.
const READ_ONCE: [&str; 3] = ["input", "data", "hostfs"];

/// What `prepare` writes for these files: from the last run, if that had the same, else from a new one.
pub(crate) fn run(
    host: &Host,
    bundle: &Bundle,
    files: &[PrepareFile],
    arguments: &[&str],
) -> Result<Prepared, Trouble> {
    let failed = |error: io::Error| Trouble::passing(format!("{PLACE}, where the bundle's prepare runs: {error}"));
    let image = bundle.prepare.as_deref().unwrap_or_default();
    let mut text = format!("{}\n{image} {}\n", bundle.version, arguments.join(" "));
    for file in files {
        text += &format!("{} {}\n", file.path, sha256(file.text.as_bytes()));
    }
    let digest = sha256(text.as_bytes());
    if !is_noted(host, NOTE, &digest) {
        host.remove(Path::new(NOTE)).map_err(failed)?;
        run_anew(host, bundle, files, arguments)?;
        note(host, NOTE, &digest)?;
    }
    READ_ONCE.iter().try_for_each(|name| host.remove_tree(&Path::new(PLACE).join(name))).map_err(failed)?;
    written(host).map_err(|error| {
        // What cannot be read again is made again by the next attempt.
        let _ = host.remove(Path::new(NOTE));
        failed(error)
    })
}

fn run_anew(host: &Host, bundle: &Bundle, files: &[PrepareFile], arguments: &[&str]) -> Result<(), Trouble> {
    let failed = |error: io::Error| Trouble::passing(format!("{PLACE}: {error}"));
    let image =
        bundle.prepare.as_deref().ok_or_else(|| broken("the image archive", "holds no image goharbor/prepare"))?;
    host.remove_tree(Path::new(PLACE)).map_err(failed)?;
    host.make_private_directory(Path::new(PLACE)).map_err(failed)?;
    for (name, _) in SEEN {
        host.make_directory(&Path::new(PLACE).join(name), 0o755).map_err(failed)?;
    }
    for file in files {
        let at = Path::new(PLACE).join(file.path.trim_start_matches('/'));
        host.make_directory(at.parent().unwrap_or(&at), 0o755).map_err(failed)?;
        host.write(&at, file.text.as_bytes(), 0o600).map_err(failed)?;
    }
    journal::say("running the bundle's prepare");
    let binds = SEEN.map(|(name, to)| (format!("{PLACE}/{name}"), to));
    docker::run_once(host, image, &binds, arguments).map_err(|error| match error.code() {
        // Docker's own codes are 125 to 127.
        Some(code) if code < 125 => {
            Trouble::lasting(format!("the bundle's prepare refuses its harbor.yml: {}", error.said()))
                .hint("harbor.settings in the node config is where most of it comes from")
        }
        _ => Trouble::passing(format!("the bundle's prepare does not run: {error}"))
            .hint("is Docker up, and its image there? systemctl status docker; habuild-firstboot check --images"),
    })
}

/// What lies there.
fn written(host: &Host) -> io::Result<Prepared> {
    let mut prepared = Prepared::default();
    let mut take = |from: String, called: String| -> io::Result<()> {
        let (mode, owner) = host.mode_and_owner(Path::new(&from))?;
        let text = String::from_utf8(host.read(Path::new(&from))?.bytes);
        let text = text.map_err(|_| io::Error::other(format!("{called} is not UTF-8")))?;
        prepared.files.insert(called, RenderedFile { text, mode, owner });
        Ok(())
    };
    take(format!("{PLACE}/compose_location/{COMPOSE_FILE}"), COMPOSE_FILE.to_owned())?;
    let config = format!("{PLACE}/config");
    let (directories, files) = host.below_directory(Path::new(&config))?;
    for path in files {
        take(format!("{config}/{}", path.display()), format!("common/config/{}", path.display()))?;
    }
    prepared.directories = directories.iter().map(|path| format!("common/config/{}", path.display())).collect();
    Ok(prepared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_machine::TestMachine;
    use contract::harbor::{Defaults, Version};

    fn bundle(version: &str) -> Bundle {
        let prepare = format!("goharbor/prepare:{version}");
        let (version, settings) = (Version::parse(version).unwrap(), Defaults::default());
        Bundle { version, images: vec![prepare.clone()], prepare: Some(prepare), settings }
    }

    fn file(text: &str) -> PrepareFile {
        PrepareFile { path: "/input/harbor.yml", text: text.to_owned() }
    }

    /// In the machine's directory: what the container would do.
    const RENDERS: &str = "cd var/lib/habuild/prepare
/bin/mkdir -p config/core/certificates; /bin/cat input/harbor.yml > config/core/env; /bin/date +%N > config/new; : > compose_location/docker-compose.yml";

    #[test]
    fn it_runs_when_what_it_is_given_differs() {
        let machine = TestMachine::new();
        machine.program("docker", RENDERS);
        let with = |version: &str, text: &str, arguments: &[&str]| {
            run(&machine.host, &bundle(version), &[file(text)], arguments).unwrap()
        };
        let run = |version: &str, text: &str| with(version, text, &["prepare"]);
        let first = run("v2.15.2", "one");
        assert_eq!(first.files["common/config/core/env"].text, "one");
        assert!(first.files.contains_key("docker-compose.yml"));
        assert_eq!(first.directories, ["common/config/core", "common/config/core/certificates"]);
        let called = machine.calls().join("");
        assert!(
            called.starts_with(
                "docker run --rm --pull never --network none --volume /var/lib/habuild/prepare/input:/input"
            )
        );
        assert!(called.ends_with("goharbor/prepare:v2.15.2 prepare"), "{called}");
        for secret in READ_ONCE {
            assert!(!machine.host.exists(&Path::new(PLACE).join(secret)), "{secret} stays");
        }
        assert_eq!(run("v2.15.2", "one"), first, "what it made new is kept");
        assert!(machine.calls().is_empty());
        std::fs::remove_file(machine.host.below(&Path::new(PLACE).join("compose_location").join(COMPOSE_FILE)))
            .unwrap();
        assert!(super::run(&machine.host, &bundle("v2.15.2"), &[file("one")], &["prepare"]).unwrap_err().passing);
        assert_ne!(run("v2.15.2", "one"), first, "what is damaged is made again");
        machine.calls();
        assert_ne!(run("v2.15.2", "two"), first);
        assert_ne!(with("v1.10.19", "two", &[]), first);
        assert!(machine.calls().last().unwrap().ends_with("goharbor/prepare:v1.10.19"));
        let before = run("v2.15.2", "two");
        assert_ne!(with("v2.15.2", "two", &["prepare", "--with-trivy"]), before, "an option is turned on");
        assert!(machine.calls().last().unwrap().ends_with("goharbor/prepare:v2.15.2 prepare --with-trivy"));
    }

    #[test]
    fn a_run_that_failed_is_never_kept() {
        let machine = TestMachine::new();
        let files = [file("one")];
        for (script, passing, words) in [
            ("echo 'Exception: no such port' >&2; exit 1", false, "refuses its harbor.yml: Exception: no such port"),
            ("echo 'no daemon' >&2; exit 125", true, "does not run: docker run ended with code 125: no daemon"),
        ] {
            machine.program("docker", &format!("{RENDERS}; {script}"));
            for _ in 0..2 {
                let trouble = run(&machine.host, &bundle("v2.15.2"), &files, &[]).unwrap_err();
                assert!(trouble.passing == passing && trouble.message.contains(words), "{trouble}");
            }
        }
        machine.program("docker", RENDERS);
        assert!(run(&machine.host, &bundle("v2.15.2"), &files, &[]).is_ok());
    }
}
