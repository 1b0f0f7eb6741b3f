//! Key packages: what others need to add a device.

use std::{fmt, time::Duration};

use mls_rs::{
    MlsMessage,
    identity::Credential as MlsCredential,
    mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize},
};

use crate::{Ciphersuite, ClientId, EngineError, Result, identity::client_id_of, provider, wire};

/// Longest lifetime of a key package. It is back-dated by [`BACKDATE`] on top, against clocks that go slow.
pub const MAX_LIFETIME: Duration = Duration::from_hours(84 * 24);

/// How far before its creation a key package is valid.
pub const BACKDATE: Duration = Duration::from_hours(1);

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
    lifetime: Lifetime,
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
            lifetime: Lifetime::of(package)
                .map_err(|error| EngineError::InvalidKeyPackage(Some(Box::new(error))))?,
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

    /// The key package alone, without what makes it an `MLSMessage`.
    pub fn as_bare_bytes(&self) -> &[u8] {
        wire::bare(&self.bytes)
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

    /// The message for a commit, after what the library does not check, or not with an error of its own: its lifetime.
    pub(crate) fn checked_message(&self, now: u64) -> Result<MlsMessage> {
        let refused = |error| EngineError::InvalidKeyPackage(Some(Box::new(error)));
        let Lifetime { not_before, not_after } = self.lifetime;
        if not_after < now {
            return Err(EngineError::KeyPackageExpired { client: self.client_id.clone(), not_after });
        }
        if self.lifetime.is_too_long() {
            return Err(EngineError::KeyPackageLivesTooLong {
                client: self.client_id.clone(),
                lifetime: self.lifetime.length(),
                max: MAX_LIFETIME + BACKDATE,
            });
        }
        if not_before > now {
            return Err(EngineError::InvalidKeyPackage(Some("it is not valid yet".into())));
        }
        MlsMessage::from_bytes(&self.bytes).map_err(refused)
    }
}

/// From when to when a key package is valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime {
    not_before: u64,
    not_after: u64,
}

impl Lifetime {
    pub(crate) fn of(package: &mls_rs::KeyPackage) -> Result<Self, mls_rs_codec::Error> {
        let bytes = package.mls_encode_to_vec()?;
        let KeyPackageParts { source, not_before, not_after, .. } =
            KeyPackageParts::mls_decode(&mut &bytes[..])?;
        if source == LEAF_OF_KEY_PACKAGE {
            Ok(Self { not_before, not_after })
        } else {
            Err(mls_rs_codec::Error::UnsupportedEnumDiscriminant)
        }
    }

    /// Whether it is longer than the existing clients accept. No clock plays a part in that, so that all decide alike.
    pub(crate) fn is_too_long(self) -> bool {
        self.length() > MAX_LIFETIME + BACKDATE
    }

    fn length(self) -> Duration {
        Duration::from_secs(self.not_after.saturating_sub(self.not_before))
    }
}

/// `key_package` among the sources of leaf nodes (RFC 9420, section 7.2).
const LEAF_OF_KEY_PACKAGE: u8 = 1;

/// How a key package begins, up to its lifetime (RFC 9420, sections 7.2 and 10), of which the library shows the end only.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct KeyPackageParts {
    version: u16,
    ciphersuite: u16,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    init_key: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    encryption_key: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    signature_key: Vec<u8>,
    credential: MlsCredential,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    versions: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    ciphersuites: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    extensions: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    proposals: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    credentials: Vec<u8>,
    source: u8,
    not_before: u64,
    not_after: u64,
}

impl fmt::Debug for KeyPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPackage")
            .field("client_id", &self.client_id)
            .field("reference", &hex::encode(&self.reference[..self.reference.len().min(4)]))
            .finish_non_exhaustive()
    }
}
