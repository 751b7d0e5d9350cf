//! As much of MySQL's protocol as a look at a database needs: log in, ask, read rows as text.
//!
//! Why no library: the `mysql` crate connects by itself, says of a failure only that it "could not connect to any
//! address", trusts Mozilla's authorities beside the one that is given, and brings some fifty crates. What is needed
//! here is a login and text.
//!
//! Invariant: nothing that a server sends can make this panic, or take more memory than `MOST_ROWS` and `MOST` say.

use std::io::{self, Read, Write};

use super::auth::{self, Unfit};
use super::{Fault, Secret, Service, Side, words};
use crate::host::dial::{Failure, Wire};

/// The longest message of a server.
const MOST: usize = 1024 * 1024;
const MOST_ROWS: usize = 1000;

const LONG_PASSWORD: u32 = 1;
const CONNECT_WITH_DB: u32 = 8;
const PROTOCOL_41: u32 = 0x200;
const SSL: u32 = 0x800;
const TRANSACTIONS: u32 = 0x2000;
const SECURE_CONNECTION: u32 = 0x8000;
const PLUGIN_AUTH: u32 = 0x8_0000;
const UTF8MB4: u8 = 45;

/// A row; `None` is NULL.
pub(super) type Row = Vec<Option<String>>;

/// What went wrong on a connection.
#[derive(Debug)]
pub(super) enum Error {
    Io(io::Error),
    /// The server said no.
    Server {
        code: u16,
        message: String,
    },
    /// The server said something that it should not.
    Odd,
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
    sequence: u8,
    /// The server's version, as it says it.
    pub(super) version: String,
    /// How the password was shown.
    pub(super) method: String,
}

/// What a server says first.
struct Greeting {
    version: String,
    able: u32,
    challenge: Vec<u8>,
    method: String,
}

impl Connection {
    pub(super) fn open(service: Service, user: &str, password: &Secret, database: &str) -> Result<Self, Fault> {
        let wire = service.connect()?;
        let (user, database) = (user.to_owned(), database.to_owned());
        let (version, method) = (String::new(), String::new());
        let mut connection = Self { service, user, database, wire, sequence: 0, version, method };
        let greeting = connection.greeting()?;
        // MariaDB's prefix for replicas that are very old.
        connection.version = words(greeting.version.strip_prefix("5.5.5-").unwrap_or(&greeting.version));
        if let Some(client) = connection.service.tls.clone() {
            if greeting.able & SSL == 0 {
                return Err(connection.service.config("it offers no TLS").advice("turn it on there, or set tls: off"));
            }
            let request = connection.request(&greeting, SSL);
            connection.send(&request).map_err(|error| connection.fault(error))?;
            let Self { service, wire, .. } = connection;
            let wire = wire.secure(client, &service.host).map_err(|error| service.failed(Failure::from(&error)))?;
            connection = Self { service, wire, ..connection };
        }
        connection.log_in(&greeting, password)?;
        Ok(connection)
    }

    fn greeting(&mut self) -> Result<Greeting, Fault> {
        let mut header = [0; 4];
        let read = self.wire.read_exact(&mut header);
        read.map_err(|error| match Failure::from(&error) {
            // A server of another kind waits for its client to speak.
            Failure::TimedOut => self.service.server("connected, but it does not greet as MySQL does"),
            failure => self.service.failed(failure),
        })?;
        // Any other kind of server begins with letters, which make an impossible message.
        let length = usize::from(u16::from_le_bytes([header[0], header[1]]));
        if header[2] != 0 || header[3] != 0 || length == 0 {
            return Err(self.service.not_it());
        }
        let mut message = vec![0; length];
        self.wire.read_exact(&mut message).map_err(|error| self.service.failed(Failure::from(&error)))?;
        self.sequence = 1;
        if message.first() == Some(&0xff) {
            let error = server_error(&message);
            return Err(self.fault(error));
        }
        greeting(&message).ok_or_else(|| self.service.not_it())
    }

    /// The first part of every login, which is also what asks for TLS.
    fn request(&self, greeting: &Greeting, more: u32) -> Vec<u8> {
        let secure = if self.wire.is_secure() { SSL } else { 0 };
        let wanted = LONG_PASSWORD | CONNECT_WITH_DB | TRANSACTIONS | PLUGIN_AUTH;
        let able = (greeting.able & wanted) | PROTOCOL_41 | SECURE_CONNECTION | CONNECT_WITH_DB | more | secure;
        let mut message = able.to_le_bytes().to_vec();
        message.extend(u32::try_from(MOST).unwrap_or(u32::MAX).to_le_bytes());
        message.push(UTF8MB4);
        message.extend([0; 23]);
        message
    }

