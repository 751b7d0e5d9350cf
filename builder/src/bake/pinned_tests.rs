//! A server on the loopback address that does not end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use super::*;

/// Fetches a file of so many bytes from a server that declares no length and, if it is `silent`, never closes.
fn fetched(length: usize, longest: u64, silent: bool) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://127.0.0.1:{}/file", listener.local_addr().unwrap().port());
    let body = vec![b'x'; length];
    let (dir, sha256) = (tempfile::tempdir().unwrap(), Digest::of(&body));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            // The other side may have gone.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(&body);
            if silent {
                let _ = stream.read(&mut [0]);
            }
        });
        let at = dir.path().join("file");
        let result = get(&url, sha256, &at, longest, Duration::from_millis(200));
        assert_eq!(at.is_file(), result.is_ok());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), usize::from(result.is_ok()), "something is left");
        result
    })
}

#[test]
fn a_file_is_fetched_up_to_the_longest_and_no_further() {
    fetched(1 << 20, 1 << 20, false).unwrap();
    let error = fetched((1 << 20) + 1, 1 << 20, false).unwrap_err();
    assert_eq!(report::fault_of(&error), Fault::Input);
    assert!(format!("{error:?}").contains("longer than 1 MiB"), "{error:?}");
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let error = fetched(1000, 1 << 20, true).unwrap_err();
    assert!(format!("{error:?}").contains("timeout: per read"), "{error:?}");
}
