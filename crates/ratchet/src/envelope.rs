//! The bytes of a message on its way to one device.
//!
//! ```text
//! version        1 byte    1
//! kind           1 byte    0 begins a session, 1 goes on with one
//! signature key  32 bytes  of the sending device, where a session begins
//! signature      64 bytes  of the sending device's identity key, where a session begins
//! message        the rest, as Olm writes it
//! ```
//!
//! Who gets the first message of a session must know whose it is without asking the hub. So such a message brings the
//! signature that binds the identity key in it to the device.

use tertulia_domain::limits::MAX_PAIRWISE_CIPHERTEXT_BYTES;
use vodozemac::olm::{Message, OlmMessage, PreKeyMessage};

use crate::{RatchetError, Result, keys::OwnIdentity};

const VERSION: u8 = 1;
const BEGINS: u8 = 0;
const GOES_ON: u8 = 1;

/// A message, taken apart.
#[derive(Debug)]
pub(crate) enum Envelope {
    /// One that begins a session.
    Begins { signature_key: [u8; 32], identity_signature: [u8; 64], message: PreKeyMessage },
    /// One of a session that the sender knows to have two ends.
    GoesOn(Message),
}

/// Writes a message.
pub(crate) fn write(identity: &OwnIdentity, message: &OlmMessage) -> Vec<u8> {
    match message {
        OlmMessage::PreKey(message) => {
            [&[VERSION, BEGINS], &identity.signature_key[..], &identity.signature, &message.to_bytes()]
                .concat()
        }
        OlmMessage::Normal(message) => [&[VERSION, GOES_ON], &message.to_bytes()[..]].concat(),
    }
}

impl Envelope {
    /// Reads a message.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_PAIRWISE_CIPHERTEXT_BYTES {
            return Err(RatchetError::Malformed("it is longer than any message"));
        }
        match bytes {
            [VERSION, BEGINS, rest @ ..] => {
                let (signature_key, rest) = rest.split_first_chunk().ok_or(TRUNCATED)?;
                let (identity_signature, rest) = rest.split_first_chunk().ok_or(TRUNCATED)?;
                let message = PreKeyMessage::from_bytes(rest).map_err(|_| NOT_OLM)?;
                Ok(Self::Begins {
                    signature_key: *signature_key,
                    identity_signature: *identity_signature,
                    message,
                })
            }
            [VERSION, GOES_ON, rest @ ..] => Message::from_bytes(rest).map(Self::GoesOn).map_err(|_| NOT_OLM),
            [VERSION, ..] => Err(RatchetError::Malformed("its kind is not known here")),
            [_, ..] => Err(RatchetError::Malformed("its version is not known here")),
            [] => Err(TRUNCATED),
        }
    }
}

const TRUNCATED: RatchetError = RatchetError::Malformed("it ends too early");
const NOT_OLM: RatchetError = RatchetError::Malformed("what is inside is no Olm message");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 0..3_u8, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Envelope::read(&[&[VERSION, kind], &bytes[..]].concat());
            let _ = Envelope::read(&bytes);
        }
    }

    #[test]
    fn what_is_longer_than_any_message_is_not_looked_into() {
        let long = vec![VERSION; MAX_PAIRWISE_CIPHERTEXT_BYTES + 1];
        assert!(matches!(Envelope::read(&long), Err(RatchetError::Malformed(_))));
    }
}
