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
