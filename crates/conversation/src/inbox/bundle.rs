//! The bundle: what is given out so that strangers can write.

use ed25519_dalek::{Signature, VerifyingKey};
use prost::Message as _;
use tertulia_domain::{limits::MAX_DEVICES_PER_USER, signing::sign_content};

use super::{BundleError, ClientAddress, InboxAddress};
use crate::wire::{
    Outcome, Shape, WireError, decode_canonical, exactly, generated as wire, nested, number, octets,
};

/// The longest bundle, in bytes: room for eight devices with their key packages.
pub const MAX_BUNDLE: usize = 64 * 1024;
/// Most one-time keys of a device in a bundle. They are used up by the first who writes, so a bundle that many get has none.
const MAX_ONE_TIME_KEYS: usize = 16;

const BUNDLE_LABEL: &str = "intro bundle 1";
const KEY_LABEL: &str = "intro bundle key 1";

const KEY: Shape = Shape { name: "key of a bundle", fields: &[octets(1), octets(2)] };
const DEVICE: Shape = Shape {
    name: "device of a bundle",
    fields: &[
        octets(1),
        octets(2),
        octets(3),
        nested(4, &KEY).up_to(MAX_ONE_TIME_KEYS),
        nested(5, &KEY),
        octets(6),
    ],
};
const CONTENT: Shape = Shape {
    name: "content of a bundle",
    fields: &[octets(1), octets(2), number(3), nested(4, &DEVICE).up_to(MAX_DEVICES_PER_USER)],
};
const BUNDLE: Shape = Shape { name: "bundle", fields: &[octets(1), octets(2)] };

/// Signs with an Ed25519 key that it keeps.
pub trait Signer {
    /// The public key.
    fn public_key(&self) -> [u8; 32];

    /// The signature of [`sign_content`] with this label and content, or none if the key does not sign.
    fn sign(&self, label: &str, content: &[u8]) -> Option<[u8; 64]>;
}

impl Signer for ed25519_dalek::SigningKey {
    fn public_key(&self) -> [u8; 32] {
        self.verifying_key().to_bytes()
    }

    fn sign(&self, label: &str, content: &[u8]) -> Option<[u8; 64]> {
        Some(ed25519_dalek::Signer::sign(self, &sign_content(label, content)).to_bytes())
    }
}

/// A bundle that is in order: its signatures were verified, and the inbox address is the identity's. Its expiry is to be
/// [looked at](Self::is_expired) when it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    content: BundleContent,
    bytes: Vec<u8>,
}

/// What a bundle says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleContent {
    /// Who this is, for good: an Ed25519 key.
    pub identity_key: [u8; 32],
    /// Seconds since 1970 after which it is refused.
    pub expires: u64,
    /// The devices, 1 to 8.
    pub devices: Vec<BundleDevice>,
}

/// A device in a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleDevice {
    /// Its signature key, Ed25519: the one of its MLS credential.
    pub signature_key: [u8; 32],
    /// What invitations are encrypted to, X25519.
    pub inbox_key: [u8; 32],
    /// The identity key of its pairwise sessions, Curve25519.
    pub ratchet_key: [u8; 32],
    /// Keys that are each for one session, at most 16.
    pub one_time_keys: Vec<BundleKey>,
    /// The key for who finds no other.
    pub fallback_key: BundleKey,
    /// An MLS key package by which the device can be added to a group, or nothing.
    pub key_package: Vec<u8>,
}

/// A key for pairwise sessions, signed by its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleKey {
    /// The key, Curve25519.
    pub key: [u8; 32],
    /// The device's signature.
    pub signature: [u8; 64],
}

impl BundleKey {
    /// Signs a key for a bundle, with the signature key of the device that has this ratchet key.
    pub fn sign(key: [u8; 32], ratchet_key: &[u8; 32], device: &dyn Signer) -> Result<Self, BundleError> {
        let signature =
            device.sign(KEY_LABEL, &key_statement(ratchet_key, &key)).ok_or(BundleError::Signing)?;
        Ok(Self { key, signature })
    }
}

impl Bundle {
    /// Signs a bundle with the identity key.
    pub fn sign(content: &BundleContent, identity: &dyn Signer) -> Result<Self, BundleError> {
        if identity.public_key() != content.identity_key {
            return Err(BundleError::Signature { what: "bundle", by: "identity key" });
        }
        let encoded = content.encode();
        let signature = identity.sign(BUNDLE_LABEL, &encoded).ok_or(BundleError::Signing)?;
        let bytes = wire::IntroBundleV1 { content: encoded, signature: signature.to_vec() }.encode_to_vec();
        // What others would refuse is not given out.
        Self::decode(&bytes)
    }

