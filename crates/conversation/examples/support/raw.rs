//! Envelopes with anything in them, made from `docs/spec` and not by the crate: what somebody can send who has the key and does not keep to the rules.

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _,
    aead::{Aead as _, Payload},
};
use hkdf::Hkdf;
use hpke::{
    Deserializable as _, OpModeS, Serializable as _, aead::ChaCha20Poly1305 as HpkeAead, kdf::HkdfSha256,
    kem::X25519HkdfSha256 as X25519,
};
use rand::CryptoRng;
use sha2::Sha256;
use tertulia_conversation::{
    EpochId,
    hint::{Hint, Salt},
    inbox::Bundle,
    wire::{EncryptedBytes, Envelope, SMALLEST_CLASS},
};

/// Bytes of the length in front of a padded frame.
const LENGTH: usize = 4;

/// A frame, padded to its class.
pub fn padded(frame: &[u8]) -> Vec<u8> {
    padded_to(frame, (LENGTH + frame.len()).max(SMALLEST_CLASS).next_power_of_two())
}

/// A frame, padded to so many bytes.
pub fn padded_to(frame: &[u8], class: usize) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("a frame has no four gigabytes");
    let mut padded = [&length.to_be_bytes()[..], frame].concat();
    padded.resize(class, 0);
    padded
}

/// A field of Protocol Buffers with bytes in it, of a number below 16.
pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&varint(u64::from(number) << 3 | 2)[..], &varint(bytes.len() as u64), bytes].concat()
}

/// A number, as Protocol Buffers has it.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// An `EncryptedFrame` of the type of this number.
pub fn encrypted_frame(conversation_type: u64, frame: &[u8]) -> Vec<u8> {
    [&[0x08][..], &varint(conversation_type), &field(2, frame)].concat()
}

/// Encrypts bytes under the key of an epoch, as `envelope.md` says.
pub fn seal_in_epoch(
    shared: &[u8; 32],
    of: &EpochId,
    (hint, salt): (Hint, Salt),
    padded: &[u8],
    key_salt: [u8; 32],
) -> Envelope {
    let EpochId { conversation, conversation_type, epoch } = of;
    let number = conversation_type.number().to_be_bytes();
    let mut outer = [0; 32];
    let place = [&number[..], conversation.as_bytes(), &epoch.to_be_bytes()].concat();
    Hkdf::<Sha256>::new(Some(b"tertulia/epoch/v1"), shared)
        .expand_multi_info(&[b"tertulia/epoch/v1 outer", &place], &mut outer)
        .expect("32 bytes are one hash");
    let mut key = [0; 44];
    Hkdf::<Sha256>::from_prk(&outer)
        .expect("32 bytes are as long as a hash")
        .expand_multi_info(&[b"tertulia/outer/v1", &key_salt], &mut key)
        .expect("44 bytes are two hashes");
    let (key, nonce) = key.split_first_chunk::<32>().expect("44 bytes are more than 32");
    let nonce: [u8; 12] = nonce.try_into().expect("12 bytes are left of 44");
    let aad = [
        &b"tertulia/outer/v1"[..],
        &number,
        conversation.as_bytes(),
        hint.as_bytes(),
        &salt.number().to_be_bytes(),
    ]
    .concat();
    let ciphertext = ChaCha20Poly1305::new(key.into())
        .encrypt(&nonce.into(), Payload { msg: padded, aad: &aad })
        .expect("it is short");
    Envelope { hint, salt, body: EncryptedBytes::EpochSealed { key_salt, ciphertext } }
}

/// Encrypts bytes to the first device of a bundle, as `inbox-v1.md` says. They are made from what is signed in front of an invitation: the inbox address, the
/// inbox key and the encapsulated key.
pub fn seal_to_inbox(
    receiver: &Bundle,
    padded: impl FnOnce(&[u8]) -> Vec<u8>,
    random: &mut impl CryptoRng,
) -> Envelope {
    let address = receiver.inbox_address();
    let to = receiver.content().devices.first().expect("a bundle has a device").inbox_key;
    let key = <X25519 as hpke::Kem>::PublicKey::from_bytes(&to).expect("a bundle's key is one");
    let info = [&b"tertulia/inbox/v1 hpke"[..], address.as_bytes()].concat();
    let (encapsulated, mut context) =
        hpke::setup_sender_with_rng::<HpkeAead, HkdfSha256, X25519>(&OpModeS::Base, &key, &info, random)
            .expect("a bundle's key is fit");
    let encapsulated_key: [u8; 32] = encapsulated.to_bytes().into();
    let padded = padded(&[&address.as_bytes()[..], &to, &encapsulated_key].concat());
    let salt = Salt::random(random);
    let hint = Hint::salted(&address.conversation_id(), salt);
    let bound = [&hint.as_bytes()[..], &salt.number().to_be_bytes()].concat();
    let ciphertext = context.seal(&padded, &bound).expect("it is short");
    Envelope { hint, salt, body: EncryptedBytes::Hpke { encapsulated_key, ciphertext } }
}
