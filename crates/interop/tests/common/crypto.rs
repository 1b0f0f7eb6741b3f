//! The cryptography of the OpenMLS members: AWS-LC, by the ciphersuites of `mls-rs`.
//!
//! OpenMLS's own providers depend on a library under the MPL, which is not among the licences that this workspace allows.
//! What is compared here is the protocol: the primitives of the engine are checked by the working group's vectors.

use mls_rs_core::crypto::{
    CipherSuite, CipherSuiteProvider, CryptoProvider, HpkeContextR, HpkeContextS, HpkePublicKey,
    HpkeSecretKey, SignaturePublicKey, SignatureSecretKey,
};
use mls_rs_crypto_awslc::{AwsLcCipherSuite, AwsLcCryptoProvider, Ecdh};
use mls_rs_crypto_traits::DhType as _;
use openmls::prelude::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeAeadType, HpkeCiphertext, HpkeConfig,
    HpkeKemType, HpkeKeyPair, KemOutput, OpenMlsCrypto, OpenMlsProvider, OpenMlsRand, SignatureScheme,
    tls_codec::SecretVLBytes,
};
use openmls_memory_storage::MemoryStorage;
use openmls_traits::signatures::{Signer, SignerError};

/// Cryptography, randomness and storage of an OpenMLS member.
#[derive(Default)]
pub(crate) struct Provider {
    crypto: AwsLc,
    storage: MemoryStorage,
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = AwsLc;
    type RandProvider = AwsLc;
    type StorageProvider = MemoryStorage;

    fn storage(&self) -> &MemoryStorage {
        &self.storage
    }

    fn crypto(&self) -> &AwsLc {
        &self.crypto
    }

    fn rand(&self) -> &AwsLc {
        &self.crypto
    }
}

#[derive(Default)]
pub(crate) struct AwsLc;

/// A key pair, in the form of AWS-LC.
pub(crate) struct SigningKey {
    scheme: SignatureScheme,
    secret: Vec<u8>,
    pub(crate) public: Vec<u8>,
}

impl SigningKey {
    pub(crate) fn generate(suite: Ciphersuite) -> Self {
        let scheme = suite.signature_algorithm();
        let (secret, public) = AwsLc.signature_key_gen(scheme).unwrap();
        Self { scheme, secret, public }
    }
}

impl Signer for SigningKey {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        AwsLc.sign(self.scheme, payload, &self.secret).map_err(SignerError::CryptoError)
    }

    fn signature_scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

fn suite(number: u16) -> Result<AwsLcCipherSuite, CryptoError> {
    AwsLcCryptoProvider::new()
        .cipher_suite_provider(CipherSuite::new(number))
        .ok_or(CryptoError::UnsupportedCiphersuite)
}

fn of_hash(hash: HashType) -> Result<AwsLcCipherSuite, CryptoError> {
    suite(match hash {
        HashType::Sha2_256 => 1,
        HashType::Sha2_384 => 7,
        HashType::Sha2_512 => 5,
    })
}

fn of_aead(aead: AeadType) -> Result<AwsLcCipherSuite, CryptoError> {
    suite(match aead {
        AeadType::Aes128Gcm => 1,
        AeadType::Aes256Gcm => 5,
        AeadType::ChaCha20Poly1305 => 3,
    })
}

fn of_scheme(scheme: SignatureScheme) -> Result<AwsLcCipherSuite, CryptoError> {
    match scheme {
        SignatureScheme::ED25519 => suite(1),
        SignatureScheme::ECDSA_SECP256R1_SHA256 => suite(2),
        _ => Err(CryptoError::UnsupportedSignatureScheme),
    }
}

fn of_hpke(config: &HpkeConfig) -> Result<AwsLcCipherSuite, CryptoError> {
    match (&config.0, &config.2) {
        (HpkeKemType::DhKem25519, HpkeAeadType::AesGcm128) => suite(1),
        (HpkeKemType::DhKemP256, HpkeAeadType::AesGcm128) => suite(2),
        (HpkeKemType::DhKem25519, HpkeAeadType::ChaCha20Poly1305) => suite(3),
        _ => Err(CryptoError::UnsupportedCiphersuite),
    }
}

fn hpke_keys(config: &HpkeConfig, secret: &[u8]) -> Result<(HpkeSecretKey, HpkePublicKey), CryptoError> {
    let group = Ecdh::new(of_hpke(config)?.cipher_suite()).ok_or(CryptoError::UnsupportedCiphersuite)?;
    let secret = HpkeSecretKey::from(secret.to_vec());
    let public = group.to_public(&secret).map_err(|_| CryptoError::HpkeDecryptionError)?;
    Ok((secret, public))
}

impl OpenMlsCrypto for AwsLc {
    fn supports(&self, ciphersuite: Ciphersuite) -> Result<(), CryptoError> {
        let is_supported = self.supported_ciphersuites().contains(&ciphersuite);
        if is_supported { Ok(()) } else { Err(CryptoError::UnsupportedCiphersuite) }
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        vec![
            Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
            Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256,
            Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
        ]
    }

