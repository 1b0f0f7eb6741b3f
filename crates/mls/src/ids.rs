//! Names of conversations and clients: opaque bytes.

use std::fmt;

/// The id of a conversation, which is the group id of its MLS group: opaque bytes, chosen by the application.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId(Vec<u8>);

/// The identity of a member: the content of its basic credential (RFC 9420, section 5.3).
///
/// Which identities are accepted is decided by the session's [`ClientIdPolicy`](crate::ClientIdPolicy).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Vec<u8>);

/// A [`ConversationId`] behind a reference: the original has a type of its own for what is borrowed.
pub type ConversationIdRef = ConversationId;

/// A [`ClientId`] behind a reference: the original has a type of its own for what is borrowed.
pub type ClientIdRef = ClientId;

impl ClientId {
    /// The identity as text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

macro_rules! opaque {
    ($name:ident) => {
        impl $name {
            /// The bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The bytes, without a copy.
            pub fn into_bytes(self) -> Vec<u8> {
                self.0
            }
        }

        impl From<Vec<u8>> for $name {
            fn from(bytes: Vec<u8>) -> Self {
                Self(bytes)
            }
        }

        impl From<&[u8]> for $name {
            fn from(bytes: &[u8]) -> Self {
                Self(bytes.to_vec())
            }
        }

        impl<const N: usize> From<&[u8; N]> for $name {
            fn from(bytes: &[u8; N]) -> Self {
                Self(bytes.to_vec())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.as_bytes().to_vec())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into_bytes())
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

opaque!(ConversationId);
opaque!(ClientId);

/// Eight hex digits: enough for a log line.
impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..self.0.len().min(4)]))
    }
}

/// The text in short, for a log line: what stands before each `-`, `:` and `@` is cut to eight characters.
impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str().and_then(|text| text.split_once(':')) {
            Some((user, rest)) => {
                let device = rest.split('@').next().unwrap_or(rest);
                write!(f, "{}:{}", first(user), first(device))
            }
            None => f.write_str(&hex::encode(&self.0[..self.0.len().min(4)])),
        }
    }
}

fn first(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_in_logs() {
        let client = ClientId::from("f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47:00c0ffee00c0ffee@hub.example.com");
        assert_eq!(client.to_string(), "f3b0c4a2:00c0ffee");
        assert_eq!(format!("{:?}", ConversationId::from(&[1, 2, 3, 4, 5])), "ConversationId(01020304)");
        assert_eq!(ClientId::from(&[0xff, 1]).to_string(), "ff01");
        assert_eq!(ClientId::from(&[0xff, 1]).as_str(), None);
    }
}
