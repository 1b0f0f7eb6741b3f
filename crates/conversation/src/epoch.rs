//! What the members of an epoch share: the secret of its hints, and the secret of its outer encryption.

use std::fmt;

use tertulia_domain::ConversationId;
use zeroize::Zeroizing;

use crate::{
    crypto::{decrypt, encrypt, expand, extract, from_key},
    hint::{Hint, Salt},
    types::TypeId,
    wire::{EncryptedBytes, EncryptedFrame, Envelope, Outcome, WireError, pad, unpad},
};

const EXTRACT_LABEL: &str = "tertulia/epoch/v1";
const HINT_LABEL: &[u8] = b"tertulia/epoch/v1 hint";
const OUTER_LABEL: &[u8] = b"tertulia/epoch/v1 outer";
const ENVELOPE_LABEL: &[u8] = b"tertulia/outer/v1";

/// Where an epoch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EpochId {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its type.
    pub conversation_type: TypeId,
    /// The epoch's number.
    pub epoch: u64,
}

/// The secrets of an epoch. Wiped when dropped.
#[derive(Clone)]
pub struct EpochSecrets {
    pub(crate) hint: Zeroizing<[u8; 32]>,
    pub(crate) outer: Zeroizing<[u8; 32]>,
}

impl EpochSecrets {
    /// The secrets of this epoch, from 32 bytes that its members share and nobody else has: of an epoch of MLS those of its exporter (RFC 9420,
    /// section 8.5; `export_secret_key` of the engine), of a private conversation the creation secret, or what a renewal brought.
    ///
    /// Conversation, type and epoch go into them, so that the same 32 bytes give other secrets elsewhere; and the exported bytes
    /// themselves are used for nothing else.
    pub fn derive(shared: &[u8; 32], of: &EpochId) -> Self {
        let key = extract(EXTRACT_LABEL, shared);
        let secret = |label: &[u8]| {
            let EpochId { conversation, conversation_type, epoch } = of;
            expand(
                &key,
                &[label, &conversation_type.to_bytes(), conversation.as_bytes(), &epoch.to_be_bytes()],
            )
        };
        Self { hint: secret(HINT_LABEL), outer: secret(OUTER_LABEL) }
    }

    /// Puts a frame into an envelope.
    ///
    /// Key *and* nonce of the AEAD are derived from 32 random bytes that travel with the envelope. So no nonce repeats under a key,
    /// whatever is restored, copied or forgotten: no counter has to survive, and two envelopes would have to draw the same 256 bits.
    pub(crate) fn seal(
        &self,
        of: &EpochId,
        (hint, salt): (Hint, Salt),
        frame: Vec<u8>,
        key_salt: [u8; 32],
    ) -> Result<Envelope, WireError> {
        let frame =
            Zeroizing::new(EncryptedFrame { conversation_type: of.conversation_type, frame }.encode());
        let (key, nonce) = self.envelope_key(&key_salt);
        let ciphertext = encrypt(&key, nonce, &pad(&frame)?, &bound(of, hint, salt));
        Ok(Envelope { hint, salt, body: EncryptedBytes::EpochSealed { key_salt, ciphertext } })
    }

    /// The frame in an envelope, whose hint has told that it is of this epoch.
    pub(crate) fn open(&self, of: &EpochId, envelope: &Envelope) -> Outcome<EncryptedFrame> {
        let EncryptedBytes::EpochSealed { key_salt, ciphertext } = &envelope.body else {
            return Outcome::Invalid(WireError::WrongScheme);
        };
        let (key, nonce) = self.envelope_key(key_salt);
        let Some(padded) = decrypt(&key, nonce, ciphertext, &bound(of, envelope.hint, envelope.salt)) else {
            return Outcome::Invalid(WireError::Undecryptable);
        };
        match unpad(&padded) {
            Ok(frame) => EncryptedFrame::decode(frame, of.conversation_type),
            Err(error) => Outcome::Invalid(error),
        }
    }

    fn envelope_key(&self, key_salt: &[u8; 32]) -> (Zeroizing<[u8; 32]>, [u8; 12]) {
        let bytes: Zeroizing<[u8; 44]> = expand(&from_key(&self.outer), &[ENVELOPE_LABEL, key_salt]);
        let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; 12]);
        key.copy_from_slice(&bytes[..32]);
        nonce.copy_from_slice(&bytes[32..]);
        (key, nonce)
    }
}

/// What the ciphertext is bound to: where it belongs, and the hint that it travels with.
fn bound(of: &EpochId, hint: Hint, salt: Salt) -> Vec<u8> {
    [
        ENVELOPE_LABEL,
        &of.conversation_type.to_bytes(),
        of.conversation.as_bytes(),
        hint.as_bytes(),
        &salt.number().to_be_bytes(),
    ]
    .concat()
}

impl fmt::Debug for EpochSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochSecrets(…)")
    }
}
