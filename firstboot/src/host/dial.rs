//! Connections to servers outside, in the clear or over TLS, each with one deadline for everything said on it.
//!
//! Looking a name up is the one thing without a deadline: the C library's own applies.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::host::trust::{self, TlsFault};

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// To connect.
    pub(crate) connect: Duration,
    /// Connecting and all that is said afterwards.
    pub(crate) total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), total: Duration::from_secs(30) }
    }
}

/// Why nothing could be said, or nothing was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The name is not known.
    Name,
    /// Nobody listens on the port.
    Refused,
    /// No answer in time.
    TimedOut,
    /// The other side closed the connection.
    Closed,
    /// TLS could not be agreed on.
    Tls(TlsFault),
    /// Anything else, in the system's words.
    Other(String),
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        if let Some(error) = trust::inside(error) {
            return Self::Tls(trust::explain(error));
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

/// A stream whose reads and writes end at a deadline.
#[derive(Debug)]
pub(crate) struct Timed {
    stream: TcpStream,
    until: Instant,
}

/// Connects in the clear. An IPv6 address has no brackets.
pub(crate) fn connect(host: &str, port: u16, patience: Patience) -> Result<Wire, Failure> {
    let until = Instant::now() + patience.total;
    let addresses = (host, port).to_socket_addrs().map_err(|_| Failure::Name)?;
    let mut failure = Failure::Name;
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now()).min(patience.connect);
        if left.is_zero() {
            return Err(Failure::TimedOut);
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                // Every message is one write; without this each waits for the answer to the one before.
                let _ = stream.set_nodelay(true);
                return Ok(Wire::Plain(Timed { stream, until }));
            }
            Err(error) => failure = Failure::from(&error),
        }
    }
    Err(failure)
}

impl Wire {
    /// Goes on over TLS, with a server that proves this name.
    pub(crate) fn secure(self, client: Arc<ClientConfig>, host: &str) -> io::Result<Self> {
        let Self::Plain(timed) = self else { return Ok(self) };
        let name = ServerName::try_from(host.trim_end_matches('.').to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connection = ClientConnection::new(client, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, timed);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::Tls(Box::new(stream)))
    }

    /// Whether nobody between can read along.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Moves the deadline.
    pub(crate) fn allow(&mut self, time: Duration) {
        let timed = match self {
            Self::Plain(timed) => timed,
            Self::Tls(stream) => &mut stream.sock,
        };
        timed.until = Instant::now() + time;
    }
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
