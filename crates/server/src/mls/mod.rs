//! What the hub sees of MLS (RFC 9420): public handshakes, trees and `GroupInfo`, never a secret.
//!
//! Pure functions over bytes: nothing here knows of storage or HTTP. [`message`] takes request bodies apart, [`observer`]
//! follows a group from commit to commit and signs the hub's own proposals, [`proposals`] looks at those of devices, [`identity`] says who may be in a group,
//! [`key_package`] what devices may offer. What users may do to each other is not decided here: a [`ValidCommit`] names
//! the devices that come and go, and the caller compares them with members, roles and connections.

mod checks;
mod fitness;
mod hidden;
pub(crate) mod identity;
pub(crate) mod key_package;
pub(crate) mod message;
pub(crate) mod observer;
pub(crate) mod proposals;
mod rejection;
#[cfg(test)]
mod tests;

pub(crate) use identity::DeviceIdentityProvider;
pub(crate) use message::{ApplicationMessage, CommitBundle, ProposalMessage};
pub(crate) use observer::{Observer, Removed, ValidCommit, is_readable};
pub(crate) use rejection::Rejection;

use mls_rs::{CipherSuite, CipherSuiteProvider as _, CryptoProvider as _, crypto::SignaturePublicKey};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;

/// The one cipher suite of this hub's groups, `MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519`.
pub(crate) const CIPHER_SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;

/// Whether a device's signature key has signed these bytes.
pub(crate) fn verify_signature(key: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    AwsLcCryptoProvider::new()
        .cipher_suite_provider(CIPHER_SUITE)
        .is_some_and(|suite| suite.verify(&SignaturePublicKey::new_slice(key), signature, bytes).is_ok())
}
