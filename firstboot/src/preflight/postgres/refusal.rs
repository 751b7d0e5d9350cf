//! What PostgreSQL's refusals mean, told by their codes: its words are in the server's language.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorResponseBody;

use super::Error;
use crate::preflight::{Fault, Service, Side, words};

/// A refusal in the server's words.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Five letters and digits (PostgreSQL's manual, appendix A).
    pub(super) code: String,
    message: String,
}

impl Refusal {
    pub(super) fn read(body: &ErrorResponseBody) -> Result<Self, Error> {
        let (mut code, mut message) = (String::new(), String::new());
        let mut fields = body.fields();
        while let Some(field) = fields.next().map_err(|_| Error::Odd)? {
            let text = || words(&String::from_utf8_lossy(field.value_bytes()));
            match field.type_() {
                b'C' => code = text(),
                b'M' => message = text(),
                _ => {}
            }
        }
        if code.is_empty() { Err(Error::Odd) } else { Ok(Self { code, message }) }
    }

    /// What it means to who logs in as a user, and what to do.
    pub(super) fn explain(&self, service: &Service, user: &str, database: &str) -> Fault {
        let Self { code, message } = self;
        match code.as_str() {
            // So it says for a user that is not there, too.
            "28P01" => service
                .config(format!("access denied for user {user}"))
                .advice("check database.user and database.password"),
            "28000" if message.contains("pg_hba") => {
                let what = format!("pg_hba.conf there lets user {user} not log in to {database} from this node");
                service.config(format!("{what} ({message})")).advice(match service.tls {
                    Some(_) => "add an entry for it there",
                    None => "add an entry for it there; where it takes TLS only, set database.tls: verify",
                })
            }
            "28000" => service
                .config(format!("user {user} may not log in ({message})"))
                .advice("check database.user; ALTER ROLE … LOGIN there"),
            "3D000" => service.config(format!("there is no database {database}")).advice(format!(
                "check database.name, or there: CREATE DATABASE {} OWNER {}",
                name(database),
                name(user)
            )),
            "42501" => service
                .config(format!("user {user} may not use the database {database} ({message})"))
                .advice(format!("let it own the database and its tables; there: {}", owner(user, database))),
            "55000" => service.config(format!("the database {database} cannot be used ({message})")),
            "53300" => service
                .server(format!("it has too many connections ({message})"))
                .advice("raise max_connections there, or the limit of the user or the database"),
            "53100" => service.server("its disk is full").advice("make room there"),
            "57P03" => service
                .server(format!("it takes no logins now ({message})"))
                .advice("it is starting or in recovery; if that does not end, look at its log"),
            "57P01" | "57P02" => service.server("it is shutting down, or was told to end this connection"),
            "57P04" => {
                service.config(format!("the database {database} has been dropped")).advice("check database.name")
            }
            "57014" | "55P03" => service.server(format!("it gave up the question ({message})")),
            "25006" => service.server("it is read-only, as a replica is").advice("use the primary"),
            // Poolers put what is not the protocol's fault under this code too.
            "08P01" => service
                .server(format!("it does not go on with the login ({message})"))
                .advice("if that is a pooler: does it know the user and the database?"),
            "0A000" => service.config(format!("it is too old for this node ({message})")),
            _ => service.fault(Side::Server, true, format!("error {code}: {message}")),
        }
    }
}

/// What makes a user the owner of a database.
pub(super) fn owner(user: &str, database: &str) -> String {
    format!("ALTER DATABASE {} OWNER TO {}", name(database), name(user))
}

/// A name as a statement takes it: it may be a word of SQL's own, and has no quotes in it (the node config's schema).
pub(super) fn name(name: &str) -> String {
    format!("\"{name}\"")
}
