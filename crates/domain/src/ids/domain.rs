use std::{fmt, str::FromStr, sync::Arc};

use crate::text::serde_by_text;

/// The name of a hub: a host name in lower case, without port.
///
/// Syntax of RFC 1123, section 2.1: labels of 1–63 letters, digits and inner hyphens, at most 253 bytes in all. A single
/// label such as `localhost` is allowed; an IP address is not, since it names a place on the network and not a hub.
/// Internationalised names are given in their ASCII form (`xn--…`). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<str>);

/// Why a text is not a [`Domain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DomainError {
    /// The name is empty or longer than [`Domain::MAX_LEN`].
    #[error("a domain has 1 to {max} bytes, got {got}", max = Domain::MAX_LEN)]
    Length {
        /// Bytes in the text.
        got: usize,
    },
    /// A part between dots is empty or longer than 63 bytes.
    #[error("each part of a domain between its dots has 1 to 63 characters, got {got}")]
    LabelLength {
        /// Bytes in the part.
        got: usize,
    },
    /// A part starts or ends with a hyphen.
    #[error("no part of a domain starts or ends with '-'")]
    Hyphen,
    /// A character is not allowed; a port would be found by its colon.
    #[error("{found:?} is not allowed in a domain; use letters, digits, '-' and '.', and no port")]
    Character {
        /// The first such character.
        found: char,
    },
    /// The last part is a number, as in an IPv4 address.
    #[error("a domain is a name, not an IP address")]
    Address,
}

impl Domain {
    /// Longest domain, in bytes (RFC 1035, section 2.3.4, less the length octets of the first label and the root).
    pub const MAX_LEN: usize = 253;

    /// The domain of a hub that serves its own machine only.
    pub fn localhost() -> Self {
        Self(Arc::from("localhost"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    /// Reads a host name in either case and keeps it in lower case.
    fn from_str(text: &str) -> Result<Self, DomainError> {
        if !(1..=Self::MAX_LEN).contains(&text.len()) {
            return Err(DomainError::Length { got: text.len() });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if let Some(found) = text.chars().find(|&c| !allowed(c)) {
            return Err(DomainError::Character { found });
        }
        for label in text.split('.') {
            if !(1..=63).contains(&label.len()) {
                return Err(DomainError::LabelLength { got: label.len() });
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(DomainError::Hyphen);
            }
        }
        let last = text.rsplit('.').next().unwrap_or(text);
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DomainError::Address);
        }
        Ok(Self(Arc::from(text.to_ascii_lowercase())))
    }
}

impl AsRef<str> for Domain {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({self})")
    }
}

serde_by_text!(Domain, "a host name without port");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn host_names_are_kept_in_lower_case() {
        for (text, kept) in [
            ("localhost", "localhost"),
            ("Hub.Example.COM", "hub.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("3com.com", "3com.com"),
            ("1.example", "1.example"),
        ] {
            assert_eq!(text.parse::<Domain>().unwrap().as_str(), kept);
        }
        assert_eq!(Domain::localhost(), "localhost".parse().unwrap());
        let longest = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        assert_eq!(longest.len(), Domain::MAX_LEN);
        assert!(longest.parse::<Domain>().is_ok());
        assert_eq!(format!("{longest}d").parse::<Domain>(), Err(DomainError::Length { got: 254 }));
    }

    #[test]
    fn each_fault_is_named() {
        for (text, fault) in [
            ("", DomainError::Length { got: 0 }),
            ("hub.example:443", DomainError::Character { found: ':' }),
            ("hub_1.example", DomainError::Character { found: '_' }),
            ("bücher.example", DomainError::Character { found: 'ü' }),
            ("hub..example", DomainError::LabelLength { got: 0 }),
            ("hub.example.", DomainError::LabelLength { got: 0 }),
            ("-hub.example", DomainError::Hyphen),
            ("hub-.example", DomainError::Hyphen),
            ("127.0.0.1", DomainError::Address),
            ("1", DomainError::Address),
        ] {
            assert_eq!(text.parse::<Domain>(), Err(fault), "{text}");
        }
    }
}
