//! Public keys: those that a device publishes, and those of another device that were claimed.

use serde::{Deserialize, Serialize};
use tertulia_domain::{
    DeviceAddress,
    pairwise::{SignedKey, signed_bytes},
};
use vodozemac::{Curve25519PublicKey, Ed25519PublicKey, Ed25519Signature};

use crate::{RatchetError, Result};

/// What a device uploads, so that others can begin sessions with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUpload {
    /// Rises when the device's store turns out to be a copy or an older state: what was uploaded before is void then.
    pub incarnation: u64,
    /// The identity key, a Curve25519 public key.
    pub identity_key: [u8; 32],
    /// Keys that are each for one session, in the order in which they were made.
    pub one_time_keys: Vec<OneTimeKey>,
    /// The key for who finds no other, if it is new.
    pub fallback: Option<FallbackKey>,
}

/// A key for one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneTimeKey {
    /// Its number, larger than that of every key that was made before in this incarnation.
    pub id: u64,
    /// The Curve25519 public key.
    pub key: [u8; 32],
    /// Its signature.
    pub signature: [u8; 64],
}

/// The key for who finds no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackKey {
    /// The Curve25519 public key.
    pub key: [u8; 32],
    /// Its signature.
    pub signature: [u8; 64],
}

/// Keys of another device, with which a session can begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedKeys {
    /// The device.
    pub address: DeviceAddress,
    /// Its signature key, an Ed25519 public key: the one of its MLS credential.
    pub signature_key: [u8; 32],
    /// Its identity key.
    pub identity_key: [u8; 32],
    /// The key that is claimed.
    pub key: [u8; 32],
    /// Whether that is the fallback key.
    pub is_fallback: bool,
    /// The signature of that key.
    pub signature: [u8; 64],
}

impl ClaimedKeys {
    /// Checks that the device itself has signed them.
    pub(crate) fn verified(&self) -> Result<VerifiedKeys> {
        let key = if self.is_fallback { SignedKey::Fallback(self.key) } else { SignedKey::OneTime(self.key) };
        verify(&self.address, &self.signature_key, &self.identity_key, key, &self.signature)?;
        let Self { address, signature_key, identity_key, key, .. } = self.clone();
        Ok(VerifiedKeys { address, signature_key, identity_key, key })
    }
}

impl VerifiedKeys {
    /// The two keys that a session begins with.
    pub(crate) fn for_session(&self) -> (Curve25519PublicKey, Curve25519PublicKey) {
        (self.identity_key.into(), self.key.into())
    }
}

/// Keys of another device with which a session can begin, and that somebody else has verified, as those of a bundle are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedKeys {
    /// The device.
    pub address: DeviceAddress,
    /// Its signature key, an Ed25519 public key: the one of its MLS credential.
    pub signature_key: [u8; 32],
    /// Its identity key.
    pub identity_key: [u8; 32],
    /// The key for this session.
    pub key: [u8; 32],
}

/// This device's keys for a bundle. Whoever makes the bundle signs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleKeys {
    /// The identity key, a Curve25519 public key.
    pub identity_key: [u8; 32],
    /// New keys that are each for one session.
    pub one_time_keys: Vec<[u8; 32]>,
    /// The key for who finds no other.
    pub fallback_key: [u8; 32],
}

/// Checks the signature of a device's key.
pub(crate) fn verify(
    device: &DeviceAddress,
    signature_key: &[u8; 32],
    identity_key: &[u8; 32],
    key: SignedKey,
    signature: &[u8; 64],
) -> Result<()> {
    let signed = signed_bytes(device, identity_key, key);
    let signature = Ed25519Signature::from_slice(signature).map_err(|_| RatchetError::UntrustedKey)?;
    Ed25519PublicKey::from_slice(signature_key)
        .ok()
        .and_then(|key| key.verify(&signed, &signature).ok())
        .ok_or(RatchetError::UntrustedKey)
}

/// What of this device's identity is not in the Olm account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnIdentity {
    pub(crate) signature_key: [u8; 32],
    #[serde(with = "halves")]
    pub(crate) signature: [u8; 64],
}

/// Arrays of 64 are too long for serde.
mod halves {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 64], serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_slice().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 64], D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        bytes.try_into().map_err(|_| serde::de::Error::custom("a signature has 64 bytes"))
    }
}
