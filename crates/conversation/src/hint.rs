//! Hints: how a receiver finds the conversation of an envelope, and nobody else does.
//!
//! A **salted** hint is a hash of the conversation's id with a random salt: the receiver tries each conversation. A **ratcheted** hint is the
//! next value of a chain that the members of an epoch have for each sender. The receiver has the next values of all chains in a
//! [table](HintTable), in which it finds one in constant time; to others each is as good as random.

mod error;
mod lane;
mod ratcheted;
mod record;
mod table;

pub use error::HintError;
pub use ratcheted::Kind;
pub use table::{EpochStart, HintTable, Opened, Origin, Place, Sealed, SenderPlace};

use std::fmt;

use rand::{CryptoRng, RngExt as _};
use tertulia_domain::ConversationId;

use crate::{crypto::hash, wire::WireError};

pub(crate) const SALTED_LABEL: &str = "tertulia/hint/salted/v1";

/// How many hints of each sender are known in advance, of the application kind.
pub const APPLICATION_WINDOW: u32 = 32;
/// How many hints of each sender are known in advance, of the handshake kind.
pub const HANDSHAKE_WINDOW: u32 = 4;

/// By what a receiver finds the conversation of an envelope: 16 bytes, in lower-case hexadecimal on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hint([u8; 16]);

impl Hint {
    /// The hint with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the text on the wire.
    pub(crate) fn parse(text: &str) -> Result<Self, WireError> {
        let mut bytes = [0; 16];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if !text.bytes().any(|byte| byte.is_ascii_uppercase()) => Ok(Self(bytes)),
            _ => Err(WireError::Hint),
        }
    }

    /// The salted hint of a conversation.
    pub fn salted(conversation: &ConversationId, salt: Salt) -> Self {
        Self::truncated(hash(SALTED_LABEL, &[&salt.0.to_be_bytes(), conversation.as_bytes()]))
    }

    pub(crate) fn truncated(hash: [u8; 32]) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Self(bytes)
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hint({}…)", hex::encode(&self.0[..4]))
    }
}

/// What a salted hint is made with; [`NONE`](Self::NONE) beside a ratcheted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salt(u32);

impl Salt {
    /// Beside a ratcheted hint.
    pub const NONE: Self = Self(0);
    /// The least salt of a salted hint. From here on all take five bytes on the wire.
    const LEAST: u32 = 1 << 28;

    /// A random salt for a salted hint.
    pub fn random(random: &mut impl CryptoRng) -> Self {
        Self(random.random_range(Self::LEAST..=u32::MAX))
    }

    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self.0
    }

    pub(crate) const fn read(number: u32) -> Result<Self, WireError> {
        if number == 0 || number >= Self::LEAST { Ok(Self(number)) } else { Err(WireError::Salt) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salted_hint_depends_on_salt_and_conversation() {
        let hint = |id, salt| Hint::salted(&ConversationId::from_bytes([id; 16]), Salt(salt));
        assert_eq!(hint(1, 1 << 28), hint(1, 1 << 28));
        assert_ne!(hint(1, 1 << 28), hint(2, 1 << 28));
        assert_ne!(hint(1, 1 << 28), hint(1, 1 << 29));
    }

    #[test]
    fn a_hint_has_one_spelling() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(Hint::parse(text).map(|hint| hint.to_string()), Ok(text.to_owned()));
        for other in ["", &text.to_uppercase(), &text[1..], &format!("{text}0"), &format!("0x{}", &text[2..])]
        {
            assert_eq!(Hint::parse(other), Err(WireError::Hint), "{other}");
        }
    }

    #[test]
    fn a_hint_is_shortened_in_logs() {
        assert_eq!(format!("{:?}", Hint([0xab; 16])), "Hint(abababab…)");
    }
}
