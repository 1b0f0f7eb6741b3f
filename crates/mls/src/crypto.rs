//! The cryptographic operations: those of AWS-LC, of which one is not repeated and one can be [watched](sender_data).
//!
//! A Welcome encrypts the group secrets to each new member by HPKE, with the whole encrypted group info, which holds the
//! ratchet tree, as HPKE's `info` (RFC 9420, section 12.4.3.1). HPKE begins with a hash of `info` that has nothing of the
//! receiver in it (RFC 9180, section 5.1), and the library computes it for each of them: with 10,000 new members that is
//! 24 GB of hashing. Here the same HPKE, of the same library, runs on a key derivation that [remembers](shared_info) the
//! hash of the `info` that it had last. Everything else is handed on.

pub(crate) mod sender_data;
mod shared_info;

use mls_rs_core::crypto::{
    CipherSuite, CipherSuiteProvider, CryptoProvider, HpkeCiphertext, HpkePsk, HpkePublicKey, HpkeSecretKey,
    SignaturePublicKey, SignatureSecretKey,
};
use mls_rs_crypto_awslc::{
    AwsLcAead, AwsLcCipherSuite, AwsLcCryptoError, AwsLcCryptoProvider, AwsLcHkdf, EcdhKem, dhkem,
};
use mls_rs_crypto_hpke::hpke::Hpke;
use zeroize::Zeroizing;

pub(crate) use self::shared_info::ShareInfo;
use self::shared_info::SharingKdf;

/// The library's provider with [`EngineSuite`]s.
#[derive(Clone, Debug)]
pub(crate) struct EngineCrypto(pub(crate) AwsLcCryptoProvider);

impl CryptoProvider for EngineCrypto {
    type CipherSuiteProvider = EngineSuite;

    fn supported_cipher_suites(&self) -> Vec<CipherSuite> {
        self.0.supported_cipher_suites()
    }

    fn cipher_suite_provider(&self, suite: CipherSuite) -> Option<EngineSuite> {
        Some(EngineSuite {
            library: self.0.cipher_suite_provider(suite)?,
            hpke: Hpke::new(dhkem(suite)?, SharingKdf(AwsLcHkdf::new(suite)?), Some(AwsLcAead::new(suite)?)),
        })
    }
}

/// A ciphersuite.
#[derive(Clone)]
pub(crate) struct EngineSuite {
    library: AwsLcCipherSuite,
    hpke: Hpke<EcdhKem, SharingKdf, AwsLcAead>,
}

type Result<T> = std::result::Result<T, AwsLcCryptoError>;

impl CipherSuiteProvider for EngineSuite {
    type Error = AwsLcCryptoError;
    type HpkeContextS = <AwsLcCipherSuite as CipherSuiteProvider>::HpkeContextS;
    type HpkeContextR = <AwsLcCipherSuite as CipherSuiteProvider>::HpkeContextR;

    /// The one that is different: see the module.
    fn hpke_seal(
        &self,
        remote_key: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        pt: &[u8],
    ) -> Result<HpkeCiphertext> {
        Ok(self.hpke.seal(remote_key, info, None, aad, pt)?)
    }

    fn cipher_suite(&self) -> CipherSuite {
        self.library.cipher_suite()
    }

    fn hash(&self, data: &[u8]) -> Result<Vec<u8>> {
        self.library.hash(data)
    }

    fn mac(&self, key: &[u8], data: &[u8]) -> Result<Vec<u8>> {
        self.library.mac(key, data)
    }

    fn aead_seal(&self, key: &[u8], data: &[u8], aad: Option<&[u8]>, nonce: &[u8]) -> Result<Vec<u8>> {
        self.library.aead_seal(key, data, aad, nonce)
    }

    fn aead_open(
        &self,
        key: &[u8],
        ciphertext: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let plaintext = self.library.aead_open(key, ciphertext, aad, nonce)?;
        sender_data::opened(&plaintext);
        Ok(plaintext)
    }

