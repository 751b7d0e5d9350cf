//! A server on the loopback address that breaks off, does not end, or gives something else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use super::*;

/// What the server does with one connection: it gets the head of the request, and gives what goes over the wire.
type Answers<'a> = &'a [&'a (dyn Fn(&str) -> Vec<u8> + Sync)];

/// Fetches `body` from a server that answers one connection after the other; those that do not end are `silent`.
/// `there` is what an earlier build left.
fn fetched(body: &[u8], there: &[u8], longest: u64, answers: Answers<'_>, silent: bool) -> (Result<u64>, Vec<u8>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://127.0.0.1:{}/file", listener.local_addr().unwrap().port());
    let (dir, sha256) = (tempfile::tempdir().unwrap(), Digest::of(body));
    let (at, partial) = (dir.path().join("file"), dir.path().join(format!(".{sha256}.partial")));
    if !there.is_empty() {
        fs::write(&partial, there).unwrap();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = String::new();
                for line in BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                    head += &line.to_lowercase();
                    head.push('\n');
                }
                // The other side may have gone.
                let _ = stream.write_all(&answer(&head));
                if silent {
                    let _ = stream.read(&mut [0]);
                }
            }
        });
        let result = get(&url, sha256, &at, longest, Duration::from_millis(200), &mut |_, _| ());
        assert_eq!(at.is_file(), result.is_ok());
        assert!(result.is_err() || fs::read(&at).unwrap() == body && !partial.exists());
        (result, fs::read(&partial).unwrap_or_default())
    })
}

fn body() -> Vec<u8> {
    (0..100_000u32).flat_map(u32::to_le_bytes).collect()
}

/// An answer that promises `length` bytes and gives `bytes`.
fn part(status: &str, range: &str, length: usize, bytes: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{range}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), bytes].concat()
}

fn endless(bytes: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", bytes].concat()
}

#[test]
fn a_file_is_fetched_up_to_the_longest_and_no_further() {
    let body = body();
    let longest = body.len() as u64;
    assert_eq!(fetched(&body, b"", longest, &[&|_| endless(&body)], false).0.unwrap(), longest);
    let (result, left) = fetched(&body, b"", longest - 1, &[&|_| endless(&body)], false);
    let error = result.unwrap_err();
    assert_eq!(report::fault_of(&error), Fault::Input);
    assert!(format!("{error:?}").contains("it is longer than"), "{error:?}");
    assert!(left.is_empty());
}

#[test]
fn a_server_that_falls_silent_is_given_up_and_what_came_is_kept() {
    let body = body();
    let silent = |_: &str| part("200 OK", "", body.len(), &body[..1000]);
    let more = |head: &str| {
        assert!(head.contains("range: bytes=1000-"), "{head}");
        part("206 Partial Content", "Content-Range: bytes 1000-399999/400000\r\n", body.len() - 1000, b"")
    };
    let (result, left) = fetched(&body, b"", 1 << 20, &[&silent, &more], true);
    let error = format!("{:?}", result.unwrap_err());
    assert!(error.contains("timeout: per read"), "{error}");
    assert_eq!(left, body[..1000]);
}

#[test]
fn a_connection_that_breaks_off_is_taken_up_where_it_broke() {
    let body = body();
    let first = |_: &str| part("200 OK", "", body.len(), &body[..150_000]);
    let second = |head: &str| {
        assert!(head.contains("range: bytes=150000-"), "{head}");
        part("206 Partial Content", "Content-Range: bytes 150000-399999/400000\r\n", 250_000, &body[150_000..])
    };
    fetched(&body, b"", 1 << 20, &[&first, &second], false).0.unwrap();
    // The same in another build.
    fetched(&body, &body[..150_000], 1 << 20, &[&second], false).0.unwrap();
}

#[test]
fn servers_without_ranges_and_parts_of_something_else() {
    let body = body();
    let whole = |_: &str| part("200 OK", "", body.len(), &body);
    fetched(&body, &body[..7], 1 << 20, &[&whole], false).0.unwrap();
    let rest = |_: &str| part("206 Partial Content", "Content-Range: bytes 9-399999/400000\r\n", 399_991, &body[9..]);
    fetched(&body, b"not of it", 1 << 20, &[&rest, &whole], false).0.unwrap();
    // All of it is there, and only the end was not seen.
    let nothing = |_: &str| part("416 Range Not Satisfiable", "Content-Range: bytes */400000\r\n", 0, b"");
    fetched(&body, &body, 1 << 20, &[&nothing], false).0.unwrap();
    // The file has changed, or its digest is another one's.
    let other = |_: &str| part("200 OK", "", 3, b"new");
    let (result, left) = fetched(&body, b"", 1 << 20, &[&other], false);
    assert!(format!("{:?}", result.unwrap_err()).contains("it has digest"));
    assert!(left.is_empty());
}
