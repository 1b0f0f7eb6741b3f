//! The session's policy inside the MLS library.

use std::sync::Arc;

use mls_rs::{
    ExtensionList, IdentityProvider,
    error::IntoAnyError,
    identity::{CredentialType, SigningIdentity},
    time::MlsTime,
};
use mls_rs_core::identity::MemberValidationContext;

use super::{CertificatePolicy, ClientIdError, ClientIdPolicy, chain_of, client_id_of};
use crate::{CertificateError, ClientId, x509::Trust};

/// Says who a member is, and refuses what can be no member whatever the time and the trust anchors are.
///
/// The library does not tell it who is new and who was there, so that certificates are judged outside, by
/// [`Judge`](super::Judge). What the judge refuses while a commit is made is left out here.
#[derive(Clone)]
pub(crate) struct PolicyIdentityProvider {
    pub(crate) clients: Arc<dyn ClientIdPolicy>,
    pub(crate) certificates: CertificatePolicy,
    pub(crate) trust: Trust,
}

/// A [`ClientIdError`] on its way through the library, whose traits are not for everybody to see on that.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Refusal(pub(crate) ClientIdError);

impl<E: Into<ClientIdError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoAnyError for Refusal {
    fn into_dyn_error(self) -> Result<Box<dyn std::error::Error + Send + Sync>, Self> {
        Ok(Box::new(self))
    }
}

impl PolicyIdentityProvider {
    fn canonical(&self, identity: &SigningIdentity) -> Result<ClientId, ClientIdError> {
        self.clients.canonical(&client_id_of(identity)?)
    }
}

impl IdentityProvider for PolicyIdentityProvider {
    type Error = Refusal;

    fn validate_member(
        &self,
        signing_identity: &SigningIdentity,
        _timestamp: Option<MlsTime>,
        _context: MemberValidationContext<'_>,
    ) -> Result<(), Refusal> {
        self.canonical(signing_identity)?;
        if self.trust.is_refused(signing_identity) {
            return Err(CertificateError::Untrusted.into());
        }
        Ok(())
    }

    /// An external sender is known by its key: any basic credential will do.
    fn validate_external_sender(
        &self,
        signing_identity: &SigningIdentity,
        _timestamp: Option<MlsTime>,
        _extensions: Option<&ExtensionList>,
    ) -> Result<(), Refusal> {
        let credential = &signing_identity.credential;
        if credential.as_basic().is_some() {
            return Ok(());
        }
        Err(ClientIdError::CredentialType { credential_type: *credential.credential_type() }.into())
    }

    fn identity(
        &self,
        signing_identity: &SigningIdentity,
        _extensions: &ExtensionList,
    ) -> Result<Vec<u8>, Refusal> {
        Ok(self.canonical(signing_identity)?.into_bytes())
    }

    /// Only a client itself comes in its own place, and not with less than it had.
    fn valid_successor(
        &self,
        predecessor: &SigningIdentity,
        successor: &SigningIdentity,
        _extensions: &ExtensionList,
    ) -> Result<bool, Refusal> {
        let is_downgrade = chain_of(predecessor).is_some() && chain_of(successor).is_none();
        if is_downgrade && self.certificates == CertificatePolicy::Enforce {
            return Err(CertificateError::Downgrade.into());
        }
        Ok(self.canonical(predecessor)? == self.canonical(successor)?)
    }

    fn supported_types(&self) -> Vec<CredentialType> {
        vec![CredentialType::BASIC, CredentialType::X509]
    }
}
