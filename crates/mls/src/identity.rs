//! Who may be a member, and what a member's credential says.

mod judge;
mod provider;
mod query;
mod wire;

use mls_rs::identity::{Credential, SigningIdentity};
use mls_rs_core::identity::CertificateChain;
use tertulia_domain::ids::{AddressError, DeviceAddress, UserId, UuidError};

pub use self::wire::{DeviceStatus, E2eiConversationState, IdentityCredential, WireIdentity, X509Identity};
pub(crate) use self::{
    judge::Judge,
    provider::{PolicyIdentityProvider, Refusal},
};
use crate::{
    CertificateError, ClientId, EngineError,
    x509::{Leaf, parse_leaf},
};

/// Decides which client ids may be members, and when two of them are the same client.
///
/// Every member of a group must decide alike, or the group falls apart: those who refuse a commit that the others
/// accept stay behind.
pub trait ClientIdPolicy: Send + Sync {
    /// The form of `id` that is compared: two ids with the same canonical form are one client, and a group has it once.
    fn canonical(&self, id: &ClientId) -> Result<ClientId, ClientIdError>;
}

/// Accepts `<user uuid>:<device, 1 to 16 hex digits>@<domain>`, and `history-client:<uuid>`.
///
/// The number of leading zeros of a device does not matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceIdPolicy;

/// What stands before the UUID of a client that keeps history for others.
pub(crate) const HISTORY_CLIENT: &str = "history-client:";

impl ClientId {
    /// Whether it is the identity of a client that keeps history for others, and so no device's.
    pub fn is_history_client(&self) -> bool {
        self.as_bytes().starts_with(HISTORY_CLIENT.as_bytes())
    }
}

impl ClientIdPolicy for DeviceIdPolicy {
    fn canonical(&self, id: &ClientId) -> Result<ClientId, ClientIdError> {
        if let Some(uuid) = id.as_str().and_then(|text| text.strip_prefix(HISTORY_CLIENT)) {
            let user: UserId = uuid.parse().map_err(ClientIdError::HistoryClient)?;
            return Ok(ClientId::from(format!("{HISTORY_CLIENT}{user}")));
        }
        Ok(DeviceAddress::from_identity(id.as_bytes())?.to_identity().into())
    }
}

/// Why a client id is refused. It stands in [`EngineError::InvalidClientId`](crate::EngineError::InvalidClientId).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientIdError {
    /// It is no device address. Drop what it came with; an own id is to be made with `DeviceAddress`.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// What stands behind `history-client:` is no UUID. Drop what it came with.
    #[error("the id of a history client: {0}")]
    HistoryClient(UuidError),
    /// The credential is neither a basic one nor a certificate. Drop what it came with.
    #[error("credentials of type {credential_type:#06x} are not accepted")]
    CredentialType {
        /// The type's number in the IANA registry.
        credential_type: u16,
    },
    /// The certificate that names the client is refused. Drop what it came with; see the reason.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The policy of the application refuses it. Drop what it came with; the application knows why.
    #[error("{0}")]
    Policy(&'static str),
}

impl From<CertificateError> for EngineError {
    fn from(error: CertificateError) -> Self {
        Self::InvalidCertificate(error)
    }
}

impl From<ClientIdError> for EngineError {
    fn from(error: ClientIdError) -> Self {
        match error {
            ClientIdError::Certificate(error) => Self::InvalidCertificate(error),
            error => Self::InvalidClientId(error),
        }
    }
}

/// What is done about certificates of others that are not good.
///
/// In question are certificates that no registered trust anchor vouches for, that are not valid yet, have expired, or were
/// revoked by a registered list. They come in with key packages, proposals, commits and Welcomes.
///
/// A certificate is judged when it comes in, and not again: who is a member stays one when the certificate expires or is
/// revoked later. The status in [`WireIdentity`] tells, and members can remove the device. So a stored conversation is
/// never lost by the passing of time, and an old leaf is no reason to refuse a commit. Of members that are there already
/// when this device joins, expired certificates are accepted likewise.
///
/// All members must decide alike, or those who refuse a commit that the others take stay behind, until the device in
/// question is removed and they join anew. So use one policy and the same trust anchors, and see
/// [`judge_certificates_at`](crate::TransactionContext::judge_certificates_at).
///
/// Under both policies a certificate is refused that is malformed, certifies another key, or names a client that the
/// [`ClientIdPolicy`] does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CertificatePolicy {
    /// They are refused with [`InvalidCertificate`](EngineError::InvalidCertificate), and so is a basic credential in the
    /// place of a certificate of the same client. The default: what nobody vouches for is not let in by omission, and who
    /// uses no certificates does not notice.
    #[default]
    Enforce,
    /// They are let in, and their status tells.
    Report,
}

/// The certificates of a credential, if it has any.
pub(crate) fn chain_of(identity: &SigningIdentity) -> Option<&CertificateChain> {
    match &identity.credential {
        Credential::X509(chain) => Some(chain),
        _ => None,
    }
}

/// Whom a credential names: the content of a basic one, or the name in the certificate, which must be for the key.
pub(crate) fn client_id_of(identity: &SigningIdentity) -> Result<ClientId, ClientIdError> {
    match &identity.credential {
        Credential::Basic(basic) => Ok(ClientId::from(basic.identifier.as_slice())),
        Credential::X509(chain) => Ok(leaf_of(identity, chain)?.client_id),
        other => Err(ClientIdError::CredentialType { credential_type: *other.credential_type() }),
    }
}

/// What the certificate says that is for the key.
pub(crate) fn leaf_of(
    identity: &SigningIdentity,
    chain: &CertificateChain,
) -> Result<Leaf, CertificateError> {
    let leaf = parse_leaf(chain)?;
    if leaf.public_key == identity.signature_key.as_bytes() {
        Ok(leaf)
    } else {
        Err(CertificateError::WrongKey)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const USER: &str = "f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47";

    #[test]
    fn devices_and_history_clients_are_accepted_in_one_form_each() {
        let canonical = |text: String| DeviceIdPolicy.canonical(&ClientId::from(text));
        let short = canonical(format!("{USER}:c0ffee@hub.example.com")).unwrap();
        assert_eq!(short, canonical(format!("{USER}:0000000000c0ffee@hub.example.com")).unwrap());
        assert_ne!(short, canonical(format!("{USER}:c0ffef@hub.example.com")).unwrap());
        let history = ClientId::from(format!("history-client:{USER}"));
        assert_eq!(DeviceIdPolicy.canonical(&history), Ok(history));
    }

    #[test]
    fn other_identities_are_refused() {
        for text in ["alice", "", "history-client:x", "f3b0:1@hub"] {
            assert!(DeviceIdPolicy.canonical(&ClientId::from(text)).is_err(), "{text}");
        }
    }
}
