//! Who somebody is where there is no hub, as the rest of the system names people and devices.

use std::fmt;

use ed25519_dalek::SigningKey;
use rand::{CryptoRng, RngExt as _};
use tertulia_domain::{DeviceAddress, DeviceId, Domain, UserId};
use zeroize::Zeroizing;

use super::Signer;
use crate::{crypto::hash, id::uuid_bytes};

pub(crate) const USER_LABEL: &str = "tertulia/user/v1";
pub(crate) const DEVICE_LABEL: &str = "tertulia/device/v1";

/// The domain of those who are no hub's: `invalid` is kept for names that lead nowhere (RFC 6761).
pub const KEY_DOMAIN: &str = "key.invalid";

/// The private half of a person's identity key, Ed25519. Wiped when dropped.
#[derive(Clone)]
pub struct IdentityKey(SigningKey);

impl IdentityKey {
    /// A new key: a new person.
    pub fn generate(random: &mut impl CryptoRng) -> Self {
        Self::from_secret(&Zeroizing::new(random.random()))
    }

    /// The key with these bytes, as they were stored.
    pub fn from_secret(secret: &Zeroizing<[u8; 32]>) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// What is to be stored.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

impl Signer for IdentityKey {
    fn public_key(&self) -> [u8; 32] {
        self.0.public_key()
    }

    fn sign(&self, label: &str, content: &[u8]) -> Option<[u8; 64]> {
        Signer::sign(&self.0, label, content)
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey(…)")
    }
}

/// The id of who has this identity key: the first 128 bits of `SHA-256("tertulia/user/v1" ‖ identity key)`, as a UUID of version 8.
pub fn user_id(identity_key: &[u8; 32]) -> UserId {
    UserId::from_bytes(uuid_bytes(hash(USER_LABEL, &[identity_key])))
}

/// The id of the device with this signature key: the first 64 bits of `SHA-256("tertulia/device/v1" ‖ signature key)`.
pub fn device_id(signature_key: &[u8; 32]) -> DeviceId {
    let mut first = [0; 8];
    first.copy_from_slice(&hash(DEVICE_LABEL, &[signature_key])[..8]);
    DeviceId::new(u64::from_be_bytes(first))
}

/// What the device with this signature key is called, if it is one of who has this identity key.
pub fn device_address(identity_key: &[u8; 32], signature_key: &[u8; 32]) -> DeviceAddress {
    let domain: Domain = KEY_DOMAIN.parse().expect("it is a domain");
    DeviceAddress::new(user_id(identity_key), device_id(signature_key), domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_keys_alone_and_are_no_hubs() {
        let address = device_address(&[1; 32], &[2; 32]);
        assert_eq!(address, device_address(&[1; 32], &[2; 32]));
        assert_ne!(address.user, user_id(&[2; 32]));
        assert_ne!(address.device, device_id(&[1; 32]));
        assert_eq!(address.user.as_uuid().get_version_num(), 8);
        assert_eq!(address.domain.as_str(), KEY_DOMAIN);
    }

    #[test]
    fn a_key_is_what_was_stored_and_is_not_printed() {
        let key = IdentityKey::generate(&mut rand::rng());
        let again = IdentityKey::from_secret(&key.secret());
        assert_eq!(key.public_key(), again.public_key());
        assert_eq!(format!("{key:?}"), "IdentityKey(…)");
    }
}
