//! Redis' protocol, as far as a few commands need it.
//!
//! Why no library: the `redis` crate connects by itself and folds its failures into kinds of its own; six commands
//! need this one page, on the connections that MySQL uses too.
//!
//! Invariant: an answer takes no more memory than `MOST`, and lists are refused.

use std::io::{self, BufRead, BufReader, Read, Write};

use crate::host::dial::Wire;

/// The longest answer.
const MOST: u64 = 64 * 1024;

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Text(String),
    Nothing,
    /// It said no, in these words.
    Refused(String),
}

/// A connection to a Redis server.
#[derive(Debug)]
pub(super) struct Client(BufReader<Wire>);

impl Client {
    pub(super) fn new(wire: Wire) -> Self {
        Self(BufReader::new(wire))
    }

    /// Sends a command and waits for its answer. `InvalidData` stands for what is not Redis' protocol.
    pub(super) fn ask(&mut self, command: &[&str]) -> io::Result<Answer> {
        let mut message = format!("*{}\r\n", command.len());
        for part in command {
            message.push_str(&format!("${}\r\n{part}\r\n", part.len()));
        }
        self.0.get_mut().write_all(message.as_bytes())?;
        self.0.get_mut().flush()?;
        answer(&mut self.0)
    }
}

fn answer(reader: &mut impl BufRead) -> io::Result<Answer> {
    let odd = || io::Error::from(io::ErrorKind::InvalidData);
    let mut line = Vec::new();
    let mut kind = [0];
    reader.read_exact(&mut kind)?;
    // Before anything else is waited for: another protocol may have no line ends.
    if !b"+-:$".contains(&kind[0]) {
        return Err(odd());
    }
    reader.by_ref().take(MOST).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(if line.len() as u64 == MOST { odd() } else { io::ErrorKind::UnexpectedEof.into() });
    }
    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
    match kind[0] {
        b'+' | b':' => Ok(Answer::Text(line)),
        b'-' => Ok(Answer::Refused(line)),
        _ if line == "-1" => Ok(Answer::Nothing),
        _ => {
            let length = line.parse::<u64>().ok().filter(|length| *length <= MOST).ok_or_else(odd)?;
            let mut bytes = Vec::new();
            reader.by_ref().take(length + 2).read_to_end(&mut bytes)?;
            if bytes.len() as u64 != length + 2 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = bytes.strip_suffix(b"\r\n").ok_or_else(odd)?;
            Ok(Answer::Text(String::from_utf8_lossy(text).into_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_answers_and_nothing_else() {
        let read = |bytes: &[u8]| answer(&mut &*bytes).map_err(|error| error.kind());
        assert_eq!(read(b"+PONG\r\n"), Ok(Answer::Text("PONG".into())));
        assert_eq!(read(b":1\r\n"), Ok(Answer::Text("1".into())));
        assert_eq!(read(b"$5\r\na\r\nbc\r\n"), Ok(Answer::Text("a\r\nbc".into())));
        assert_eq!(read(b"$-1\r\n"), Ok(Answer::Nothing));
        assert_eq!(read(b"-NOAUTH x\r\n"), Ok(Answer::Refused("NOAUTH x".into())));
        for cut in [&b""[..], b"+PO", b"$5\r\nab", b"$5\r\nabcde"] {
            assert_eq!(read(cut), Err(io::ErrorKind::UnexpectedEof), "{cut:?}");
        }
        for odd in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x15\x03", b"*1\r\n", b"$99999999999\r\n", b"$x\r\n"] {
            assert_eq!(read(odd), Err(io::ErrorKind::InvalidData), "{odd:?}");
        }
        assert_eq!(read(&[b"+".as_slice(), &vec![b'x'; 1 << 20]].concat()), Err(io::ErrorKind::InvalidData));
    }
}
