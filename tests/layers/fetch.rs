//! Package files from an archive on the loopback address that misbehaves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use habuild::bake::packages::{Origin, Packages};
use habuild::plan::lock::Package;
use habuild::report::{Failure, Fault, fault_of};
use habuild::sys::digest::Digest;

use crate::server::{Answer, Server};

/// An archive that gives these answers in turn, and the last one from then on: status, promised length, body.
/// It counts how often it was asked.
fn archive(answers: &'static [(&str, usize, &str)]) -> (Server, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = Server::start(move |_path| {
        let (status, length, body) = answers[count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
        Answer::new(status, length, body.as_bytes())
    });
    (server, asked)
}

/// Fetches a package of content "package" whose file's name looks like an HTTP status.
fn fetch(cache: &Path, mirror: &str, snapshot: Option<&str>) -> anyhow::Result<()> {
    let package = Package {
        name: "linux-image".into(),
        version: "6.8.0-404".into(),
        architecture: "amd64".into(),
        sha256: Digest::of(b"package"),
        size: 7,
        filename: "pool/linux-image-6.8.0-404_amd64.deb".into(),
        security: false,
    };
    let origin = Origin { mirror: mirror.into(), security: None, snapshot: snapshot.map(str::to_owned) };
    Packages::open(cache).unwrap().fetch(&[&package], &origin, false)
}

fn remedy(error: &anyhow::Error) -> String {
    error.downcast_ref::<Failure>().unwrap().remedy.clone().unwrap()
}

#[test]
fn a_failure_of_a_file_with_404_in_its_name_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (server, asked) = archive(&[("200 OK", 7, "pac"), ("503 Busy", 0, ""), ("200 OK", 7, "package")]);
    fetch(dir.path(), &server.url(), None).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn a_failure_that_lasts_is_not_called_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (server, asked) = archive(&[("503 Busy", 0, "")]);
    let failure = fetch(dir.path(), &server.url(), None).unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(fault_of(&failure), Fault::Input);
    let remedy = remedy(&failure);
    assert!(remedy.starts_with("try again"), "{failure:#}: {remedy}");
}

#[test]
fn a_version_that_is_gone_is_asked_for_once_and_then_at_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    for gone in [&[("404 Not Found", 0, "")], &[("410 Gone", 0, "")]] {
        let (server, asked) = archive(gone);
        let failure = fetch(dir.path(), &server.url(), None).unwrap_err();
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{gone:?}");
        let remedy = remedy(&failure);
        assert!(remedy.contains("dropped this version"), "{remedy}");
    }
    let (server, asked) = archive(&[("404 Not Found", 0, "")]);
    let (snapshot, there) = archive(&[("200 OK", 7, "package")]);
    fetch(dir.path(), &server.url(), Some(&snapshot.url())).unwrap();
    assert_eq!((asked.load(Ordering::SeqCst), there.load(Ordering::SeqCst)), (1, 1));
}
