//! Keys that were made elsewhere: a credential and key packages that come from another device, another implementation
//! or a test vector, and key packages that go to one.

use std::fmt;

use mls_rs::{
    CipherSuiteProvider,
    crypto::{HpkePublicKey, HpkeSecretKey, SignaturePublicKey, SignatureSecretKey},
    mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize},
};
use mls_rs_core::key_package::KeyPackageData;
use mls_rs_crypto_awslc::AwsLcCipherSuite;
use zeroize::Zeroizing;

use crate::{
    Ciphersuite, ClientId, Credential, EngineError, KeyPackage, Result, SignatureScheme, TransactionContext,
    overlay::Overlay, provider, wire,
};

/// The private keys of a key package, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPackageSecrets {
    /// Opens the Welcome: the private key of `init_key` (RFC 9420, section 10).
    pub init_key: Zeroizing<Vec<u8>>,
    /// The leaf's: the private key of `encryption_key` (RFC 9420, section 7.2).
    pub encryption_key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for KeyPackageSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPackageSecrets").finish_non_exhaustive()
    }
}

impl Credential {
    /// A basic credential of a key pair that was made elsewhere.
    ///
    /// `secret_key` is in the form of RFC 9420, section 5.1.1: the seed of Ed25519 (32 bytes), or the scalar of a NIST
    /// curve, big-endian. `public_key` is the one in the leaves: 32 bytes of Ed25519, or an uncompressed point. It is
    /// tried whether they belong together: [`EngineError::KeyMismatch`] if not.
    pub fn from_parts(
        client_id: ClientId,
        ciphersuite: Ciphersuite,
        secret_key: &[u8],
        public_key: &[u8],
    ) -> Result<Self> {
        let suite = provider::cipher_suite_provider(ciphersuite)?;
        let secret_key = if ciphersuite.signature_scheme() == SignatureScheme::Ed25519 {
            // The form of AWS-LC: the seed, and the public key behind it.
            Zeroizing::new([secret_key, public_key].concat())
        } else {
            Zeroizing::new(secret_key.to_vec())
        };
        if !is_signature_key_pair(&suite, &secret_key, public_key) {
            return Err(EngineError::KeyMismatch { what: "signature key" });
        }
        Ok(Self::of_key_pair(client_id, ciphersuite, secret_key, public_key.to_vec()))
    }
}

impl TransactionContext {
    /// Takes in a key package that was made elsewhere, bare or as an `MLSMessage`, with its private keys, so that a
    /// Welcome for it can be processed here.
    ///
    /// Its credential must be in the store, and its private keys must belong to the public ones in it, which is tried:
    /// [`EngineError::CredentialNotFound`] and [`EngineError::KeyMismatch`] if not. Its lifetime does not matter.
    ///
    /// The same key package must not be used on two devices: both would encrypt with the same keys.
    pub fn import_key_package(
        &mut self,
        key_package: &[u8],
        secrets: &KeyPackageSecrets,
    ) -> Result<KeyPackage> {
        let message = wire::key_package(key_package)
            .map_err(|error| EngineError::InvalidKeyPackage(Some(Box::new(error))))?;
        let described = KeyPackage::from_message(&message)?;
        let package = message.as_key_package().ok_or(EngineError::InvalidKeyPackage(None))?;
        let overlay = &self.writing()?.overlay;
        let is_own = |credential: &Credential| credential.signing_identity() == *package.signing_identity();
        if !overlay.credentials()?.iter().any(is_own) {
            return Err(EngineError::CredentialNotFound);
        }

        let encoded = package.mls_encode_to_vec().map_err(refused)?;
        let public = PublicKeys::mls_decode(&mut &encoded[..]).map_err(refused)?;
        let suite = provider::cipher_suite_provider(described.ciphersuite())?;
        if !is_hpke_key_pair(&suite, &secrets.init_key, &public.init_key) {
            return Err(EngineError::KeyMismatch { what: "init key" });
        }
        if !is_hpke_key_pair(&suite, &secrets.encryption_key, &public.encryption_key) {
            return Err(EngineError::KeyMismatch { what: "encryption key" });
        }
        let expiration =
            package.expiration().map_err(|error| EngineError::InvalidKeyPackage(Some(Box::new(error))))?;
        let data = KeyPackageData::new(
            encoded,
            HpkeSecretKey::from(secrets.init_key.to_vec()),
            HpkeSecretKey::from(secrets.encryption_key.to_vec()),
            expiration.seconds_since_epoch().min(LAST_EXPIRATION),
        );
        overlay.insert_key_package(described.reference().to_vec(), &data)?;
        Ok(described)
    }

