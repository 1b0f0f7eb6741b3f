//! The ids of conversations.

use tertulia_domain::ConversationId;

use crate::{crypto::hash, types::TypeId};

pub(crate) const LABEL: &str = "tertulia/conversation-id/v1";
const HUB_LABEL: &str = "tertulia/hub-conversation-id/v1";

/// The id of the conversation of this type that was created with this secret.
///
/// The secret is 32 random bytes that the creator gives to members and to nobody else, so the id cannot be guessed, as one that is made from
/// the members could. It is the first 128 bits of SHA-256 over `tertulia/conversation-id/v1`, the type's number in two bytes and
/// the secret. Six of the bits are then set as in a UUID of version 8 (RFC 9562): ids of all carriers are of one form, and this one is never
/// taken for that of a hub's group (version 4) or 1:1 (version 5).
pub fn conversation_id(conversation_type: TypeId, creation_secret: &[u8; 32]) -> ConversationId {
    from_hash(hash(LABEL, &[&conversation_type.to_bytes(), creation_secret]))
}

/// The id of the conversation of this type of an application's own that was created with this secret, at a hub.
///
/// It is made in the same way, from `tertulia/hub-conversation-id/v1`, but six of the bits are set as in a UUID of version 4: the hub cannot tell it from
/// the id of any other group, and so not that the conversation has a type. Whoever learns type and secret, which members tell each
/// other inside the encryption, verifies by the id that the conversation has been of this type since it was made.
pub fn hub_conversation_id(conversation_type: TypeId, creation_secret: &[u8; 32]) -> ConversationId {
    let mut bytes = uuid_bytes(hash(HUB_LABEL, &[&conversation_type.to_bytes(), creation_secret]));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    ConversationId::from_bytes(bytes)
}

/// The first 128 bits, as a UUID of version 8.
pub(crate) fn from_hash(hash: [u8; 32]) -> ConversationId {
    ConversationId::from_bytes(uuid_bytes(hash))
}

/// The bytes of a UUID of version 8 that begins with a hash.
pub(crate) fn uuid_bytes(hash: [u8; 32]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_type_and_secret_alone() {
        let id = |number, secret| conversation_id(TypeId::new(number), &[secret; 32]);
        assert_eq!(id(4, 1), id(4, 1));
        assert_ne!(id(4, 1), id(3, 1));
        assert_ne!(id(4, 1), id(4, 2));
    }

    #[test]
    fn an_id_is_never_one_of_a_hub() {
        for secret in 0..=255 {
            let id = conversation_id(TypeId::new(4), &[secret; 32]);
            assert_eq!(id.as_uuid().get_version_num(), 8);
        }
        assert_eq!(ConversationId::random().as_uuid().get_version_num(), 4);
    }

    #[test]
    fn at_a_hub_an_id_looks_like_any_other_and_depends_on_type_and_secret() {
        let id = |number, secret| hub_conversation_id(TypeId::new(number), &[secret; 32]);
        for secret in 0..=255 {
            let id = id(0x8001, secret);
            assert_eq!(id.as_uuid().get_version_num(), 4);
            assert_eq!(id.as_uuid().get_variant(), ConversationId::random().as_uuid().get_variant());
        }
        assert_eq!(id(0x8001, 1), id(0x8001, 1));
        assert_ne!(id(0x8001, 1), id(0x8002, 1));
        assert_ne!(id(0x8001, 1), id(0x8001, 2));
    }

    #[test]
    fn the_ids_at_a_hub_are_the_released_ones() {
        let id = hub_conversation_id(TypeId::new(0x8001), &[7; 32]);
        assert_eq!(id.to_string(), "3078ab58-f302-4140-8b69-ed88d5361fe8");
    }
}
