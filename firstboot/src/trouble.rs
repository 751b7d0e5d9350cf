//! What keeps a step from being done, and whether trying again can help.

use std::fmt;

use contract::strict::Mistake;

/// The exit code for what stays until somebody changes something, such as a wrong node config; 1 says that it may pass.
pub(crate) const WRONG: u8 = 2;

/// A step's failure. Its text names the thing, what happened and what to do, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What happened, to what.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Whether it may pass without a change of the node config or the image.
    pub(crate) passing: bool,
}

impl Trouble {
    /// What may pass: a server that does not answer yet.
    pub(crate) fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, passing: true }
    }

    /// What stays until somebody changes something.
    pub(crate) fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, passing: false }
    }

    /// Adds what to do.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A mistake in what somebody wrote stays until it is corrected.
impl From<Mistake> for Trouble {
    fn from(Mistake { message, hint }: Mistake) -> Self {
        Self { message, hint, passing: false }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for Trouble {}