    /// Takes a key package with its private keys out of the store, for another device to import.
    ///
    /// It is deleted here, since two devices with the same leaf would encrypt with the same keys. None when there is
    /// none with this reference.
    pub fn take_key_package(&mut self, reference: &[u8]) -> Result<Option<(KeyPackage, KeyPackageSecrets)>> {
        let overlay: &Overlay = &self.writing()?.overlay;
        let Some(data) = overlay.key_package(reference)? else { return Ok(None) };
        let described = KeyPackage::from_bytes(&data.key_package_bytes)?;
        let secrets = KeyPackageSecrets {
            init_key: Zeroizing::new(data.init_key.to_vec()),
            encryption_key: Zeroizing::new(data.leaf_node_key.to_vec()),
        };
        overlay.delete_key_package(reference);
        Ok(Some((described, secrets)))
    }
}

/// The end of the year 9999: what never ends is beyond the database's numbers.
const LAST_EXPIRATION: u64 = 253_402_300_799;

/// How a key package begins (RFC 9420, section 10): the library does not show its public keys.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct PublicKeys {
    version: u16,
    ciphersuite: u16,
    init_key: HpkePublicKey,
    /// The first field of the leaf node.
    encryption_key: HpkePublicKey,
}

fn refused(error: mls_rs_codec::Error) -> EngineError {
    EngineError::InvalidKeyPackage(Some(Box::new(error)))
}

/// What is signed and encrypted to see whether keys belong together. It leaves this file in no form.
const TRIAL: &[u8] = b"tertulia: do these keys belong together?";

fn is_signature_key_pair(suite: &AwsLcCipherSuite, secret: &[u8], public: &[u8]) -> bool {
    let (secret, public) =
        (SignatureSecretKey::new(secret.to_vec()), SignaturePublicKey::new(public.to_vec()));
    // Equal byte for byte as well: a point has another, compressed form, which verifies too.
    suite.signature_key_derive_public(&secret).is_ok_and(|derived| derived == public)
        && suite.sign(&secret, TRIAL).is_ok_and(|signature| suite.verify(&public, &signature, TRIAL).is_ok())
}

fn is_hpke_key_pair(suite: &AwsLcCipherSuite, secret: &[u8], public: &HpkePublicKey) -> bool {
    let secret = HpkeSecretKey::from(secret.to_vec());
    suite.hpke_seal(public, TRIAL, None, TRIAL).is_ok_and(|sealed| {
        suite.hpke_open(&sealed, &secret, public, TRIAL, None).is_ok_and(|opened| *opened == TRIAL)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The secret key in the form of RFC 9420.
    fn raw_secret(credential: &Credential) -> &[u8] {
        let secret = &credential.secret_key[..];
        let is_ed25519 = credential.ciphersuite.signature_scheme() == SignatureScheme::Ed25519;
        if is_ed25519 { &secret[..32] } else { secret }
    }

    #[test]
    fn a_credential_is_made_of_a_key_pair_and_of_nothing_else() {
        for suite in Ciphersuite::ALL {
            let alice = Credential::basic(ClientId::from("alice"), suite).unwrap();
            let bob = Credential::basic(ClientId::from("bob"), suite).unwrap();
            let from_parts = |secret: &[u8], public: &[u8]| {
                Credential::from_parts(ClientId::from("alice"), suite, secret, public)
            };
            let again = from_parts(raw_secret(&alice), alice.public_key()).unwrap();
            assert_eq!(again.reference(), alice.reference());
            assert_eq!(again.secret_key, alice.secret_key, "{suite}");
            for (secret, public) in [
                (raw_secret(&alice), bob.public_key()),
                (&raw_secret(&alice)[1..], alice.public_key()),
                (&[], alice.public_key()),
                (raw_secret(&alice), &[]),
                (raw_secret(&alice), &alice.public_key()[..31]),
                (&[0xff; 100], alice.public_key()),
            ] {
                let refused = from_parts(secret, public);
                assert!(matches!(refused, Err(EngineError::KeyMismatch { .. })), "{suite}");
            }
        }
    }
}