    fn log_in(&mut self, greeting: &Greeting, password: &Secret) -> Result<(), Fault> {
        let secure = self.wire.is_secure();
        // A default of the server's that is not known here: the account may have another one.
        let mut method = greeting.method.clone();
        let mut answer = auth::answer(&method, password.expose(), &greeting.challenge, secure);
        if answer.is_err() {
            method = auth::NATIVE.to_owned();
            answer = auth::answer(&method, password.expose(), &greeting.challenge, secure);
        }
        let answer = answer.map_err(|unfit| self.unfit(&method, unfit))?;
        let mut message = self.request(greeting, 0);
        message.extend(self.user.as_bytes());
        message.push(0);
        message.push(u8::try_from(answer.len()).unwrap_or_default());
        message.extend(answer);
        message.extend(self.database.as_bytes());
        message.push(0);
        if greeting.able & PLUGIN_AUTH != 0 {
            message.extend(method.as_bytes());
            message.push(0);
        }
        self.send(&message).map_err(|error| self.fault(error))?;
        // Each turn is one change of method or one step of it; an honest server needs three.
        for _ in 0..8 {
            let said = self.receive().map_err(|error| self.fault(error))?;
            let answer = match said.split_first() {
                Some((0x00, _)) => {
                    self.method = method;
                    return Ok(());
                }
                Some((0x01, said)) => auth::go_on(&method, password.expose(), said, secure),
                Some((0xfe, rest)) if !rest.is_empty() => {
                    let (name, challenge) = text_to_nul(rest).unwrap_or_default();
                    method = words(&name);
                    let challenge = challenge.strip_suffix(&[0]).unwrap_or(challenge);
                    auth::answer(&method, password.expose(), challenge, secure).map(Some)
                }
                _ => return Err(self.fault(Error::Odd)),
            };
            if let Some(answer) = answer.map_err(|unfit| self.unfit(&method, unfit))? {
                self.send(&answer).map_err(|error| self.fault(error))?;
            }
        }
        Err(self.fault(Error::Odd))
    }

    fn unfit(&self, method: &str, unfit: Unfit) -> Fault {
        let user = &self.user;
        let fault = self.service.config(match unfit {
            Unfit::Unknown => format!("user {user} must log in with {method}, which is not known here"),
            Unfit::NeedsTls => format!("user {user} must log in with {method}, which needs TLS"),
        });
        fault.advice(format!("ALTER USER {user} IDENTIFIED WITH {} there", auth::NATIVE))
    }

    /// Asks; gives the rows.
    pub(super) fn ask(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        self.sequence = 0;
        self.send(&[&[0x03], sql.as_bytes()].concat())?;
        let first = self.receive()?;
        let columns = match first.first() {
            Some(0x00) => return Ok(Vec::new()),
            // It wants to be sent a file.
            None | Some(0xfb) => return Err(Error::Odd),
            Some(_) => length(&mut first.as_slice()).ok_or(Error::Odd)?,
        };
        for _ in 0..columns {
            self.receive()?;
        }
        let mut rows = Vec::new();
        // The definitions of the columns end with the same mark as the rows.
        let mut marks = 0;
        loop {
            let message = self.receive()?;
            if message.first() == Some(&0xfe) && message.len() < 9 {
                marks += 1;
                if marks == 2 {
                    return Ok(rows);
                }
                continue;
            }
            if rows.len() == MOST_ROWS || marks == 0 {
                return Err(Error::Odd);
            }
            rows.push(row(&message, columns).ok_or(Error::Odd)?);
        }
    }

    /// `ask`, with what went wrong in words.
    pub(super) fn rows(&mut self, sql: &str) -> Result<Vec<Row>, Fault> {
        self.ask(sql).map_err(|error| self.fault(error))
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }

