//! What keeps a step from being done, and whether trying again can help.

use std::fmt;

use contract::strict::Mistake;

/// The exit code for what stays until somebody changes something, such as a wrong node config; 1 says that it may pass.
pub(crate) const WRONG: u8 = 2;
/// The exit code of `check --share` for what may pass, and sooner if the share is mounted anew.
pub(crate) const REMOUNT: u8 = 4;

/// A step's failure. Its text names the thing, what happened and what to do, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What happened, to what.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Whether it may pass without a change of the node config or the image.
    pub(crate) passing: bool,
    /// Whether it may pass when the share is mounted anew.
    pub(crate) remount: bool,
}

impl Trouble {
    /// What may pass: a server that does not answer yet.
    pub(crate) fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, passing: true, remount: false }
    }

    /// What stays until somebody changes something.
    pub(crate) fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, passing: false, remount: false }
    }

    /// What may pass when the share is mounted anew.
    pub(crate) fn remount(self) -> Self {
        Self { remount: true, ..self }
    }

    /// The exit code that says which of these it is.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self { remount: true, .. } => REMOUNT,
            Self { passing: true, .. } => 1,
            _ => WRONG,
        }
    }

    /// Adds what to do.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A mistake in what somebody wrote stays until it is corrected.
impl From<Mistake> for Trouble {
    fn from(Mistake { message, hint }: Mistake) -> Self {
        Self { message, hint, ..Self::lasting("") }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for Trouble {}