    fn aead_key_size(&self) -> usize {
        self.library.aead_key_size()
    }

    fn aead_nonce_size(&self) -> usize {
        self.library.aead_nonce_size()
    }

    fn kdf_extract(&self, salt: &[u8], ikm: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.library.kdf_extract(salt, ikm)
    }

    fn kdf_expand(&self, prk: &[u8], info: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>> {
        self.library.kdf_expand(prk, info, len)
    }

    fn kdf_extract_size(&self) -> usize {
        self.library.kdf_extract_size()
    }

    fn hpke_seal_psk(
        &self,
        remote_key: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        pt: &[u8],
        psk: HpkePsk<'_>,
    ) -> Result<HpkeCiphertext> {
        self.library.hpke_seal_psk(remote_key, info, aad, pt, psk)
    }

    fn hpke_open(
        &self,
        ciphertext: &HpkeCiphertext,
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.library.hpke_open(ciphertext, local_secret, local_public, info, aad)
    }

    fn hpke_open_psk(
        &self,
        ciphertext: &HpkeCiphertext,
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        psk: HpkePsk<'_>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.library.hpke_open_psk(ciphertext, local_secret, local_public, info, aad, psk)
    }

    fn hpke_setup_s(&self, remote_key: &HpkePublicKey, info: &[u8]) -> Result<(Vec<u8>, Self::HpkeContextS)> {
        self.library.hpke_setup_s(remote_key, info)
    }

    fn hpke_setup_r(
        &self,
        kem_output: &[u8],
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
    ) -> Result<Self::HpkeContextR> {
        self.library.hpke_setup_r(kem_output, local_secret, local_public, info)
    }

    fn kem_derive(&self, ikm: &[u8]) -> Result<(HpkeSecretKey, HpkePublicKey)> {
        self.library.kem_derive(ikm)
    }

    fn kem_generate(&self) -> Result<(HpkeSecretKey, HpkePublicKey)> {
        self.library.kem_generate()
    }

    fn kem_public_key_validate(&self, key: &HpkePublicKey) -> Result<()> {
        self.library.kem_public_key_validate(key)
    }

    fn random_bytes(&self, out: &mut [u8]) -> Result<()> {
        self.library.random_bytes(out)
    }

    fn signature_key_generate(&self) -> Result<(SignatureSecretKey, SignaturePublicKey)> {
        self.library.signature_key_generate()
    }

    fn signature_key_derive_public(&self, secret_key: &SignatureSecretKey) -> Result<SignaturePublicKey> {
        self.library.signature_key_derive_public(secret_key)
    }

    fn sign(&self, secret_key: &SignatureSecretKey, data: &[u8]) -> Result<Vec<u8>> {
        self.library.sign(secret_key, data)
    }

    fn verify(&self, public_key: &SignaturePublicKey, signature: &[u8], data: &[u8]) -> Result<()> {
        self.library.verify(public_key, signature, data)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_sealed_with_a_shared_info_opens_with_the_library_alone() {
        let library = AwsLcCryptoProvider::new();
        let engine = EngineCrypto(library.clone());
        for suite in library.supported_cipher_suites() {
            let (library, engine) =
                (library.cipher_suite_provider(suite).unwrap(), engine.cipher_suite_provider(suite).unwrap());
            let _sharing = ShareInfo::begin();
            let (large, other) = (vec![7; 100_000], vec![8; 100_000]);
            for info in [&large[..], &large, &other, b"small", &large] {
                let (secret, public) = library.kem_generate().unwrap();
                let sealed = engine.hpke_seal(&public, info, None, b"group secrets").unwrap();
                let opened = library.hpke_open(&sealed, &secret, &public, info, None).unwrap();
                assert_eq!(&*opened, b"group secrets", "{suite:?}");
                assert!(library.hpke_open(&sealed, &secret, &public, b"another", None).is_err());
            }
        }
    }
}
