//! Secrets: what the references of a node config stand for.
//!
//! A secret of one line may end with one line break where it is kept, as editors and `echo` leave one: it is cut off.
//! `vals` leaves it in; here a password with a line break could never be right. PEM and what stands in
//! `harbor.settings` is taken as it is.
//!
//! Invariant: no error, warning or `Debug` holds a secret. The only way to one is `expose`.

mod keep;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use crate::host::Host;
use crate::stores::{self, Limits, Refusal};
use crate::trouble::Trouble;
use contract::schema::{self, NodeConfig, Scheme, SecretRef, SecretValue};
pub(crate) use keep::{DIRECTORY as KEPT, Decision, Kept, decide};

/// A secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: not for messages, command lines or environments.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Why a secret could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretError {
    /// Dotted key path such as `database.password`.
    pub(crate) key: String,
    /// The reference as it is printed, tokens hidden.
    pub(crate) reference: String,
    pub(crate) what: String,
    pub(crate) advice: Option<String>,
    /// Whether it may pass without a change of the node config or of what the store holds.
    pub(crate) recoverable: bool,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.key, self.reference, self.what)?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, " ({advice})"))
    }
}

impl std::error::Error for SecretError {}

/// Secrets by their dotted key path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resolved(BTreeMap<String, Secret>);

impl Resolved {
    /// The secret of a key such as `database.password`.
    pub(crate) fn get(&self, key: &str) -> Option<&Secret> {
        self.0.get(key)
    }

    /// The secret of a key that the node config cannot do without.
    pub(crate) fn need(&self, key: &str) -> Result<&str, Trouble> {
        let missing = || Trouble::lasting(format!("{key}: is not among the secrets of this boot"));
        self.get(key).map(Secret::expose).ok_or_else(missing)
    }

    pub(crate) fn insert(&mut self, key: &str, secret: Secret) {
        self.0.insert(key.to_owned(), secret);
    }
}

/// What came of one attempt to resolve everything.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// What could be had.
    pub(crate) resolved: Resolved,
    /// What could not.
    pub(crate) errors: Vec<SecretError>,
    /// What is worth telling: files that others may read.
    pub(crate) warnings: Vec<String>,
}

/// What stores answered in this boot: an address that answered is not asked again.
#[derive(Default)]
pub(crate) struct Answers(RefCell<Vec<(SecretRef, Secret)>>);

impl Answers {
    /// Forgets them, so that the next attempt asks again.
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.borrow().iter().map(|(address, _)| address)).finish()
    }
}

/// Resolves every secret of a node config, or says what is wrong with each that it could not.
///
/// Keys below `secret_stores` are left out: they open stores that this version does not know.
pub(crate) fn resolve_all(host: &Host, config: &NodeConfig, answers: &Answers) -> Attempt {
    resolve_within(host, config, answers, &Limits::default())
}

fn resolve_within(host: &Host, config: &NodeConfig, answers: &Answers, limits: &Limits) -> Attempt {
    let mut attempt = Attempt::default();
    let mut refused: Vec<(SecretRef, Refusal)> = Vec::new();
    for (key, value) in config.secrets() {
        if key.starts_with("secret_stores.") {
            continue;
        }
        let reference = match value {
            SecretValue::Literal(literal) => {
                attempt.resolved.insert(&key, Secret::new(literal.expose()));
                continue;
            }
            SecretValue::Reference(reference) => reference,
        };
        let address = reference.address();
        let outcome = match known(&address, answers, &refused) {
            Some(outcome) => outcome,
            None => {
                let outcome = stores::ask(host, &address, limits, &mut attempt.warnings).and_then(text);
                match &outcome {
                    Ok(answer) => answers.0.borrow_mut().push((address, answer.clone())),
                    Err(refusal) => refused.push((address, refusal.clone())),
                }
                outcome
            }
        };
        match outcome.and_then(|answer| value_of(&key, reference, &answer)) {
            Ok(secret) => attempt.resolved.insert(&key, secret),
            Err(Refusal { what, advice, recoverable, .. }) => {
                let reference = reference.to_string();
                attempt.errors.push(SecretError { key, reference, what, advice, recoverable });
            }
        }
    }
    attempt
}

/// What is known about an address without asking: its answer, its refusal, or that its server cannot be reached.
fn known(address: &SecretRef, answers: &Answers, refused: &[(SecretRef, Refusal)]) -> Option<Result<Secret, Refusal>> {
    if let Some((_, answer)) = answers.0.borrow().iter().find(|(asked, _)| asked == address) {
        return Some(Ok(answer.clone()));
    }
    let same_server = |other: &SecretRef| {
        other.scheme() == Scheme::Https && address.scheme() == Scheme::Https && authority(other) == authority(address)
    };
    let refusal = refused.iter().find(|(asked, why)| asked == address || why.unreachable && same_server(asked));
    refusal.map(|(_, refusal)| Err(refusal.clone()))
}

/// `HOST[:PORT]` of an https address.
fn authority(address: &SecretRef) -> &str {
    address.path().split('/').next().unwrap_or_default()
}

/// An answer as text. The error is not repeated: it may hold the bytes.
fn text(bytes: Vec<u8>) -> Result<Secret, Refusal> {
    String::from_utf8(bytes).map(Secret::new).map_err(|_| Refusal::lasting("is not UTF-8 text"))
}

/// The secret that a reference's keys lead to in an answer, judged by the rule of its key.
fn value_of(key: &str, reference: &SecretRef, answer: &Secret) -> Result<Secret, Refusal> {
    let text = match reference.pointer() {
        [] => answer.expose().to_owned(),
        keys => schema::look_up(answer.expose(), keys).map_err(Refusal::lasting)?,
    };
    let text = if schema::may_have_lines(key) { text.as_str() } else { without_line_break(&text) };
    if text.is_empty() {
        return Err(Refusal::lasting("is empty"));
    }
    schema::check_secret(key, text)
        .map_err(|(what, advice)| Refusal { advice, ..Refusal::lasting(format!("what is kept there {what}")) })?;
    Ok(Secret::new(text))
}

fn without_line_break(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}
