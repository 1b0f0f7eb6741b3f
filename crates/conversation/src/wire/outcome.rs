//! What becomes of bytes that come from outside.

use super::WireError;

/// What became of bytes at one step of decoding. Each step has exactly one of these four, whatever the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome<T> {
    /// It was read.
    Decoded(T),
    /// It is of a conversation that this device is not in. Discard it silently, and count it: most of what a topic brings is so.
    NotForUs,
    /// It is in order as far as this version can read it, and has something that a later one may understand. Keep it for an upgrade
    /// if it was for one of this device's conversations.
    Unsupported(Unsupported),
    /// It is wrong. Report it, and discard it.
    Invalid(WireError),
}

/// What this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} has a field {number} that this version does not know")]
pub struct Unsupported {
    /// The message in which it stands.
    pub what: &'static str,
    /// The field's number, or that of the conversation type.
    pub number: u32,
}

impl<T> Outcome<T> {
    /// The next step, on what was read.
    pub fn and_then<U>(self, next: impl FnOnce(T) -> Outcome<U>) -> Outcome<U> {
        match self {
            Self::Decoded(value) => next(value),
            Self::NotForUs => Outcome::NotForUs,
            Self::Unsupported(unsupported) => Outcome::Unsupported(unsupported),
            Self::Invalid(error) => Outcome::Invalid(error),
        }
    }

    /// What was read, in another form.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Outcome<U> {
        self.and_then(|value| Outcome::Decoded(form(value)))
    }

    /// What was read, if it was.
    pub fn decoded(self) -> Option<T> {
        match self {
            Self::Decoded(value) => Some(value),
            _ => None,
        }
    }
}

impl<T> From<Result<T, WireError>> for Outcome<T> {
    fn from(result: Result<T, WireError>) -> Self {
        match result {
            Ok(value) => Self::Decoded(value),
            Err(error) => Self::Invalid(error),
        }
    }
}
