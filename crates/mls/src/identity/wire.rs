//! What is told about a device.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mls_rs::identity::SigningIdentity;
use tertulia_domain::ids::DeviceAddress;

use super::{chain_of, client_id_of, leaf_of};
use crate::{
    ClientId, Result, SignatureScheme,
    overlay::Overlay,
    record::sha256,
    x509::{Leaf, Verdict},
};

/// Who a device claims to be, and what vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireIdentity {
    /// The whole identity.
    pub client_id: ClientId,
    /// Its parts, when it has the form of a device's address.
    pub address: Option<DeviceAddress>,
    /// How the identity is vouched for.
    pub credential_type: IdentityCredential,
    /// The JWK thumbprint (RFC 7638) of the signature key, with SHA-256, in base64url: for people to compare.
    pub thumbprint: String,
    /// What the certificate is worth now. None for a basic credential: there is nothing that could be worth anything, the
    /// delivery service alone vouches.
    pub status: Option<DeviceStatus>,
    /// What the certificate says.
    pub x509_identity: Option<X509Identity>,
}

/// Kinds of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdentityCredential {
    /// A bare name.
    Basic,
    /// A certificate.
    X509,
}

/// What the certificate of a device is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceStatus {
    /// A registered trust anchor vouches for it.
    Valid,
    /// It was valid, and its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// No registered trust anchor vouches for it, or it is not valid yet. Only with
    /// [`CertificatePolicy::Report`](crate::CertificatePolicy::Report), or when the anchor was removed, is there such a
    /// member.
    Untrusted,
}

/// What the certificate of a device says. Believe it when the status is [`DeviceStatus::Valid`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct X509Identity {
    /// The user's handle, without `@`.
    pub handle: Option<String>,
    /// The user's name as people read it, at most 256 characters.
    pub display_name: Option<String>,
    /// The user's domain.
    pub domain: String,
    /// The device's certificate in DER.
    pub certificate: Vec<u8>,
    /// Its serial number in hex digits.
    pub serial_number: String,
    /// From when it is valid, in seconds since 1970.
    pub not_before: u64,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: u64,
}

/// Whether the devices of a conversation are vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum E2eiConversationState {
    /// All members have a valid certificate.
    Verified,
    /// Some member has a certificate, and not all have a valid one.
    NotVerified,
    /// No member has a certificate.
    NotEnabled,
}

impl E2eiConversationState {
    pub(crate) fn of(members: impl IntoIterator<Item = Option<DeviceStatus>>) -> Self {
        let (mut any, mut all) = (false, true);
        for status in members {
            any |= status.is_some();
            all &= status == Some(DeviceStatus::Valid);
        }
        match (any, all) {
            (false, _) => Self::NotEnabled,
            (true, true) => Self::Verified,
            (true, false) => Self::NotVerified,
        }
    }
}

impl From<Verdict> for DeviceStatus {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Valid => Self::Valid,
            Verdict::Expired => Self::Expired,
            Verdict::Revoked => Self::Revoked,
            Verdict::Untrusted | Verdict::NotYetValid { .. } => Self::Untrusted,
        }
    }
}

/// What the certificate in a leaf is worth now; none for a basic credential.
pub(crate) fn status(overlay: &Overlay, identity: &SigningIdentity) -> Result<Option<DeviceStatus>> {
    let Some(chain) = chain_of(identity) else { return Ok(None) };
    Ok(Some(overlay.pki()?.verdict(chain, overlay.trust().at()).into()))
}

impl WireIdentity {
    /// What the credential in a leaf says.
    pub(crate) fn of(overlay: &Overlay, identity: &SigningIdentity) -> Result<Self> {
        let key = identity.signature_key.as_bytes();
        let (client_id, x509_identity) = match chain_of(identity) {
            None => (client_id_of(identity)?, None),
            Some(chain) => {
                let leaf = leaf_of(identity, chain).map_err(super::ClientIdError::from)?;
                let certificate = chain.leaf().map(|der| der.to_vec()).unwrap_or_default();
                let Leaf {
                    client_id,
                    handle,
                    display_name,
                    domain,
                    serial_number,
                    not_before,
                    not_after,
                    ..
                } = leaf;
                let identity = X509Identity {
                    handle,
                    display_name,
                    domain,
                    certificate,
                    serial_number,
                    not_before,
                    not_after,
                };
                (client_id, Some(identity))
            }
        };
        Ok(Self {
            address: DeviceAddress::from_identity(client_id.as_bytes()).ok(),
            client_id,
            credential_type: IdentityCredential::of(identity),
            thumbprint: thumbprint(key),
            status: status(overlay, identity)?,
            x509_identity,
        })
    }
}

impl IdentityCredential {
    pub(crate) fn of(identity: &SigningIdentity) -> Self {
        if chain_of(identity).is_some() { Self::X509 } else { Self::Basic }
    }
}

/// The JWK thumbprint of a raw public key: the digest of the members that make the key, in the order of their names.
fn thumbprint(key: &[u8]) -> String {
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let scheme = SignatureScheme::of_raw_key(key).unwrap_or(SignatureScheme::Ed25519);
    let crv = match scheme {
        SignatureScheme::Ed25519 => "Ed25519",
        SignatureScheme::EcdsaP256Sha256 => "P-256",
        SignatureScheme::EcdsaP384Sha384 => "P-384",
        SignatureScheme::EcdsaP521Sha512 => "P-521",
    };
    let jwk = if scheme == SignatureScheme::Ed25519 {
        format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{}"}}"#, encoded(key))
    } else {
        let (x, y) = key[1..].split_at(scheme.coordinate_length());
        format!(r#"{{"crv":"{crv}","kty":"EC","x":"{}","y":"{}"}}"#, encoded(x), encoded(y))
    };
    encoded(&sha256(jwk.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037() {
        // Appendix A.3.
        let key = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
        assert_eq!(thumbprint(&key), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_conversation_is_verified_when_everybody_is() {
        use DeviceStatus::{Expired, Valid};
        let of = |members: &[Option<DeviceStatus>]| E2eiConversationState::of(members.iter().copied());
        assert_eq!(of(&[None, None]), E2eiConversationState::NotEnabled);
        assert_eq!(of(&[Some(Valid), Some(Valid)]), E2eiConversationState::Verified);
        assert_eq!(of(&[Some(Valid), None]), E2eiConversationState::NotVerified);
        assert_eq!(of(&[Some(Valid), Some(Expired)]), E2eiConversationState::NotVerified);
        assert_eq!(of(&[Some(Expired)]), E2eiConversationState::NotVerified);
    }
}
