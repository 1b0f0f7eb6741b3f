//! The envelope, and what is in it before and behind the encryption.

use prost::Message as _;

use super::{
    LARGEST_CLASS, MAX_FRAME, Outcome, Unsupported, WireError,
    canonical::{self, Field, Shape, nested, number, octets},
    generated as wire,
    padding::is_class,
};
use crate::{
    hint::{Hint, Salt},
    types::TypeId,
};

/// The bytes that an AEAD adds.
pub(crate) const TAG: usize = 16;
/// The bytes of an HPKE encapsulated key, and of the salt that an envelope's key is derived with.
pub(crate) const HEADER: usize = 32;

/// The longest envelope, in bytes.
pub const MAX_ENVELOPE: usize = LARGEST_CLASS + TAG + HEADER + 64;

const CIPHERTEXT: &[Field] = &[octets(1), octets(2)];
const HPKE: Shape = Shape { name: "HPKE ciphertext", fields: CIPHERTEXT };
const EPOCH_SEALED: Shape = Shape { name: "epoch ciphertext", fields: CIPHERTEXT };
const ENCRYPTED: Shape =
    Shape { name: "encrypted bytes", fields: &[nested(1, &HPKE), nested(2, &EPOCH_SEALED)] };
const ENVELOPE: Shape = Shape { name: "envelope", fields: &[octets(1), number(2), nested(10, &ENCRYPTED)] };
const FRAME: Shape = Shape { name: "encrypted frame", fields: &[number(1), octets(2)] };

/// All that a carrier sees of a conversation: `UmbraEnvelopeV1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// By what a receiver finds the conversation.
    pub hint: Hint,
    /// What the hint was made with, if it is a salted one.
    pub salt: Salt,
    /// What only members can read.
    pub body: EncryptedBytes,
}

/// What only members can read, by how it is encrypted. Its length is that of a size class.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncryptedBytes {
    /// To a published key.
    Hpke {
        /// The encapsulated key.
        encapsulated_key: [u8; HEADER],
        /// The padded frame and the tag.
        ciphertext: Vec<u8>,
    },
    /// Under a key that the members of an epoch share.
    EpochSealed {
        /// What this envelope's own key is derived with.
        key_salt: [u8; HEADER],
        /// The padded frame and the tag.
        ciphertext: Vec<u8>,
    },
}

impl Envelope {
    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        let scheme = match &self.body {
            EncryptedBytes::Hpke { encapsulated_key, ciphertext } => {
                wire::encrypted_bytes::Scheme::Hpke(wire::Hpke {
                    encapsulated_key: encapsulated_key.to_vec(),
                    ciphertext: ciphertext.clone(),
                })
            }
            EncryptedBytes::EpochSealed { key_salt, ciphertext } => {
                wire::encrypted_bytes::Scheme::EpochSealed(wire::EpochSealed {
                    key_salt: key_salt.to_vec(),
                    ciphertext: ciphertext.clone(),
                })
            }
        };
        wire::UmbraEnvelopeV1 {
            conversation_hint: self.hint.to_string(),
            salt: self.salt.number(),
            encrypted_bytes: Some(wire::EncryptedBytes { scheme: Some(scheme) }),
        }
        .encode_to_vec()
    }

    /// Reads an envelope. It is never [`Outcome::NotForUs`]: that is told by who knows the hints.
    pub fn decode(bytes: &[u8]) -> Outcome<Self> {
        canonical::decode(bytes, &ENVELOPE, MAX_ENVELOPE).and_then(|envelope| Self::read(envelope).into())
    }

    /// What of bytes that are [`Outcome::Unsupported`] tells whether they are of a conversation of this device, so that nobody can
    /// fill its store with what looks like the future.
    pub fn hint_of_unsupported(bytes: &[u8]) -> Option<(Hint, Salt)> {
        let Outcome::Unsupported(_) = Self::decode(bytes) else { return None };
        let envelope = wire::UmbraEnvelopeV1::decode(bytes).ok()?;
        Some((Hint::parse(&envelope.conversation_hint).ok()?, Salt::read(envelope.salt).ok()?))
    }

    fn read(envelope: wire::UmbraEnvelopeV1) -> Result<Self, WireError> {
        let hint = Hint::parse(&envelope.conversation_hint)?;
        let salt = Salt::read(envelope.salt)?;
        let scheme = envelope.encrypted_bytes.and_then(|encrypted| encrypted.scheme);
        let body = match scheme.ok_or(WireError::Missing { what: "envelope", part: "encrypted bytes" })? {
            wire::encrypted_bytes::Scheme::Hpke(wire::Hpke { encapsulated_key, ciphertext }) => {
                let encapsulated_key = exactly("encapsulated key", &encapsulated_key)?;
                EncryptedBytes::Hpke { encapsulated_key, ciphertext: of_a_class(ciphertext)? }
            }
            wire::encrypted_bytes::Scheme::EpochSealed(wire::EpochSealed { key_salt, ciphertext }) => {
                let key_salt = exactly("salt of the key", &key_salt)?;
                EncryptedBytes::EpochSealed { key_salt, ciphertext: of_a_class(ciphertext)? }
            }
        };
        Ok(Self { hint, salt, body })
    }
}

