//! The salt of a message and the id that is computed from it (section 3.3).

use std::fmt;
use std::str::FromStr;

use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};

use crate::error::{InvalidContent, MessageIdError};

/// SHA-256 in IANA's registry of named-information hash algorithms.
const SHA_256: u8 = 1;

/// 16 random bytes that make every message unlike any other, even with the same text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Salt([u8; Self::SIZE]);

impl Salt {
    /// The size of a salt, in bytes.
    pub const SIZE: usize = 16;

    /// A new salt from the operating system's random source.
    ///
    /// # Panics
    /// When the operating system has no randomness to give; no message may be made then.
    pub fn random() -> Self {
        let mut bytes = [0; Self::SIZE];
        SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
        Self(bytes)
    }

    /// A salt with these bytes. Only a salt that was random when it was made keeps ids unpredictable.
    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        Self(bytes)
    }

    /// The bytes of this salt.
    pub fn as_bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }
}

/// The name of a message: a hash algorithm (one byte, always SHA-256) and the first 31 bytes of a hash.
///
/// It is never sent with the message itself: each receiver computes it, from the sender and the room that it knows from MLS, and others refer to it to
/// reply, react, edit and delete. The order of ids is that of their bytes, which decides between messages of the same time (section 5.11).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; Self::SIZE]);

impl MessageId {
    /// The size of an id, in bytes.
    pub const SIZE: usize = 32;

    /// The id of the message with these bytes.
    ///
    /// `content` is the message as [encoded](crate::MimiContent::encode), `salt` the one inside of it. Both URIs must be those of the authenticated MLS
    /// sender and group, not ones that the message claims for itself.
    ///
    /// # Errors
    /// [`InvalidContent::UriTooLong`] for a URI of more than 65 535 bytes.
    pub fn compute(
        sender_uri: &str,
        room_uri: &str,
        content: &[u8],
        salt: &Salt,
    ) -> Result<Self, InvalidContent> {
        let mut hash = Sha256::new();
        for uri in [sender_uri, room_uri] {
            let size =
                u16::try_from(uri.len()).map_err(|_| InvalidContent::UriTooLong { size: uri.len() })?;
            hash.update(size.to_be_bytes());
            hash.update(uri);
        }
        hash.update(content);
        // Once more at the end, against extending the hash by more content.
        hash.update(salt.0);
        let mut id = [SHA_256; Self::SIZE];
        id[1..].copy_from_slice(&hash.finalize()[..Self::SIZE - 1]);
        Ok(Self(id))
    }

    /// The id with these bytes, as stored or received.
    ///
    /// # Errors
    /// [`MessageIdError::UnknownHashAlgorithm`] unless the first byte is 1 (section 9.1).
    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Result<Self, MessageIdError> {
        match bytes[0] {
            SHA_256 => Ok(Self(bytes)),
            algorithm => Err(MessageIdError::UnknownHashAlgorithm { algorithm }),
        }
    }

    /// The bytes of this id.
    pub fn as_bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }
}

/// 64 lower-case hexadecimal digits.
impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        let mut bytes = [0; Self::SIZE];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| MessageIdError::NotHex)?;
        Self::from_bytes(bytes)
    }
}
