//! Who somebody is where there is no hub, and where their inbox is.

use std::fmt;

use tertulia_domain::ConversationId;

use crate::{
    crypto::hash,
    id::from_hash,
    types::{ConversationType as _, InboxV1},
};

pub(crate) const ADDRESS_LABEL: &str = "tertulia/inbox/v1";
pub(crate) const INBOX_ID_LABEL: &str = "tertulia/inbox-id/v1";
pub(crate) const IDENTITY_LABEL: &str = "tertulia/identity/v1";

/// What a person is called where there is no hub: `mimi://key.invalid/u/<fingerprint>`, the fingerprint of the identity key in 64 hexadecimal
/// digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientAddress(String);

/// Where an inbox is: 256 bits, from the owner's address. Who has the address can look it up; it does not lead back to the address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InboxAddress([u8; 32]);

impl ClientAddress {
    /// The address of who has this Ed25519 identity key.
    pub fn of_identity(identity_key: &[u8; 32]) -> Self {
        Self(format!("mimi://key.invalid/u/{}", hex::encode(hash(IDENTITY_LABEL, &[identity_key]))))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits of the fingerprint, for logs. Not unique.
    pub fn short(&self) -> &str {
        self.0.rsplit('/').next().and_then(|fingerprint| fingerprint.get(..8)).unwrap_or_default()
    }
}

impl InboxAddress {
    /// `SHA-256("tertulia/inbox/v1" ‖ client_address)`.
    pub fn of(client: &ClientAddress) -> Self {
        Self(hash(ADDRESS_LABEL, &[client.as_str().as_bytes()]))
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of the inbox as a conversation, which salted hints are made from.
    pub fn conversation_id(&self) -> ConversationId {
        from_hash(hash(INBOX_ID_LABEL, &[&InboxV1::DESCRIPTOR.id.to_bytes(), &self.0]))
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientAddress({}…)", self.short())
    }
}

impl fmt::Debug for InboxAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InboxAddress({}…)", hex::encode(&self.0[..4]))
    }
}