    /// Reads a bundle and verifies its signatures.
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        let signed: wire::IntroBundleV1 = read(decode_canonical(bytes, &BUNDLE, MAX_BUNDLE))?;
        let content = BundleContent::decode(&signed.content)?;
        let signature = exactly("signature of a bundle", &signed.signature)?;
        if !verifies(&content.identity_key, BUNDLE_LABEL, &signed.content, &signature) {
            return Err(BundleError::Signature { what: "bundle", by: "identity key" });
        }
        for device in &content.devices {
            for key in device.one_time_keys.iter().chain([&device.fallback_key]) {
                let statement = key_statement(&device.ratchet_key, &key.key);
                if !verifies(&device.signature_key, KEY_LABEL, &statement, &key.signature) {
                    return Err(BundleError::Signature { what: "key for sessions", by: "device" });
                }
            }
        }
        Ok(Self { content, bytes: bytes.to_vec() })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says.
    pub fn content(&self) -> &BundleContent {
        &self.content
    }

    /// Whose it is.
    pub fn client_address(&self) -> ClientAddress {
        ClientAddress::of_identity(&self.content.identity_key)
    }

    /// Where its owner's inbox is.
    pub fn inbox_address(&self) -> InboxAddress {
        InboxAddress::of(&self.client_address())
    }

    /// Whether it has expired at this time, in seconds since 1970.
    pub const fn is_expired(&self, now: u64) -> bool {
        self.content.expires <= now
    }
}

impl BundleContent {
    fn encode(&self) -> Vec<u8> {
        let key =
            |key: &BundleKey| wire::BundleKey { key: key.key.to_vec(), signature: key.signature.to_vec() };
        let devices = self.devices.iter().map(|device| wire::BundleDevice {
            signature_key: device.signature_key.to_vec(),
            inbox_key: device.inbox_key.to_vec(),
            ratchet_key: device.ratchet_key.to_vec(),
            one_time_keys: device.one_time_keys.iter().map(key).collect(),
            fallback_key: Some(key(&device.fallback_key)),
            key_package: device.key_package.clone(),
        });
        let inbox_address = InboxAddress::of(&ClientAddress::of_identity(&self.identity_key));
        wire::BundleContent {
            identity_key: self.identity_key.to_vec(),
            inbox_address: inbox_address.as_bytes().to_vec(),
            expires: self.expires,
            devices: devices.collect(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        let content: wire::BundleContent = read(decode_canonical(bytes, &CONTENT, MAX_BUNDLE))?;
        let identity_key = exactly("identity key", &content.identity_key)?;
        let inbox_address: [u8; 32] = exactly("inbox address", &content.inbox_address)?;
        if inbox_address != *InboxAddress::of(&ClientAddress::of_identity(&identity_key)).as_bytes() {
            return Err(BundleError::InboxAddress);
        }
        if content.devices.is_empty() {
            return Err(BundleError::Devices { got: 0, max: MAX_DEVICES_PER_USER });
        }
        let devices = content.devices.into_iter().map(BundleDevice::read).collect::<Result<_, _>>()?;
        Ok(Self { identity_key, expires: content.expires, devices })
    }
}

impl BundleDevice {
    fn read(device: wire::BundleDevice) -> Result<Self, BundleError> {
        let key = |key: &wire::BundleKey| {
            Ok::<_, BundleError>(BundleKey {
                key: exactly("key for sessions", &key.key)?,
                signature: exactly("signature of a key", &key.signature)?,
            })
        };
        let missing = WireError::Missing { what: DEVICE.name, part: "fallback key" };
        Ok(Self {
            signature_key: exactly("signature key", &device.signature_key)?,
            inbox_key: exactly("inbox key", &device.inbox_key)?,
            ratchet_key: exactly("ratchet key", &device.ratchet_key)?,
            one_time_keys: device.one_time_keys.iter().map(key).collect::<Result<_, _>>()?,
            fallback_key: key(&device.fallback_key.ok_or(missing)?)?,
            key_package: device.key_package,
        })
    }
}

/// What a device says by signing a key: that it belongs beside this ratchet key.
fn key_statement(ratchet_key: &[u8; 32], key: &[u8; 32]) -> [u8; 64] {
    let mut statement = [0; 64];
    statement[..32].copy_from_slice(ratchet_key);
    statement[32..].copy_from_slice(key);
    statement
}

/// Whether the signature is this key's. Keys of small order, and signatures in another form, are refused.
pub(super) fn verifies(key: &[u8; 32], label: &str, content: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| {
        key.verify_strict(&sign_content(label, content), &Signature::from_bytes(signature)).is_ok()
    })
}

fn read<T>(outcome: Outcome<T>) -> Result<T, BundleError> {
    match outcome {
        Outcome::Decoded(value) => Ok(value),
        Outcome::Unsupported(unsupported) => Err(unsupported.into()),
        Outcome::Invalid(error) => Err(error.into()),
        Outcome::NotForUs => Err(WireError::Malformed { what: BUNDLE.name }.into()),
    }
}
