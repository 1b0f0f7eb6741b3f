use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::text::serde_by_text;

/// Why a text is not a [`UserId`] or [`ConversationId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UuidError {
    /// The text is not a UUID in its hyphenated form of 36 characters.
    #[error("not a UUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")]
    Malformed,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Length of the binary form, in bytes.
            pub const LEN: usize = 16;

            /// The id with this UUID.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// A new id: a version 4 UUID, 122 random bits from the operating system.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// The id with these bytes, in network order.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The id's 16 bytes, in network order.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The UUID itself.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// The first eight characters, for logs. Not unique.
            pub fn short(&self) -> String {
                let [a, b, c, d, ..] = *self.as_bytes();
                hex::encode([a, b, c, d])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = UuidError;

            /// Reads the hyphenated form, in either case. The UUID's other spellings (without hyphens, in braces, as
            /// URN) are refused: an id is also a path segment and a database key.
            fn from_str(text: &str) -> Result<Self, UuidError> {
                if text.len() != uuid::fmt::Hyphenated::LENGTH {
                    return Err(UuidError::Malformed);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| UuidError::Malformed)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        serde_by_text!($name, "a UUID in its hyphenated form");
    };
}

uuid_id! {
    /// A person's account on a hub. Together with the hub's [`Domain`](super::Domain) it is unique in the world.
    UserId
}

uuid_id! {
    /// A conversation. Random for groups and channels, the user's id for `self`, derived from both users for a 1:1.
    ConversationId
}

uuid_id! {
    /// A team on a hub. Random.
    TeamId
}

impl ConversationId {
    /// The `self` conversation of a user, which has the user's id.
    pub const fn self_of(user: UserId) -> Self {
        Self(user.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47";

    #[test]
    fn an_id_is_written_as_it_is_read() {
        let id: UserId = TEXT.parse().unwrap();
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(id.short(), "f3b0c4a2");
        assert_eq!(UserId::from_bytes(*id.as_bytes()), id);
        assert_eq!(format!("{id:?}"), format!("UserId({TEXT})"));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{TEXT}\""));
        assert_eq!(serde_json::from_str::<UserId>(&json).unwrap(), id);
    }

    #[test]
    fn upper_case_is_read_and_lower_case_written() {
        let id: ConversationId = TEXT.to_uppercase().parse().unwrap();
        assert_eq!(id.to_string(), TEXT);
    }

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        let bare = TEXT.replace('-', "");
        let misplaced = "f3b0c4a27-d1e-4c55-9a38-2b6e0d9f1c47";
        for text in ["", "f3b0", &bare, &format!("{{{TEXT}}}"), &format!("urn:uuid:{TEXT}"), misplaced] {
            assert_eq!(text.parse::<UserId>(), Err(UuidError::Malformed), "{text}");
            assert!(serde_json::from_str::<UserId>(&format!("{text:?}")).is_err());
        }
        assert!(serde_json::from_str::<UserId>("7").is_err());
    }

    #[test]
    fn the_self_conversation_has_the_id_of_its_user() {
        let user = UserId::random();
        assert_eq!(ConversationId::self_of(user).as_uuid(), user.as_uuid());
    }
}
