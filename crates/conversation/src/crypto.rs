//! The hash, the key derivation and the cipher that everything here is composed of. Each use has a label of its own.

use chacha20poly1305::{
    ChaCha20Poly1305,
    aead::{Aead as _, Payload},
};
use hkdf::Hkdf;
use hmac::{
    KeyInit as _,
    block_api::HmacCore,
    digest::{
        Output,
        block_api::{Buffer, FixedOutputCore as _},
    },
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// HMAC-SHA256 with the two states that its key makes: each use from here on is two compressions.
pub(crate) type HmacSha256 = HmacCore<Sha256>;

/// SHA-256 of a label and these parts. A use has parts of fixed lengths, save the last, so that no two inputs run into each other.
pub(crate) fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(label);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// HMAC-SHA256 with this key, ready for its input.
pub(crate) fn hmac(key: &[u8; 32]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// HMAC-SHA256 of an input that is shorter than a block.
pub(crate) fn mac<const N: usize>(keyed: &HmacSha256, input: &[u8; N]) -> [u8; 32] {
    const { assert!(N < 64, "a buffer holds less than a block") };
    let mut out = Output::<HmacSha256>::default();
    keyed.clone().finalize_fixed_core(&mut Buffer::<HmacSha256>::new(input), &mut out);
    out.into()
}

/// HKDF-SHA256's first step: a key from a secret, for the uses that the label stands for.
pub(crate) fn extract(label: &str, secret: &[u8; 32]) -> Hkdf<Sha256> {
    Hkdf::new(Some(label.as_bytes()), secret)
}

/// HKDF-SHA256's second step on a key that is random already.
pub(crate) fn from_key(key: &[u8; 32]) -> Hkdf<Sha256> {
    Hkdf::from_prk(key).expect("32 bytes are as long as a hash")
}

/// So many bytes for the use that these parts name.
pub(crate) fn expand<const N: usize>(key: &Hkdf<Sha256>, info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    key.expand_multi_info(info, out.as_mut_slice()).expect("less than 255 hashes are asked for");
    out
}

/// ChaCha20-Poly1305. The key is made for this one message.
pub(crate) fn encrypt(key: &[u8; 32], nonce: [u8; 12], plaintext: &[u8], bound: &[u8]) -> Vec<u8> {
    ChaCha20Poly1305::new(key.into())
        .encrypt(&nonce.into(), Payload { msg: plaintext, aad: bound })
        .expect("a frame is far shorter than what the cipher takes")
}

/// The plaintext, if key, ciphertext and what it is bound to belong together.
pub(crate) fn decrypt(
    key: &[u8; 32],
    nonce: [u8; 12],
    ciphertext: &[u8],
    bound: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    ChaCha20Poly1305::new(key.into())
        .decrypt(&nonce.into(), Payload { msg: ciphertext, aad: bound })
        .ok()
        .map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, Mac as _};
    use proptest::prelude::*;

    proptest! {
        /// What is put together here from the library's blocks is what the library makes of key and input.
        #[test]
        fn a_short_mac_is_that_of_the_library(key: [u8; 32], four: [u8; 4], many: [u8; 21]) {
            let expected = |input: &[u8]| -> [u8; 32] {
                let mut whole = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&key).expect("any length");
                whole.update(input);
                whole.finalize().into_bytes().into()
            };
            prop_assert_eq!(mac(&hmac(&key), &four), expected(&four));
            prop_assert_eq!(mac(&hmac(&key), &many), expected(&many));
        }
    }

    /// Every label with which a hash begins. None is the beginning of another, so no use can be taken for another's.
    const HASH_LABELS: [&str; 7] = [
        crate::id::LABEL,
        crate::hint::SALTED_LABEL,
        crate::inbox::ADDRESS_LABEL,
        crate::inbox::INBOX_ID_LABEL,
        crate::inbox::IDENTITY_LABEL,
        crate::topic::LABEL,
        crate::work::LABEL,
    ];

    #[test]
    fn no_label_is_the_beginning_of_another() {
        for (index, label) in HASH_LABELS.iter().enumerate() {
            for (other_index, other) in HASH_LABELS.iter().enumerate() {
                assert!(index == other_index || !other.starts_with(label), "{label} and {other}");
            }
        }
    }
}
