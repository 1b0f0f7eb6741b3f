//! Whether a key package can be offered to others for a device.

use std::time::Duration;

use mls_rs::{
    CryptoProvider as _, KeyPackage, MlsMessage, ProtocolVersion,
    crypto::HpkePublicKey,
    error::MlsError,
    external_client::ExternalClient,
    group::{LeafNode, LeafNodeSource},
    identity::CredentialType,
    mls_rs_codec::{MlsDecode as _, MlsEncode as _},
    time::MlsTime,
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use sha2::{Digest as _, Sha256};
use tertulia_domain::{DeviceAddress, limits::MAX_KEY_PACKAGE_BYTES};

use super::{CIPHER_SUITE, DeviceIdentityProvider};

/// How far the clocks of the hub and of a device may differ, added to the longest lifetime. Devices set the start of the
/// lifetime into the past by as much.
const CLOCK_DIFFERENCE: Duration = Duration::from_hours(1);

/// A key package that passed [`check`].
#[derive(Debug, Clone)]
pub(crate) struct ValidKeyPackage {
    /// As it was uploaded.
    pub(crate) bytes: Vec<u8>,
    /// SHA-256 of the bare `KeyPackage`, however it was wrapped.
    pub(crate) hash: [u8; 32],
    /// Milliseconds since 1970.
    pub(crate) expires_at: i64,
}

/// What a key package is checked against.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Whose it has to be.
    pub(crate) device: DeviceAddress,
    /// The key that the device registered.
    pub(crate) signature_key: Vec<u8>,
    /// The longest lifetime.
    pub(crate) lifetime: Duration,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
}

/// Why a key package is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum KeyPackageError {
    #[error("it has {got} bytes; {max} are allowed", max = MAX_KEY_PACKAGE_BYTES)]
    Size { got: usize },
    #[error("it is neither a KeyPackage nor an MLSMessage with one")]
    Malformed,
    #[error("its version of MLS is not mls10")]
    Version,
    #[error("its cipher suite is not the one of this hub, {}", CIPHER_SUITE.raw_value())]
    CipherSuite,
    #[error("MLS does not allow it: {0}")]
    Mls(#[source] MlsError),
    #[error("its credential names another device, or none")]
    Identity,
    #[error("its leaf has another signature key than the one that the device registered")]
    SignatureKey,
    #[error("its capabilities leave out basic credentials")]
    Capabilities,
    #[error("its lifetime is over, has not begun, or is longer than {} days", .max.as_secs() / 86_400)]
    Lifetime { max: Duration },
}

/// Checks a key package (RFC 9420 section 10.1), and that it is the device's own.
pub(crate) fn check(bytes: Vec<u8>, expected: &Expected) -> Result<ValidKeyPackage, KeyPackageError> {
    if bytes.len() > MAX_KEY_PACKAGE_BYTES {
        return Err(KeyPackageError::Size { got: bytes.len() });
    }
    let message = read(&bytes)?;
    let now = u64::try_from(expected.now / 1000).unwrap_or_default();
    let client = ExternalClient::builder()
        .crypto_provider(AwsLcCryptoProvider::new())
        .identity_provider(DeviceIdentityProvider::new(expected.device.domain.clone()))
        .build();
    let offered = message.as_key_package().ok_or(KeyPackageError::Malformed)?;
    if offered.version != ProtocolVersion::MLS_10 {
        return Err(KeyPackageError::Version);
    }
    if offered.cipher_suite != CIPHER_SUITE {
        return Err(KeyPackageError::CipherSuite);
    }
    let key_package = client.validate_key_package(message, None).map_err(KeyPackageError::Mls)?;

    let bare = key_package.mls_encode_to_vec().map_err(|_| KeyPackageError::Malformed)?;
    let leaf = leaf(&bare)?;
    let identities = DeviceIdentityProvider::new(expected.device.domain.clone());
    match identities.device(&leaf.signing_identity) {
        Ok(device) if device == expected.device => {}
        _ => return Err(KeyPackageError::Identity),
    }
    if leaf.signing_identity.signature_key.as_ref() != expected.signature_key {
        return Err(KeyPackageError::SignatureKey);
    }
    if !leaf.capabilities.credentials.contains(&CredentialType::BASIC) {
        return Err(KeyPackageError::Capabilities);
    }
    let expires_at = lifetime_end(&leaf, MlsTime::from(now), expected.lifetime)?;
    Ok(ValidKeyPackage {
        hash: Sha256::digest(&bare).into(),
        expires_at: i64::try_from(expires_at.seconds_since_epoch().saturating_mul(1000)).unwrap_or(i64::MAX),
        bytes,
    })
}

/// The `KeyPackageRef` (RFC 9420 section 5.2) by which a Welcome names a key package; none for what is no key package.
pub(crate) fn reference(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = read(bytes).ok()?;
    let suite = AwsLcCryptoProvider::new().cipher_suite_provider(CIPHER_SUITE)?;
    Some(message.as_key_package()?.to_reference(&suite).ok()?.to_vec())
}

/// Whether a key package is over by the clock of some device.
pub(super) fn expires_soon(key_package: &KeyPackage, now: MlsTime) -> bool {
    let ahead = now.seconds_since_epoch().saturating_add(CLOCK_DIFFERENCE.as_secs());
    key_package.expiration().map_or(true, |end| end.seconds_since_epoch() <= ahead)
}

/// A `KeyPackage` begins with its version and suite, an `MLSMessage` with its version and wire format. The hub's suite is
/// 1 and the wire format of key packages 5 (RFC 9420 section 17), which tells the two apart.
fn read(bytes: &[u8]) -> Result<MlsMessage, KeyPackageError> {
    let header = [0, 1, 0, 5];
    let message = if bytes.starts_with(&header) {
        MlsMessage::from_bytes(bytes)
    } else {
        MlsMessage::from_bytes(&[&header, bytes].concat())
    };
    message.map_err(|_| KeyPackageError::Malformed)
}

/// The leaf inside a key package (RFC 9420 section 10): it follows version, suite and init key.
pub(super) fn leaf(mut key_package: &[u8]) -> Result<LeafNode, KeyPackageError> {
    let reader = &mut key_package;
    ProtocolVersion::mls_decode(reader)
        .and_then(|_| mls_rs::CipherSuite::mls_decode(reader))
        .and_then(|_| HpkePublicKey::mls_decode(reader))
        .and_then(|_| LeafNode::mls_decode(reader))
        .map_err(|_| KeyPackageError::Malformed)
}

fn lifetime_end(leaf: &LeafNode, now: MlsTime, max: Duration) -> Result<MlsTime, KeyPackageError> {
    let LeafNodeSource::KeyPackage(lifetime) = &leaf.leaf_node_source else {
        return Err(KeyPackageError::Malformed);
    };
    let (start, end) = (lifetime.not_before.seconds_since_epoch(), lifetime.not_after.seconds_since_epoch());
    let now = now.seconds_since_epoch();
    let longest = (max + CLOCK_DIFFERENCE).as_secs();
    let valid = start <= now.saturating_add(CLOCK_DIFFERENCE.as_secs())
        && now < end
        && end.saturating_sub(start) <= longest;
    if valid { Ok(lifetime.not_after) } else { Err(KeyPackageError::Lifetime { max }) }
}