/// What stands inside the encryption: a frame, and the type that says how to read it.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptedFrame {
    /// The conversation's type.
    pub conversation_type: TypeId,
    /// The frame, in the encoding of that type.
    pub frame: Vec<u8>,
}

impl EncryptedFrame {
    /// Its bytes, without padding.
    pub fn encode(&self) -> Vec<u8> {
        let conversation_type = self.conversation_type.number().into();
        wire::EncryptedFrame { conversation_type, frame: self.frame.clone() }.encode_to_vec()
    }

    /// Reads a frame that was found in a conversation of this type.
    pub fn decode(bytes: &[u8], expected: TypeId) -> Outcome<Self> {
        canonical::decode(bytes, &FRAME, MAX_FRAME).and_then(
            |frame: wire::EncryptedFrame| match u16::try_from(frame.conversation_type) {
                Ok(0) => Outcome::Invalid(WireError::Missing { what: FRAME.name, part: "conversation type" }),
                Ok(got) if got == expected.number() => {
                    Outcome::Decoded(Self { conversation_type: expected, frame: frame.frame })
                }
                Ok(got) => Outcome::Invalid(WireError::WrongType { got, expected: expected.number() }),
                Err(_) => Outcome::Unsupported(Unsupported { what: FRAME.name, number: 1 }),
            },
        )
    }
}

impl std::fmt::Debug for EncryptedFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncryptedFrame({}, {} bytes)", self.conversation_type, self.frame.len())
    }
}

/// A part of a fixed length.
pub(crate) fn exactly<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| WireError::Length { what, size: bytes.len(), expected: N })
}

