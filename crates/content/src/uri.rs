//! The URIs by which MIMI names people and rooms.
//!
//! The id of a message is computed over them, so that all members must write them alike: the domain in lower case, as the hub calls itself, and ids in
//! their one canonical form. Ids must consist of characters that a URI path takes as they are (letters, digits, `-`, `.`, `_`, `~`), as UUIDs and
//! hexadecimal fingerprints do; nothing is escaped here.

/// The domain of people and conversations that no hub hosts: on relay and gossip, where the id is a key's fingerprint.
pub const KEY_DOMAIN: &str = "key.invalid";

/// The URI of a user: `mimi://<domain>/u/<user id>`.
pub fn user_uri(domain: &str, user_id: &str) -> String {
    format!("mimi://{domain}/u/{user_id}")
}

/// The URI of a conversation: `mimi://<domain>/r/<conversation id>`.
pub fn room_uri(domain: &str, conversation_id: &str) -> String {
    format!("mimi://{domain}/r/{conversation_id}")
}
