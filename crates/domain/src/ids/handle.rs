use std::{fmt, str::FromStr, sync::Arc};

use crate::text::serde_by_text;

/// The name that a person chooses and others find them by, unique on a hub. Cheap to clone.
///
/// 2–32 characters `[a-z0-9_.-]`, the first a letter or a digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(Arc<str>);

/// Why a text is not a [`Handle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// Too short or too long.
    #[error(
        "a handle has {min} to {max} characters, got {got}",
        min = Handle::MIN_LEN,
        max = Handle::MAX_LEN
    )]
    Length {
        /// Characters in the text, a leading `@` not counted.
        got: usize,
    },
    /// A character is not allowed.
    #[error("{found:?} is not allowed in a handle; use a-z, 0-9, '_', '.' and '-'")]
    Character {
        /// The first such character.
        found: char,
    },
    /// The first character is a sign.
    #[error("a handle starts with a letter or a digit, not with {found:?}")]
    Start {
        /// The first character.
        found: char,
    },
}

impl Handle {
    /// Shortest handle, in characters.
    pub const MIN_LEN: usize = 2;
    /// Longest handle, in characters, which are bytes here.
    pub const MAX_LEN: usize = 32;

    /// What the handles of guests begin with, and no other's.
    const GUEST: &str = "guest-";

    /// The handle of a guest, made of a random number.
    pub fn of_guest(number: u64) -> Self {
        Self(Arc::from(format!("{}{number:016x}", Self::GUEST)))
    }

    /// Whether it is kept for guests: nobody else gets it, so that nobody is taken for one.
    pub fn is_for_guests(&self) -> bool {
        self.0.starts_with(Self::GUEST)
    }

    /// The handle, without `@`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight characters, for logs. Not unique.
    pub fn short(&self) -> String {
        self.0.chars().take(8).collect()
    }
}

impl FromStr for Handle {
    type Err = HandleError;

    /// Reads a handle as a person types it: in either case, with or without one `@` before it.
    fn from_str(text: &str) -> Result<Self, HandleError> {
        let text = text.strip_prefix('@').unwrap_or(text);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if let Some(found) = text.chars().find(|&c| !allowed(c)) {
            return Err(HandleError::Character { found });
        }
        if !(Self::MIN_LEN..=Self::MAX_LEN).contains(&text.len()) {
            return Err(HandleError::Length { got: text.len() });
        }
        match text.chars().next() {
            Some(found) if !found.is_ascii_alphanumeric() => Err(HandleError::Start { found }),
            _ => Ok(Self(Arc::from(text.to_ascii_lowercase()))),
        }
    }
}

impl AsRef<str> for Handle {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({self})")
    }
}

serde_by_text!(Handle, "a handle");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_handle_is_read_as_people_type_it() {
        for (text, kept) in [("ana", "ana"), ("@Ana", "ana"), ("a.b-c_9", "a.b-c_9"), ("42", "42")] {
            let handle: Handle = text.parse().unwrap();
            assert_eq!(handle.as_str(), kept);
            assert_eq!(serde_json::to_string(&handle).unwrap(), format!("\"{kept}\""));
        }
        assert!("a".repeat(32).parse::<Handle>().is_ok());
        assert_eq!("maximiliana".parse::<Handle>().unwrap().short(), "maximili");
    }

    #[test]
    fn a_guest_has_a_handle_that_nobody_chooses() {
        let handle = Handle::of_guest(0x00c0_ffee);
        assert_eq!(handle.as_str(), "guest-0000000000c0ffee");
        assert_eq!(handle.as_str().parse(), Ok(handle.clone()));
        assert!(handle.is_for_guests() && Handle::of_guest(u64::MAX).is_for_guests());
        for other in ["guest", "guests-of-honour", "my-guest-1"] {
            assert!(!other.parse::<Handle>().unwrap().is_for_guests(), "{other}");
        }
    }

    #[test]
    fn each_fault_is_named() {
        let long = "a".repeat(33);
        for (text, fault) in [
            ("", HandleError::Length { got: 0 }),
            ("@a", HandleError::Length { got: 1 }),
            (long.as_str(), HandleError::Length { got: 33 }),
            ("@@ana", HandleError::Character { found: '@' }),
            ("ana garcia", HandleError::Character { found: ' ' }),
            ("josé", HandleError::Character { found: 'é' }),
            // The Kelvin sign lower-cases to an ASCII `k` in Unicode.
            ("\u{212a}im", HandleError::Character { found: '\u{212a}' }),
            (".ana", HandleError::Start { found: '.' }),
            ("_ana", HandleError::Start { found: '_' }),
        ] {
            assert_eq!(text.parse::<Handle>(), Err(fault), "{text}");
        }
    }
}
