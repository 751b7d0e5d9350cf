//! As much of PostgreSQL's protocol as a look at a database needs: log in, ask, read rows as text.
//!
//! Messages and digests are those of `postgres-protocol`, which opens no connection. The connection is ours, since the
//! time that the clients of PostgreSQL can be given does not cover the login: they wait for ever for a silent server.
//!
//! Invariant: nothing that a server sends can make this panic, or take more memory than `MOST` and `MOST_ROWS` say.

mod inspect;
mod login;
mod refusal;
mod schemas;

use std::io::{self, Read, Write};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::{backend, frontend};

use self::refusal::Refusal;
pub(super) use self::{inspect::inspect, schemas::fits};
use super::{Fault, Secret, Service};
use crate::host::dial::{Failure, Wire};

/// The most that an answer takes, all its messages together.
const MOST: usize = 1024 * 1024;
const MOST_ROWS: usize = 1000;

/// A row; `None` is NULL.
pub(super) type Row = Vec<Option<String>>;

/// What went wrong on a connection.
#[derive(Debug)]
enum Error {
    Io(io::Error),
    /// The server said no.
    Server(Refusal),
    /// The server said something that it should not.
    Odd,
    /// What answers speaks another protocol.
    Other,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A login to one database.
#[derive(Debug)]
pub(crate) struct Connection {
    service: Service,
    user: String,
    database: String,
    wire: Wire,
    /// The server's version, as it says it.
    version: String,
    /// How the password was shown.
    method: &'static str,
}

impl Connection {
    pub(super) fn open(service: Service, user: &str, password: &Secret, database: &str) -> Result<Self, Fault> {
        let mut wire = service.connect()?;
        if let Some(client) = service.tls.clone() {
            request_tls(&service, &mut wire)?;
            wire = wire.secure(client, &service.host).map_err(|error| service.failed(Failure::from(&error)))?;
        }
        let (user, database) = (user.to_owned(), database.to_owned());
        let (version, method) = (String::new(), login::TRUST);
        let mut connection = Self { service, user, database, wire, version, method };
        connection.log_in(password)?;
        Ok(connection)
    }

    /// Asks; gives the rows as text.
    fn ask(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        self.send(|buffer| frontend::query(sql, buffer))?;
        let (mut rows, mut left, mut refusal) = (Vec::new(), MOST, None);
        loop {
            let message = match self.receive(&mut left) {
                // A refusal may also end the connection.
                Err(Error::Io(_)) if refusal.is_some() => None,
                message => Some(message?),
            };
            match message {
                None | Some(backend::Message::ReadyForQuery(_)) => {
                    return refusal.map_or(Ok(rows), |refusal| Err(Error::Server(refusal)));
                }
                Some(backend::Message::DataRow(body)) if rows.len() < MOST_ROWS => rows.push(row(&body)?),
                Some(backend::Message::ErrorResponse(body)) => refusal = Some(Refusal::read(&body)?),
                Some(
                    backend::Message::RowDescription(_)
                    | backend::Message::CommandComplete(_)
                    | backend::Message::EmptyQueryResponse
                    | backend::Message::NoticeResponse(_)
                    | backend::Message::NotificationResponse(_)
                    | backend::Message::ParameterStatus(_),
                ) => {}
                Some(_) => return Err(Error::Odd),
            }
        }
    }

    /// `ask`, with what went wrong in words.
    pub(super) fn rows(&mut self, sql: &str) -> Result<Vec<Row>, Fault> {
        self.ask(sql).map_err(|error| self.fault(error))
    }

    fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), Error> {
        send(&mut self.wire, write)
    }

    /// The next message, which takes from what is left of an answer.
    fn receive(&mut self, left: &mut usize) -> Result<backend::Message, Error> {
        let mut header = [0; 5];
        self.wire.read_exact(&mut header)?;
        self.message(header, left)
    }

    /// The message of a header.
    fn message(&mut self, header: [u8; 5], left: &mut usize) -> Result<backend::Message, Error> {
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let length = usize::try_from(length).ok().filter(|length| (4..=*left).contains(length)).ok_or(Error::Odd)?;
        *left = left.saturating_sub(length.max(header.len()));
        let mut bytes = BytesMut::zeroed(1 + length);
        let (start, body) = bytes.split_at_mut(header.len());
        start.copy_from_slice(&header);
        self.wire.read_exact(body)?;
        // Its errors are those of a message that holds not what it should.
        backend::Message::parse(&mut bytes).ok().flatten().ok_or(Error::Odd)
    }

    /// What went wrong, in words that say what to do.
    fn fault(&self, error: Error) -> Fault {
        match error {
            Error::Io(error) => self.service.failed(Failure::from(&error)),
            Error::Odd => self.service.server("it answers what no PostgreSQL server would"),
            Error::Other => self.service.not_it(),
            Error::Server(refusal) => refusal.explain(&self.service, &self.user, &self.database),
        }
    }
}

/// Asks for TLS, before anything else is said.
fn request_tls(service: &Service, wire: &mut Wire) -> Result<(), Fault> {
    let request = |buffer: &mut BytesMut| {
        frontend::ssl_request(buffer);
        Ok(())
    };
    let mut answer = [0];
    let asked = send(wire, request).and_then(|()| Ok(wire.read_exact(&mut answer)?));
    asked.map_err(|error| match error {
        Error::Io(error) => service.failed(Failure::from(&error)),
        _ => service.not_it(),
    })?;
    match answer[0] {
        b'S' => Ok(()),
        b'N' => Err(service.config("it offers no TLS").advice("turn it on there, or set tls: off")),
        // What follows could be anybody's words.
        b'E' => Err(service.server("it takes no connection over TLS now").advice("look at its log")),
        _ => Err(service.not_it()),
    }
}

fn send(wire: &mut Wire, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), Error> {
    let mut buffer = BytesMut::new();
    write(&mut buffer)?;
    wire.write_all(&buffer)?;
    Ok(wire.flush()?)
}

fn row(body: &backend::DataRowBody) -> Result<Row, Error> {
    let ranges: Vec<_> = body.ranges().collect().map_err(|_| Error::Odd)?;
    let text = |range| body.buffer().get(range).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Ok(ranges.into_iter().map(|range| range.and_then(text)).collect())
}

fn cell(row: &Row, index: usize) -> Option<&str> {
    row.get(index)?.as_deref()
}
