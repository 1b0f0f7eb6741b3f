//! Who may be a member, and what a member's credential says.

use std::sync::Arc;

use mls_rs::{
    ExtensionList, IdentityProvider,
    error::IntoAnyError,
    identity::{CredentialType, SigningIdentity},
    time::MlsTime,
};
use mls_rs_core::identity::MemberValidationContext;
use tertulia_domain::ids::{AddressError, DeviceAddress, UserId, UuidError};

use crate::ClientId;

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
const HISTORY_CLIENT: &str = "history-client:";

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
    /// The credential is not a basic one. Drop what it came with: X.509 certificates are not verified yet, so their holders
    /// are refused.
    #[error("credentials of type {credential_type:#06x} are not accepted")]
    CredentialType {
        /// The type's number in the IANA registry.
        credential_type: u16,
    },
    /// The policy of the application refuses it. Drop what it came with; the application knows why.
    #[error("{0}")]
    Policy(&'static str),
}

impl IntoAnyError for ClientIdError {
    fn into_dyn_error(self) -> Result<Box<dyn std::error::Error + Send + Sync>, Self> {
        Ok(Box::new(self))
    }
}

/// What the credential of a sender claims. With a basic credential nothing proves it: the delivery service vouches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireIdentity {
    /// The whole identity.
    pub client_id: ClientId,
    /// Its parts, when it has the form of a device's address.
    pub address: Option<DeviceAddress>,
    /// How the identity is vouched for.
    pub credential_type: IdentityCredential,
}

/// Kinds of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityCredential {
    /// A bare name.
    Basic,
}

impl WireIdentity {
    pub(crate) fn basic(client_id: ClientId) -> Self {
        let address = DeviceAddress::from_identity(client_id.as_bytes()).ok();
        Self { client_id, address, credential_type: IdentityCredential::Basic }
    }
}

/// The identity in a basic credential.
pub(crate) fn client_id_of(identity: &SigningIdentity) -> Result<ClientId, ClientIdError> {
    let credential = &identity.credential;
    match credential.as_basic() {
        Some(basic) => Ok(ClientId::from(basic.identifier.as_slice())),
        None => Err(ClientIdError::CredentialType { credential_type: *credential.credential_type() }),
    }
}

/// Applies the session's policy inside the library.
#[derive(Clone)]
pub(crate) struct PolicyIdentityProvider(pub(crate) Arc<dyn ClientIdPolicy>);

impl PolicyIdentityProvider {
    fn canonical(&self, identity: &SigningIdentity) -> Result<ClientId, ClientIdError> {
        self.0.canonical(&client_id_of(identity)?)
    }
}

impl IdentityProvider for PolicyIdentityProvider {
    type Error = ClientIdError;

    fn validate_member(
        &self,
        signing_identity: &SigningIdentity,
        _timestamp: Option<MlsTime>,
        _context: MemberValidationContext<'_>,
    ) -> Result<(), ClientIdError> {
        self.canonical(signing_identity).map(drop)
    }

    /// An external sender is known by its key: any basic credential will do.
    fn validate_external_sender(
        &self,
        signing_identity: &SigningIdentity,
        _timestamp: Option<MlsTime>,
        _extensions: Option<&ExtensionList>,
    ) -> Result<(), ClientIdError> {
        client_id_of(signing_identity).map(drop)
    }

    fn identity(
        &self,
        signing_identity: &SigningIdentity,
        _extensions: &ExtensionList,
    ) -> Result<Vec<u8>, ClientIdError> {
        self.canonical(signing_identity).map(ClientId::into_bytes)
    }

    /// Only a client itself comes in its own place.
    fn valid_successor(
        &self,
        predecessor: &SigningIdentity,
        successor: &SigningIdentity,
        _extensions: &ExtensionList,
    ) -> Result<bool, ClientIdError> {
        Ok(self.canonical(predecessor)? == self.canonical(successor)?)
    }

    /// Both are named in the leaves of this device, since other implementations require it of every member. A member
    /// with a certificate is refused by `validate_member` all the same.
    fn supported_types(&self) -> Vec<CredentialType> {
        vec![CredentialType::BASIC, CredentialType::X509]
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
