//! How PostgreSQL is shown a password.
//!
//! A password goes in the clear over TLS only, even where Harbor would send it without: on loopback too, since nobody
//! needs it there. With SCRAM the server must prove that it knows the password; one that lets the node in without that
//! proof is refused, since it may be anybody's.

use std::io::Read;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::{backend::Message, frontend};

use super::refusal::Refusal;
use super::{Connection, Error, Fault, MOST, Secret};
use crate::preflight::words;

/// No password was asked for.
pub(super) const TRUST: &str = "trust";
pub(super) const SCRAM: &str = "scram-sha-256";
const MD5: &str = "md5";
const PASSWORD: &str = "password";

/// More messages than any login takes.
const MOST_MESSAGES: usize = 200;

impl Connection {
    pub(super) fn log_in(&mut self, password: &Secret) -> Result<(), Fault> {
        let (user, database) = (self.user.clone(), self.database.clone());
        let parameters = [
            ("user", user.as_str()),
            ("database", &database),
            ("application_name", "habuild-firstboot"),
            ("client_encoding", "UTF8"),
        ];
        let begun = self.send(|buffer| frontend::startup_message(parameters, buffer)).and_then(|()| self.first());
        let (mut message, mut left) = begun.map_err(|error| self.fault(error))?;
        let mut scram = None;
        for _ in 0..MOST_MESSAGES {
            match message {
                Message::ReadyForQuery(_) if scram.is_some() => return Err(self.unproved()),
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => {
                    let error = Refusal::read(&body).map_or_else(|error| error, Error::Server);
                    return Err(self.fault(error));
                }
                Message::AuthenticationOk
                | Message::BackendKeyData(_)
                | Message::NoticeResponse(_)
                | Message::NotificationResponse(_) => {}
                Message::ParameterStatus(body) => {
                    if let (Ok("server_version"), Ok(version)) = (body.name(), body.value()) {
                        self.version = words(version);
                    }
                }
                challenge => self.answer(challenge, password, &mut scram)?,
            }
            message = self.receive(&mut left).map_err(|error| self.fault(error))?;
        }
        Err(self.fault(Error::Odd))
    }

    /// The first answer, which shows whether it is PostgreSQL that answers.
    fn first(&mut self) -> Result<(Message, usize), Error> {
        let mut header = [0; 5];
        self.wire.read_exact(&mut header)?;
        // MySQL greets before it is asked: a length of three bytes, a number, its protocol's version.
        let mysql = header[1..] == [0, 0, 0, 10];
        if mysql || !matches!(header[0], b'R' | b'E' | b'N') || header[1] != 0 {
            return Err(Error::Other);
        }
        let mut left = MOST;
        Ok((self.message(header, &mut left)?, left))
    }

    /// Shows the password in the way that a challenge asks for.
    fn answer(&mut self, challenge: Message, password: &Secret, scram: &mut Option<ScramSha256>) -> Result<(), Fault> {
        let secret = password.expose().as_bytes();
        let mut answer = BytesMut::new();
        let written = match challenge {
            Message::AuthenticationCleartextPassword if !self.wire.is_secure() => {
                let fault = self.service.config("it wants the password in the clear, and the connection has no TLS");
                return Err(fault.advice("set database.tls: verify, or have pg_hba.conf there ask for scram-sha-256"));
            }
            Message::AuthenticationCleartextPassword => {
                self.method = PASSWORD;
                frontend::password_message(secret, &mut answer)
            }
            Message::AuthenticationMd5Password(body) => {
                self.method = MD5;
                let hash = md5_hash(self.user.as_bytes(), secret, body.salt());
                frontend::password_message(hash.as_bytes(), &mut answer)
            }
            Message::AuthenticationSasl(body) => {
                self.method = SCRAM;
                let offered = body.mechanisms().any(|mechanism| Ok(mechanism == SCRAM_SHA_256));
                if !offered.map_err(|_| self.fault(Error::Odd))? {
                    return Err(self.unfit("a method of SASL other than SCRAM-SHA-256"));
                }
                let begun = scram.insert(ScramSha256::new(secret, ChannelBinding::unsupported()));
                frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut answer)
            }
            Message::AuthenticationSaslContinue(body) => {
                let Some(going) = scram.as_mut() else { return Err(self.fault(Error::Odd)) };
                going.update(body.data()).map_err(|_| self.fault(Error::Odd))?;
                frontend::sasl_response(going.message(), &mut answer)
            }
            Message::AuthenticationSaslFinal(body) => {
                let proved = scram.take().is_some_and(|mut scram| scram.finish(body.data()).is_ok());
                return if proved { Ok(()) } else { Err(self.unproved()) };
            }
            Message::AuthenticationGss | Message::AuthenticationSspi | Message::AuthenticationKerberosV5 => {
                return Err(self.unfit("Kerberos"));
            }
            _ => return Err(self.fault(Error::Odd)),
        };
        let sent = written.map_err(Error::Io).and_then(|()| {
            self.send(|buffer| {
                buffer.unsplit(answer);
                Ok(())
            })
        });
        sent.map_err(|error| self.fault(error))
    }

    fn unfit(&self, method: &str) -> Fault {
        let fault = self.service.config(format!("user {} must log in with {method}, which Harbor cannot", self.user));
        fault.advice("have pg_hba.conf there ask for scram-sha-256 or md5")
    }

    fn unproved(&self) -> Fault {
        let fault = self.service.config("it does not prove that it knows the password");
        fault.advice(match self.service.tls {
            Some(_) => "is it the right server?",
            None => "is it the right server? database.tls: verify makes it prove its name",
        })
    }
}
