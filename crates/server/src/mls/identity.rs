//! Who may be a member of a group on this hub.

use mls_rs::{
    ExtensionList, IdentityProvider,
    error::IntoAnyError,
    identity::{CredentialType, SigningIdentity},
    time::MlsTime,
};
use mls_rs_core::identity::MemberValidationContext;
use tertulia_domain::{DeviceAddress, Domain, UserId, ids::AddressError};

/// Accepts basic credentials whose identity is a device of this hub, `<user uuid>:<device hex>@<domain>`, or that of a
/// history client, `history-client:<uuid>`, a member that no device is behind (decision 7).
///
/// X.509 is listed among the supported credential types, so that members may offer it, and not accepted yet.
#[derive(Debug, Clone)]
pub(crate) struct DeviceIdentityProvider {
    domain: Domain,
}

/// Why a credential is not one of a device of this hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum IdentityError {
    /// The credential is of another type.
    #[error("only basic credentials are accepted, got type {}", .0.raw_value())]
    CredentialType(CredentialType),
    /// The identity is not a device address.
    #[error("the identity is not that of a device: {0}")]
    Address(#[from] AddressError),
    /// The device is one of another hub.
    #[error("the identity is of a device of another hub")]
    ForeignDomain,
}

impl IntoAnyError for IdentityError {
    fn into_dyn_error(self) -> Result<Box<dyn std::error::Error + Send + Sync>, Self> {
        Ok(self.into())
    }
}

impl DeviceIdentityProvider {
    /// For the hub of this domain.
    pub(crate) const fn new(domain: Domain) -> Self {
        Self { domain }
    }

    /// The hub's domain.
    pub(crate) const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The device that a leaf is of.
    pub(crate) fn device(&self, identity: &SigningIdentity) -> Result<DeviceAddress, IdentityError> {
        let basic = identity
            .credential
            .as_basic()
            .ok_or_else(|| IdentityError::CredentialType(identity.credential.credential_type()))?;
        let address = DeviceAddress::from_identity(&basic.identifier)?;
        if address.domain == self.domain { Ok(address) } else { Err(IdentityError::ForeignDomain) }
    }
}

/// What the identity of a history client begins with.
const HISTORY_CLIENT: &[u8] = b"history-client:";

/// Whether a leaf is that of a history client.
pub(super) fn is_history_client(identity: &SigningIdentity) -> bool {
    let name = identity.credential.as_basic().and_then(|basic| basic.identifier.strip_prefix(HISTORY_CLIENT));
    // The one spelling of a UUID, so that a history client cannot be in a group twice.
    name.and_then(|name| std::str::from_utf8(name).ok())
        .is_some_and(|name| name.parse::<UserId>().is_ok_and(|id| id.to_string() == name))
}

impl IdentityProvider for DeviceIdentityProvider {
    type Error = IdentityError;

    fn validate_member(
        &self,
        identity: &SigningIdentity,
        _timestamp: Option<MlsTime>,
        _context: MemberValidationContext<'_>,
    ) -> Result<(), IdentityError> {
        if is_history_client(identity) { Ok(()) } else { self.device(identity).map(|_| ()) }
    }

    // The external sender is the hub itself; that its key is the right one is checked where groups are observed.
    fn validate_external_sender(
        &self,
        identity: &SigningIdentity,
        _timestamp: Option<MlsTime>,
        _extensions: Option<&ExtensionList>,
    ) -> Result<(), IdentityError> {
        match identity.credential.as_basic() {
            Some(_) => Ok(()),
            None => Err(IdentityError::CredentialType(identity.credential.credential_type())),
        }
    }

    fn identity(&self, identity: &SigningIdentity, _: &ExtensionList) -> Result<Vec<u8>, IdentityError> {
        if let (true, Some(basic)) = (is_history_client(identity), identity.credential.as_basic()) {
            return Ok(basic.identifier.clone());
        }
        // One spelling of a device, so that it cannot be in a group twice.
        self.device(identity).map(|address| address.to_identity())
    }

    fn valid_successor(
        &self,
        predecessor: &SigningIdentity,
        successor: &SigningIdentity,
        _extensions: &ExtensionList,
    ) -> Result<bool, IdentityError> {
        Ok(self.device(predecessor)? == self.device(successor)?)
    }

    fn supported_types(&self) -> Vec<CredentialType> {
        vec![CredentialType::BASIC, CredentialType::X509]
    }
}
