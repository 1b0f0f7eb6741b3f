//! What a device signs with.

use std::fmt;

use mls_rs::{
    CipherSuiteProvider,
    crypto::{SignaturePublicKey, SignatureSecretKey},
    identity::{SigningIdentity, basic::BasicCredential},
};
use zeroize::Zeroizing;

use crate::{Ciphersuite, ClientId, EngineError, Result, provider};

/// A client's identity with a signature key pair that was made for it.
///
/// The private key leaves memory only towards the store, and is wiped when this is dropped.
#[derive(Clone)]
pub struct Credential {
    pub(crate) client_id: ClientId,
    pub(crate) ciphersuite: Ciphersuite,
    pub(crate) public_key: Vec<u8>,
    pub(crate) secret_key: Zeroizing<Vec<u8>>,
}

impl Credential {
    /// A basic credential (RFC 9420, section 5.3) for `client_id` with a new key pair.
    pub fn basic(client_id: ClientId, ciphersuite: Ciphersuite) -> Result<Self> {
        let suite = provider::cipher_suite_provider(ciphersuite)?;
        let (secret, public) =
            suite.signature_key_generate().map_err(|error| EngineError::Library(Box::new(error)))?;
        Ok(Self {
            client_id,
            ciphersuite,
            public_key: public.as_bytes().to_vec(),
            secret_key: Zeroizing::new(secret.as_bytes().to_vec()),
        })
    }

    /// Whose credential it is.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The signature public key, raw: its length is [`SignatureScheme::public_key_length`](crate::SignatureScheme).
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    pub(crate) fn reference(&self) -> CredentialRef {
        CredentialRef {
            client_id: self.client_id.clone(),
            ciphersuite: self.ciphersuite,
            public_key: self.public_key.clone(),
        }
    }

    pub(crate) fn signing_identity(&self) -> SigningIdentity {
        SigningIdentity::new(
            BasicCredential::new(self.client_id.as_bytes().to_vec()).into_credential(),
            SignaturePublicKey::new(self.public_key.clone()),
        )
    }

    pub(crate) fn signer(&self) -> SignatureSecretKey {
        SignatureSecretKey::new(self.secret_key.to_vec())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.reference(), f)
    }
}

/// A credential in the store, without its private key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CredentialRef {
    pub(crate) client_id: ClientId,
    pub(crate) ciphersuite: Ciphersuite,
    pub(crate) public_key: Vec<u8>,
}

impl CredentialRef {
    /// Whose credential it is.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The ciphersuite that it is for.
    pub fn ciphersuite(&self) -> Ciphersuite {
        self.ciphersuite
    }

    /// The signature public key, raw: its length is [`SignatureScheme::public_key_length`](crate::SignatureScheme).
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

impl fmt::Debug for CredentialRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialRef")
            .field("client_id", &self.client_id)
            .field("ciphersuite", &self.ciphersuite)
            .field("public_key", &hex::encode(&self.public_key[..self.public_key.len().min(4)]))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_private_key_is_not_printed() {
        let credential = Credential::basic(ClientId::from("alice"), Ciphersuite::default()).unwrap();
        let printed = format!("{credential:?}");
        assert!(!printed.contains(&hex::encode(&credential.secret_key[..])), "{printed}");
        assert!(!printed.contains("secret"), "{printed}");
    }
}