fn of_a_class(ciphertext: Vec<u8>) -> Result<Vec<u8>, WireError> {
    if ciphertext.len().checked_sub(TAG).is_some_and(is_class) {
        Ok(ciphertext)
    } else {
        Err(WireError::SizeClass { size: ciphertext.len() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn envelope() -> Envelope {
        Envelope {
            hint: Hint::from_bytes([0xab; 16]),
            salt: Salt::NONE,
            body: EncryptedBytes::EpochSealed { key_salt: [1; 32], ciphertext: vec![2; 1024 + TAG] },
        }
    }

    #[test]
    fn an_envelope_is_read_as_it_was_written() {
        let envelope = envelope();
        assert_eq!(Envelope::decode(&envelope.encode()), Outcome::Decoded(envelope.clone()));
        let salt = Salt::read(1 << 28).unwrap();
        let body = EncryptedBytes::Hpke { encapsulated_key: [3; 32], ciphertext: vec![2; 2048 + TAG] };
        let first_contact = Envelope { salt, body, ..envelope };
        assert_eq!(Envelope::decode(&first_contact.encode()), Outcome::Decoded(first_contact.clone()));
        let largest =
            EncryptedBytes::Hpke { encapsulated_key: [3; 32], ciphertext: vec![2; LARGEST_CLASS + TAG] };
        let largest = Envelope { body: largest, ..first_contact }.encode();
        assert!(largest.len() <= MAX_ENVELOPE);
        assert!(Envelope::decode(&largest).decoded().is_some());
    }

    #[test]
    fn the_length_tells_the_size_class_and_no_more() {
        let length = |salt, hint| {
            Envelope { salt: Salt::read(salt).unwrap(), hint: Hint::from_bytes([hint; 16]), ..envelope() }
                .encode()
                .len()
        };
        assert_eq!(length(0, 0), length(0, 255));
        assert_eq!(length(1 << 28, 0), length(u32::MAX, 255));
    }

    #[test]
    fn an_envelope_that_was_changed_without_changing_what_it_says_is_refused() {
        let bytes = envelope().encode();
        let zero_salt = [&bytes[..34], &[0x10, 0], &bytes[34..]].concat();
        assert_eq!(
            Envelope::decode(&zero_salt),
            Outcome::Invalid(WireError::NotCanonical { what: "envelope" })
        );
        let long_length = [&[0x0a, 0xa0, 0x00][..], &bytes[2..]].concat();
        assert_eq!(
            Envelope::decode(&long_length),
            Outcome::Invalid(WireError::NotCanonical { what: "envelope" })
        );
        let (hint, body) = bytes.split_at(34);
        let reordered = [body, hint].concat();
        assert_eq!(
            Envelope::decode(&reordered),
            Outcome::Invalid(WireError::NotCanonical { what: "envelope" })
        );
        let twice = [hint, hint, body].concat();
        let repeated = WireError::Repeated { what: "envelope", number: 1, max: 1 };
        assert_eq!(Envelope::decode(&twice), Outcome::Invalid(repeated));
        for cut in 0..bytes.len() {
            assert!(matches!(Envelope::decode(&bytes[..cut]), Outcome::Invalid(_)), "cut at {cut}");
        }
    }

    #[test]
    fn what_a_later_version_adds_is_kept_if_its_hint_is_known() {
        let later = [&envelope().encode()[..], &[0x58, 7]].concat();
        assert_eq!(
            Envelope::decode(&later),
            Outcome::Unsupported(Unsupported { what: "envelope", number: 11 })
        );
        assert_eq!(Envelope::hint_of_unsupported(&later), Some((envelope().hint, Salt::NONE)));
        assert_eq!(Envelope::hint_of_unsupported(&envelope().encode()), None);
        // Another encryption: field 3 in the encrypted bytes.
        let bytes = envelope().encode();
        let other = [&bytes[..34], &[0x52, 2, 0x1a, 0]].concat();
        let unsupported = Unsupported { what: "encrypted bytes", number: 3 };
        assert_eq!(Envelope::decode(&other), Outcome::Unsupported(unsupported));
    }

    #[test]
    fn each_part_has_its_form() {
        let with = |hint: &str, salt, encrypted_bytes| {
            let conversation_hint = hint.to_owned();
            Envelope::decode(
                &wire::UmbraEnvelopeV1 { conversation_hint, salt, encrypted_bytes }.encode_to_vec(),
            )
        };
        let hint = "ab".repeat(16);
        assert_eq!(with("", 0, None), Outcome::Invalid(WireError::Hint));
        assert_eq!(with(&hint.to_uppercase(), 0, None), Outcome::Invalid(WireError::Hint));
        assert_eq!(with(&hint, 1, None), Outcome::Invalid(WireError::Salt));
        let missing = WireError::Missing { what: "envelope", part: "encrypted bytes" };
        assert_eq!(with(&hint, 0, None), Outcome::Invalid(missing));
        let sealed = |key_salt: usize, ciphertext: usize| {
            let sealed = wire::EpochSealed { key_salt: vec![0; key_salt], ciphertext: vec![0; ciphertext] };
            Some(wire::EncryptedBytes { scheme: Some(wire::encrypted_bytes::Scheme::EpochSealed(sealed)) })
        };
        let length = WireError::Length { what: "salt of the key", size: 31, expected: 32 };
        assert_eq!(with(&hint, 0, sealed(31, 1040)), Outcome::Invalid(length));
        for size in [0, 15, 1024, 1041] {
            assert_eq!(with(&hint, 0, sealed(32, size)), Outcome::Invalid(WireError::SizeClass { size }));
        }
    }

    #[test]
    fn a_frame_of_another_type_is_refused() {
        let frame = EncryptedFrame { conversation_type: TypeId::new(4), frame: vec![1, 2, 3] };
        let bytes = frame.encode();
        assert_eq!(EncryptedFrame::decode(&bytes, TypeId::new(4)), Outcome::Decoded(frame));
        let wrong = WireError::WrongType { got: 4, expected: 3 };
        assert_eq!(EncryptedFrame::decode(&bytes, TypeId::new(3)), Outcome::Invalid(wrong));
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_outcome(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Outcome::Decoded(envelope) = Envelope::decode(&bytes) {
                prop_assert_eq!(envelope.encode(), bytes.clone());
            }
            let _ = EncryptedFrame::decode(&bytes, TypeId::new(4));
            let _ = Envelope::hint_of_unsupported(&bytes);
        }

        #[test]
        fn a_damaged_envelope_is_another_one_or_none(at in 0_usize..1140, bit in 0_u8..8) {
            let mut bytes = envelope().encode();
            let index = at % bytes.len();
            bytes[index] ^= 1 << bit;
            if let Outcome::Decoded(other) = Envelope::decode(&bytes) {
                prop_assert_ne!(other, envelope());
            }
        }
    }
}
