//! Key packages: what others need to add a device.

use std::{fmt, time::Duration};

use mls_rs::MlsMessage;

use crate::{Ciphersuite, ClientId, EngineError, Result, identity::client_id_of, provider, wire};

/// Longest lifetime of a key package. It is back-dated by [`BACKDATE`] on top, against clocks that go slow.
pub const MAX_LIFETIME: Duration = Duration::from_hours(84 * 24);

/// How far before its creation a key package is valid.
pub const BACKDATE: Duration = Duration::from_hours(1);

/// How wrong the clock of a key package's maker may be before its lifetime is refused as too long.
const CLOCK_TOLERANCE: Duration = Duration::from_hours(24);

/// Most key packages generated at once.
pub(crate) const MAX_AT_ONCE: usize = 1000;

/// A key package of somebody else, as it comes in: [`KeyPackage::from_bytes`].
pub type KeyPackageIn = KeyPackage;

/// A key package (RFC 9420, section 10), as a serialised `MLSMessage`.
///
/// The signature is verified when it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPackage {
    bytes: Vec<u8>,
    client_id: ClientId,
    reference: Vec<u8>,
    signature_key: Vec<u8>,
    ciphersuite: Ciphersuite,
}

impl KeyPackage {
    /// Reads a key package, bare or as an `MLSMessage`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let message = wire::key_package(bytes)
            .map_err(|error| EngineError::InvalidKeyPackage(Some(Box::new(error))))?;
        Self::from_message(&message)
    }

    pub(crate) fn from_message(message: &MlsMessage) -> Result<Self> {
        let refused = |error| EngineError::InvalidKeyPackage(Some(Box::new(error)));
        let package = message.as_key_package().ok_or(EngineError::InvalidKeyPackage(None))?;
        let ciphersuite = Ciphersuite::from_number(*package.cipher_suite())?;
        let suite = provider::cipher_suite_provider(ciphersuite)?;
        Ok(Self {
            bytes: message.to_bytes().map_err(refused)?,
            client_id: client_id_of(package.signing_identity())?,
            reference: package.to_reference(&suite).map_err(refused)?.to_vec(),
            signature_key: package.signing_identity().signature_key.as_bytes().to_vec(),
            ciphersuite,
        })
    }

    /// The serialised `MLSMessage`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The serialised `MLSMessage`.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whom it adds.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// Its hash reference (RFC 9420, section 5.2).
    pub fn reference(&self) -> &[u8] {
        &self.reference
    }

    /// The signature public key of its credential.
    pub fn signature_key(&self) -> &[u8] {
        &self.signature_key
    }

    /// The ciphersuite that it is for.
    pub fn ciphersuite(&self) -> Ciphersuite {
        self.ciphersuite
    }

    /// The message for a commit, after what the library does not check: the length of its life.
    pub(crate) fn checked_message(&self, now: u64) -> Result<MlsMessage> {
        let message = MlsMessage::from_bytes(&self.bytes)
            .map_err(|error| EngineError::InvalidKeyPackage(Some(Box::new(error))))?;
        let expiration = message
            .as_key_package()
            .ok_or(EngineError::InvalidKeyPackage(None))?
            .expiration()
            .map_err(|error| EngineError::InvalidKeyPackage(Some(Box::new(error))))?
            .seconds_since_epoch();
        let latest = now.saturating_add((MAX_LIFETIME + BACKDATE + CLOCK_TOLERANCE).as_secs());
        if expiration > latest {
            return Err(EngineError::InvalidKeyPackage(None));
        }
        Ok(message)
    }
}

impl fmt::Debug for KeyPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPackage")
            .field("client_id", &self.client_id)
            .field("reference", &hex::encode(&self.reference[..self.reference.len().min(4)]))
            .finish_non_exhaustive()
    }
}