    fn hkdf_extract(&self, hash: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        let extracted = of_hash(hash)?.kdf_extract(salt, ikm).map_err(|_| CryptoError::CryptoLibraryError)?;
        Ok(extracted.to_vec().into())
    }

    fn hmac(&self, hash: HashType, key: &[u8], message: &[u8]) -> Result<SecretVLBytes, CryptoError> {
        let mac = of_hash(hash)?.mac(key, message).map_err(|_| CryptoError::CryptoLibraryError)?;
        Ok(mac.into())
    }

    fn hkdf_expand(
        &self,
        hash: HashType,
        prk: &[u8],
        info: &[u8],
        length: usize,
    ) -> Result<SecretVLBytes, CryptoError> {
        let expanded =
            of_hash(hash)?.kdf_expand(prk, info, length).map_err(|_| CryptoError::HkdfOutputLengthInvalid)?;
        Ok(expanded.to_vec().into())
    }

    fn hash(&self, hash: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        of_hash(hash)?.hash(data).map_err(|_| CryptoError::CryptoLibraryError)
    }

    fn aead_encrypt(
        &self,
        aead: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        of_aead(aead)?.aead_seal(key, data, Some(aad), nonce).map_err(|_| CryptoError::CryptoLibraryError)
    }

    fn aead_decrypt(
        &self,
        aead: AeadType,
        key: &[u8],
        ciphertext: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let opened = of_aead(aead)?
            .aead_open(key, ciphertext, Some(aad), nonce)
            .map_err(|_| CryptoError::AeadDecryptionError)?;
        Ok(opened.to_vec())
    }

    fn signature_key_gen(&self, scheme: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        let (secret, public) =
            of_scheme(scheme)?.signature_key_generate().map_err(|_| CryptoError::CryptoLibraryError)?;
        Ok((secret.as_bytes().to_vec(), public.as_bytes().to_vec()))
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        data: &[u8],
        public: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        of_scheme(scheme)?
            .verify(&SignaturePublicKey::new(public.to_vec()), signature, data)
            .map_err(|_| CryptoError::InvalidSignature)
    }

    fn sign(&self, scheme: SignatureScheme, data: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        of_scheme(scheme)?
            .sign(&SignatureSecretKey::new(key.to_vec()), data)
            .map_err(|_| CryptoError::SigningError)
    }

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        public: &[u8],
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        let sealed = of_hpke(&config)?
            .hpke_seal(&HpkePublicKey::from(public.to_vec()), info, Some(aad), plaintext)
            .map_err(|_| CryptoError::HpkeEncryptionError)?;
        Ok(HpkeCiphertext { kem_output: sealed.kem_output.into(), ciphertext: sealed.ciphertext.into() })
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        secret: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let (secret, public) = hpke_keys(&config, secret)?;
        let input = mls_rs_core::crypto::HpkeCiphertext {
            kem_output: input.kem_output.as_slice().to_vec(),
            ciphertext: input.ciphertext.as_slice().to_vec(),
        };
        let opened = of_hpke(&config)?
            .hpke_open(&input, &secret, &public, info, Some(aad))
            .map_err(|_| CryptoError::HpkeDecryptionError)?;
        Ok(opened.to_vec())
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        public: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        let (kem_output, context) = of_hpke(&config)?
            .hpke_setup_s(&HpkePublicKey::from(public.to_vec()), info)
            .map_err(|_| CryptoError::SenderSetupError)?;
        let exported =
            context.export(exporter_context, exporter_length).map_err(|_| CryptoError::ExporterError)?;
        Ok((kem_output, exported.to_vec().into()))
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        kem_output: &[u8],
        secret: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Result<ExporterSecret, CryptoError> {
        let (secret, public) = hpke_keys(&config, secret)?;
        let context = of_hpke(&config)?
            .hpke_setup_r(kem_output, &secret, &public, info)
            .map_err(|_| CryptoError::ReceiverSetupError)?;
        let exported =
            context.export(exporter_context, exporter_length).map_err(|_| CryptoError::ExporterError)?;
        Ok(exported.to_vec().into())
    }

    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError> {
        let (secret, public) =
            of_hpke(&config)?.kem_derive(ikm).map_err(|_| CryptoError::CryptoLibraryError)?;
        Ok(HpkeKeyPair { private: secret.to_vec().into(), public: public.to_vec() })
    }
}

impl OpenMlsRand for AwsLc {
    type Error = CryptoError;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], CryptoError> {
        let mut bytes = [0; N];
        suite(1)?.random_bytes(&mut bytes).map_err(|_| CryptoError::InsufficientRandomness)?;
        Ok(bytes)
    }

    fn random_vec(&self, length: usize) -> Result<Vec<u8>, CryptoError> {
        suite(1)?.random_bytes_vec(length).map_err(|_| CryptoError::InsufficientRandomness)
    }
}
