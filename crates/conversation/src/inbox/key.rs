//! A device's inbox key, and what is sealed to it: HPKE (RFC 9180) in base mode with `DHKEM(X25519, HKDF-SHA256)`, `HKDF-SHA256` and `ChaCha20Poly1305`.
//!
//! Who seals brings the randomness, as everything here that needs some. Who opens may have to open what somebody floods the inbox with, so it is done by AWS-LC, of which
//! a Diffie-Hellman takes less than half the time, and with the public half that is known. MLS has these algorithms as its third cipher suite.

use std::{fmt, sync::LazyLock};

use hpke::{
    Deserializable as _, Kem as _, OpModeS, Serializable as _,
    aead::{AeadCtxS, ChaCha20Poly1305},
    kdf::HkdfSha256,
    kem::X25519HkdfSha256 as X25519,
};
use mls_rs_core::crypto::{
    CipherSuite, CipherSuiteProvider as _, CryptoProvider as _, HpkeCiphertext, HpkePublicKey, HpkeSecretKey,
};
use mls_rs_crypto_awslc::{AwsLcCipherSuite, AwsLcCryptoProvider};
use rand::CryptoRng;
use zeroize::Zeroizing;

/// What opens.
static OPENING: LazyLock<AwsLcCipherSuite> = LazyLock::new(|| {
    let suite = AwsLcCryptoProvider::new().cipher_suite_provider(CipherSuite::CURVE25519_CHACHA);
    suite.expect("AWS-LC has X25519 and ChaCha20-Poly1305")
});

/// The private half of a device's inbox key. Wiped when dropped.
#[derive(Clone)]
pub struct InboxKey {
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl InboxKey {
    /// A new key.
    pub fn generate(random: &mut impl CryptoRng) -> Self {
        let (secret, _) = X25519::gen_keypair_with_rng(random);
        Self::from_secret(secret.to_bytes().into())
    }

    /// The key with these bytes, as they were stored.
    pub fn from_secret(bytes: [u8; 32]) -> Self {
        let secret = Zeroizing::new(bytes);
        let key = <X25519 as hpke::Kem>::PrivateKey::from_bytes(secret.as_slice())
            .expect("any 32 bytes are an X25519 private key");
        Self { public: X25519::sk_to_pk(&key).to_bytes().into(), secret }
    }

    /// What is to be stored.
    pub fn secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.secret
    }

    /// What stands in the bundle.
    pub const fn public(&self) -> [u8; 32] {
        self.public
    }

    /// What was sealed to this key with these `info` and associated data, unless it was sealed to another or is damaged.
    pub(super) fn open(
        &self,
        encapsulated_key: &[u8; 32],
        ciphertext: &[u8],
        info: &[u8],
        bound: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let sealed =
            HpkeCiphertext { kem_output: encapsulated_key.to_vec(), ciphertext: ciphertext.to_vec() };
        let secret = HpkeSecretKey::from(self.secret.to_vec());
        let public = HpkePublicKey::from(self.public.to_vec());
        OPENING.hpke_open(&sealed, &secret, &public, info, Some(bound)).ok()
    }
}

impl fmt::Debug for InboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InboxKey({}…)", hex::encode(&self.public[..4]))
    }
}

/// Seals one thing to an inbox key.
pub(super) struct Sealing(AeadCtxS<ChaCha20Poly1305, HkdfSha256, X25519>);

impl Sealing {
    pub(super) fn seal(&mut self, plaintext: &[u8], bound: &[u8]) -> Option<Vec<u8>> {
        self.0.seal(plaintext, bound).ok()
    }
}

/// The encapsulated key, and what seals with it; none if `inbox_key` is no fit key.
pub(super) fn seal_to(
    inbox_key: &[u8; 32],
    info: &[u8],
    random: &mut impl CryptoRng,
) -> Option<([u8; 32], Sealing)> {
    let key = <X25519 as hpke::Kem>::PublicKey::from_bytes(inbox_key).ok()?;
    let (encapsulated, context) = hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519>(
        &OpModeS::Base,
        &key,
        info,
        random,
    )
    .ok()?;
    Some((encapsulated.to_bytes().into(), Sealing(context)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        hex::decode(hexadecimal).expect("it is hexadecimal")
    }

    /// RFC 9180, appendix A.2.1.1.
    #[test]
    fn what_the_standard_has_sealed_is_opened() {
        let secret = bytes("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
        let key = InboxKey::from_secret(secret.try_into().expect("32 bytes"));
        assert_eq!(
            key.public().to_vec(),
            bytes("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
        );
        let encapsulated: [u8; 32] =
            bytes("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
                .try_into()
                .expect("32 bytes");
        let ciphertext = bytes(
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
        );
        let info = b"Ode on a Grecian Urn";
        let opened = key.open(&encapsulated, &ciphertext, info, b"Count-0");
        assert_eq!(opened.expect("it is sealed to this key").as_slice(), b"Beauty is truth, truth beauty");
        assert!(key.open(&encapsulated, &ciphertext, info, b"Count-1").is_none(), "another position");
        assert!(key.open(&encapsulated, &ciphertext, b"Ode", b"Count-0").is_none(), "another purpose");
    }

    /// RFC 9180, section 7.1.4: a point of small order has a shared secret of zeros.
    #[test]
    fn an_encapsulated_key_of_small_order_opens_nothing() {
        let key = InboxKey::from_secret([7; 32]);
        for encapsulated in [[0; 32], {
            let mut one = [0; 32];
            one[0] = 1;
            one
        }] {
            assert!(key.open(&encapsulated, &[0; 48], b"", b"").is_none());
        }
    }
}
