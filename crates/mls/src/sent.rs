//! What this device has sent in an epoch, so that it is known when it comes back.

mod proof;

use std::collections::HashSet;

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};

pub(crate) use self::proof::{OwnMessage, content_of_first, verify};
use crate::record::sha256;

/// How many own messages of an epoch are known again when the hub echoes them.
const MAX_SENT: usize = 16_384;

/// A SHA-256, of which half is enough to know something again.
type Digest = [u8; 16];

/// The messages that this device remembers.
#[derive(Clone, Default)]
pub(crate) struct Sent {
    messages: HashSet<Digest>,
    contents: HashSet<Digest>,
}

/// What an own message is known by: 32 bytes in the journal, or 16 in one of an earlier version, which did not keep what
/// the content is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SentDigest {
    message: Digest,
    content: Option<Digest>,
}

impl SentDigest {
    /// A message, given with its content.
    pub(crate) fn new(message: &[u8], content: ContentDigest) -> Self {
        Self { message: message_digest(message), content: Some(content.0) }
    }

    /// As it is in the journal. None for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (message, content) = bytes.split_first_chunk()?;
        match content.len() {
            0 => Some(Self { message: *message, content: None }),
            _ => Some(Self { message: *message, content: Some(content.try_into().ok()?) }),
        }
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [&self.message[..], self.content.as_ref().map_or(&[], |content| &content[..])].concat()
    }
}

impl Sent {
    /// Says whether there was a place for it.
    pub(crate) fn remember(&mut self, digest: SentDigest) -> bool {
        let has_place = self.messages.len() < MAX_SENT;
        if has_place {
            self.messages.insert(digest.message);
            self.contents.extend(digest.content);
        }
        has_place
    }

    /// Whether this message was sent, or so many were that not all are remembered.
    pub(crate) fn has(&self, message: &[u8]) -> bool {
        self.messages.contains(&message_digest(message)) || self.messages.len() >= MAX_SENT
    }

    /// Whether a message with this content was sent.
    pub(crate) fn has_content(&self, content: ContentDigest) -> bool {
        self.contents.contains(&content.0)
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.contents.clear();
    }

    /// About how many bytes it takes in memory.
    pub(crate) fn size(&self) -> usize {
        32 * (self.messages.len() + self.contents.len())
    }
}

/// What the content of an application message is known by. It is what the sender signs, with the epoch: a signature over it
/// that was seen once fits no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentDigest(Digest);

impl ContentDigest {
    pub(crate) fn new(authenticated_data: &[u8], application_data: &[u8]) -> Self {
        let parts = [&sha256(authenticated_data)[..], &sha256(application_data)].concat();
        Self(half(sha256(&parts)))
    }
}

/// A digest of what the sender data of a message are, and are encrypted with (RFC 9420, section 6.3.2): they have the
/// generation and are random. What follows in the message is not needed to know it again, so that who changes that does not
/// make it another one.
fn message_digest(message: &[u8]) -> Digest {
    half(match PrivateMessage::mls_decode(&mut &*message) {
        Ok(parts) => {
            let sample = &parts.ciphertext[..parts.ciphertext.len().min(SAMPLE)];
            sha256(&[&parts.encrypted_sender_data, sample].concat())
        }
        Err(_) => sha256(message),
    })
}

fn half(sha256: [u8; 32]) -> Digest {
    *sha256.first_chunk().expect("a SHA-256 has more than 16 bytes")
}

/// How much of the ciphertext counts: not more than any ciphersuite samples.
const SAMPLE: usize = 32;

/// An `MLSMessage` with a `PrivateMessage` (RFC 9420, section 6.3).
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct PrivateMessage {
    version: u16,
    wire_format: u16,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    group_id: Vec<u8>,
    epoch: u64,
    content_type: u8,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    authenticated_data: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    encrypted_sender_data: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    ciphertext: Vec<u8>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_of_a_digest_is_the_released_one() {
        let digest = SentDigest { message: [1; 16], content: Some([2; 16]) };
        assert_eq!(digest.to_bytes(), [[1; 16], [2; 16]].concat());
        let without = SentDigest { content: None, ..digest };
        for digest in [digest, without] {
            assert_eq!(SentDigest::from_bytes(&digest.to_bytes()), Some(digest));
        }
        for length in [0, 15, 17, 31, 33] {
            assert_eq!(SentDigest::from_bytes(&vec![0; length]), None, "{length}");
        }
    }

    #[test]
    fn a_content_is_another_one_when_its_parts_are_divided_otherwise() {
        assert_eq!(ContentDigest::new(b"a", b"bc"), ContentDigest::new(b"a", b"bc"));
        assert_ne!(ContentDigest::new(b"a", b"bc"), ContentDigest::new(b"ab", b"c"));
    }
}
