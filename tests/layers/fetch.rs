//! Package files from an archive on the loopback address that misbehaves.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use habuild::bake::packages::{Origin, Packages};
use habuild::plan::lock::Package;
use habuild::report::{Failure, Fault, fault_of};
use habuild::sys::digest::Digest;

/// An archive that gives `answers` in turn, one a connection, and the last one from then on. The URL, and how often
/// it was asked.
fn archive(answers: Vec<String>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let answer = answers.get(count.fetch_add(1, Ordering::SeqCst)).or(answers.last()).unwrap();
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, asked)
}

fn answer(status: &str, length: usize, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
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
    let good = answer("200 OK", 7, "package");
    let (url, asked) = archive(vec![answer("200 OK", 7, "pac"), answer("503 Busy", 0, ""), good]);
    fetch(dir.path(), &url, None).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn a_failure_that_lasts_is_not_called_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (url, asked) = archive(vec![answer("503 Busy", 0, "")]);
    let failure = fetch(dir.path(), &url, None).unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(fault_of(&failure), Fault::Input);
    let remedy = remedy(&failure);
    assert!(remedy.starts_with("try again"), "{failure:#}: {remedy}");
}

#[test]
fn a_version_that_is_gone_is_asked_for_once_and_then_at_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    for gone in ["404 Not Found", "410 Gone"] {
        let (url, asked) = archive(vec![answer(gone, 0, "")]);
        let failure = fetch(dir.path(), &url, None).unwrap_err();
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{gone}");
        let remedy = remedy(&failure);
        assert!(remedy.contains("dropped this version"), "{remedy}");
    }
    let (url, asked) = archive(vec![answer("404 Not Found", 0, "")]);
    let (snapshot, there) = archive(vec![answer("200 OK", 7, "package")]);
    fetch(dir.path(), &url, Some(&snapshot)).unwrap();
    assert_eq!((asked.load(Ordering::SeqCst), there.load(Ordering::SeqCst)), (1, 1));
}
