//! What a device signs with.

use std::fmt;

use mls_rs::{
    CipherSuiteProvider,
    crypto::{SignaturePublicKey, SignatureSecretKey},
    identity::{Credential as MlsCredential, SigningIdentity, basic::BasicCredential},
};
use mls_rs_core::identity::CertificateChain;
use zeroize::Zeroizing;

use crate::{
    CertificateError, Ciphersuite, ClientId, EngineError, IdentityCredential, Result, provider, x509,
};

/// A client's identity with a signature key pair that was made for it.
///
/// The private key leaves memory only towards the store, and is wiped when this is dropped.
#[derive(Clone)]
pub struct Credential {
    pub(crate) client_id: ClientId,
    pub(crate) ciphersuite: Ciphersuite,
    pub(crate) public_key: Vec<u8>,
    pub(crate) secret_key: Zeroizing<Vec<u8>>,
    /// The certificates; none for a basic credential.
    pub(crate) chain: Option<CertificateChain>,
}

impl Credential {
    /// A basic credential (RFC 9420, section 5.3) for `client_id` with a new key pair.
    pub fn basic(client_id: ClientId, ciphersuite: Ciphersuite) -> Result<Self> {
        let suite = provider::cipher_suite_provider(ciphersuite)?;
        let (secret, public) =
            suite.signature_key_generate().map_err(|error| EngineError::Library(Box::new(error)))?;
        let secret = Zeroizing::new(secret.as_bytes().to_vec());
        Ok(Self::of_key_pair(client_id, ciphersuite, secret, public.as_bytes().to_vec()))
    }

    /// A basic credential with a new key pair, for a client whose id follows from the public key, given raw.
    pub fn basic_named_by_key(
        ciphersuite: Ciphersuite,
        client_id: impl FnOnce(&[u8]) -> ClientId,
    ) -> Result<Self> {
        let mut credential = Self::basic(ClientId::from(Vec::new()), ciphersuite)?;
        credential.client_id = client_id(&credential.public_key);
        Ok(credential)
    }

    /// A basic credential of keys that are known to belong together.
    pub(crate) fn of_key_pair(
        client_id: ClientId,
        ciphersuite: Ciphersuite,
        secret_key: Zeroizing<Vec<u8>>,
        public_key: Vec<u8>,
    ) -> Self {
        Self { client_id, ciphersuite, public_key, secret_key, chain: None }
    }

    /// An X.509 credential (RFC 9420, section 5.3): certificates in DER, the device's first, each followed by that of its
    /// issuer; the trust anchor's may be left out. With the private key of the first, a PKCS #8 in DER or PEM.
    ///
    /// At most 8 certificates, of 16 KiB each. Of the device's certificate
    ///
    /// - the key is one of the ciphersuite's signature scheme, and for signatures, if a key usage is named;
    /// - one alternative name is the URI `wireapp://<user uuid>!<device hex>@<domain>`, which names the client; the user may
    ///   be written as the bytes of the UUID in base64url instead;
    /// - one alternative name may be the URI `wireapp://%40<handle>@<domain>`, which names the user's handle;
    /// - the subject's common name, if there is one, is the user's name as people read it;
    /// - the subject's organisation, if there is one, is the domain.
    ///
    /// Whether somebody trusted vouches for it is looked at when it is used.
    pub fn x509(
        chain: impl IntoIterator<Item = impl Into<Vec<u8>>>,
        private_key: &[u8],
        ciphersuite: Ciphersuite,
    ) -> Result<Self> {
        let chain = CertificateChain::from(chain.into_iter().map(Into::into).collect::<Vec<Vec<u8>>>());
        let leaf = x509::parse_leaf(&chain)?;
        if leaf.scheme != ciphersuite.signature_scheme() {
            return Err(CertificateError::Malformed("a key of another ciphersuite").into());
        }
        let (secret_key, public_key) = x509::signature_key_from_pkcs8(private_key, leaf.scheme)
            .filter(|(_, public_key)| *public_key == leaf.public_key)
            .ok_or(EngineError::InvalidPrivateKey)?;
        Ok(Self { client_id: leaf.client_id, ciphersuite, public_key, secret_key, chain: Some(chain) })
    }

    /// [`x509`](Self::x509) with the certificates in a PEM text.
    pub fn x509_pem(chain: &[u8], private_key: &[u8], ciphersuite: Ciphersuite) -> Result<Self> {
        Self::x509(x509::chain_from_pem(chain)?, private_key, ciphersuite)
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
            credential_type: self.credential_type(),
        }
    }

    pub(crate) fn credential_type(&self) -> IdentityCredential {
        if self.chain.is_some() { IdentityCredential::X509 } else { IdentityCredential::Basic }
    }

    /// As it stands in a leaf.
    pub(crate) fn signing_identity(&self) -> SigningIdentity {
        let credential = match &self.chain {
            Some(chain) => MlsCredential::X509(chain.clone()),
            None => BasicCredential::new(self.client_id.as_bytes().to_vec()).into_credential(),
        };
        SigningIdentity::new(credential, SignaturePublicKey::new(self.public_key.clone()))
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
    pub(crate) credential_type: IdentityCredential,
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

    /// Whether it is a bare name or a certificate.
    pub fn credential_type(&self) -> IdentityCredential {
        self.credential_type
    }
}

impl fmt::Debug for CredentialRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialRef")
            .field("client_id", &self.client_id)
            .field("ciphersuite", &self.ciphersuite)
            .field("credential_type", &self.credential_type)
            .field("public_key", &hex::encode(&self.public_key[..self.public_key.len().min(4)]))
            .finish()
    }
}

/// Which credentials to find: those that have all of what is named here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialFilter {
    /// Those of this client, in whatever spelling.
    pub client_id: Option<ClientId>,
    /// Those for this ciphersuite.
    pub ciphersuite: Option<Ciphersuite>,
    /// Those of this type.
    pub credential_type: Option<IdentityCredential>,
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