    pub(super) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let length = u32::try_from(message.len()).ok().filter(|length| *length < 0xff_ffff).ok_or(Error::Odd)?;
        let mut bytes = length.to_le_bytes().to_vec();
        bytes[3] = self.sequence;
        bytes.extend(message);
        self.sequence = self.sequence.wrapping_add(1);
        self.wire.write_all(&bytes)?;
        Ok(self.wire.flush()?)
    }

    fn receive(&mut self) -> Result<Vec<u8>, Error> {
        let mut header = [0; 4];
        self.wire.read_exact(&mut header)?;
        self.sequence = header[3].wrapping_add(1);
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let length = usize::try_from(length).ok().filter(|length| *length <= MOST).ok_or(Error::Odd)?;
        let mut message = vec![0; length];
        self.wire.read_exact(&mut message)?;
        if message.first() == Some(&0xff) { Err(server_error(&message)) } else { Ok(message) }
    }

    /// What went wrong, in words that say what to do.
    pub(super) fn fault(&self, error: Error) -> Fault {
        let (code, message) = match error {
            Error::Io(error) => return self.service.failed(Failure::from(&error)),
            Error::Odd => return self.service.server("it answers what no MySQL server would"),
            Error::Server { code, message } => (code, words(&message)),
        };
        let (service, user, database) = (&self.service, &self.user, &self.database);
        match code {
            1045 | 1698 => service
                .config(format!("access denied for user {}", who(&message).unwrap_or_else(|| user.clone())))
                .advice(match service.tls {
                    Some(_) => "check database.user and database.password",
                    None => "check database.user and database.password; a server that takes TLS only says the same",
                }),
            1044 | 1142 | 1143 => service
                .config(format!("user {user} may not use the database {database}"))
                .advice(format!("GRANT ALL ON {database}.* TO {user} there")),
            1049 => service
                .config(format!("there is no database {database}"))
                .advice("create it there, or check database.name"),
            1130 => service
                .config(format!("user {user} may not log in from this node's address"))
                .advice("let the user's host there match it"),
            1820 | 1862 => service.config(format!("the password of user {user} has expired")).advice("set a new one"),
            3118 | 4151 => service.config(format!("user {user} is locked")).advice("unlock it there"),
            3159 => service.config("it takes only connections over TLS").advice("set database.tls: verify"),
            1040 | 1203 | 1226 => {
                service.server(format!("it has too many connections ({message})")).advice("raise max_connections there")
            }
            1129 => service
                .server("it blocks this node's address after many failed connections")
                .advice("FLUSH HOSTS there"),
            1047 if message.contains("WSREP") => service
                .server("this member of the Galera cluster is not in a group that may answer")
                .advice("look at wsrep_cluster_status there"),
            1290 | 1792 | 1836 => service.server(format!("it is read-only ({message})")).advice("use the primary"),
            1053 | 1077..=1079 => service.server("it is shutting down"),
            _ => service.fault(Side::Server, true, format!("error {code}: {message}")),
        }
    }
}

/// `'harbor'@'10.0.0.5'` of a refusal, without the quotes.
fn who(message: &str) -> Option<String> {
    let mut quoted = message.split('\'').skip(1).step_by(2);
    Some(format!("{}@{}", quoted.next()?, quoted.next()?))
}

fn server_error(message: &[u8]) -> Error {
    let (Some(code), rest) = (message.get(1..3), message.get(3..).unwrap_or_default()) else { return Error::Odd };
    // `#` and five characters of SQL state, which the first message of a server leaves out.
    let rest = if rest.first() == Some(&b'#') { rest.get(6..).unwrap_or_default() } else { rest };
    let code = u16::from_le_bytes([code[0], code[1]]);
    Error::Server { code, message: String::from_utf8_lossy(rest).into_owned() }
}

fn greeting(message: &[u8]) -> Option<Greeting> {
    let rest = message.strip_prefix(&[10])?;
    let (version, rest) = text_to_nul(rest)?;
    let challenge = rest.get(4..12)?;
    let low = u16::from_le_bytes(rest.get(13..15)?.try_into().ok()?);
    let high = u16::from_le_bytes(rest.get(18..20)?.try_into().ok()?);
    let able = u32::from(low) | u32::from(high) << 16;
    // 20 bytes in two parts: 8 above, 12 and a NUL here.
    let challenge = [challenge, rest.get(31..43)?].concat();
    let method = rest
        .get(44..)
        .map(|rest| text_to_nul(rest).map_or_else(|| String::from_utf8_lossy(rest).into_owned(), |(name, _)| name));
    let method = method.filter(|name| !name.is_empty()).unwrap_or_else(|| auth::NATIVE.to_owned());
    (able & PROTOCOL_41 != 0 && able & SECURE_CONNECTION != 0).then_some(Greeting { version, able, challenge, method })
}

fn text_to_nul(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((String::from_utf8_lossy(bytes.get(..end)?).into_owned(), bytes.get(end + 1..)?))
}

/// A length as MySQL packs it, taken from the front.
fn length(bytes: &mut &[u8]) -> Option<usize> {
    let (first, rest) = bytes.split_first()?;
    let size = match first {
        0..=0xfa => 0,
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let packed = rest.get(..size)?;
    *bytes = rest.get(size..)?;
    if size == 0 {
        return Some(usize::from(*first));
    }
    packed.iter().rev().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))
}

fn row(mut message: &[u8], columns: usize) -> Option<Row> {
    let mut row = Vec::new();
    for _ in 0..columns {
        if let Some(rest) = message.strip_prefix(&[0xfb]) {
            message = rest;
            row.push(None);
            continue;
        }
        let length = length(&mut message)?;
        row.push(Some(String::from_utf8_lossy(message.get(..length)?).into_owned()));
        message = message.get(length..)?;
    }
    Some(row)
}
