//! What an application's own type begins with.

use super::{
    Carrier, Descriptor, Encoding, Encryption, Guarantees, Hints, Ids, Members, Outer, Scheme, Topics, TypeId,
};

/// What is said of every type of an application that the SDK carries on MLS: the part of a description that follows from how it is carried. It lacks
/// a title, a number, a summary and frames, so it is none until the application has said them:
///
/// ```
/// use tertulia_conversation::types::{Descriptor, FrameKind, OWN_ON_MLS, TypeId};
/// const CHESS: Descriptor = Descriptor {
///     title: "ChessV1",
///     id: TypeId::new(0x8001),
///     summary: "two people play chess",
///     frames: &[FrameKind { name: "move", number: 1, carries: "a move as in PGN", is_handshake: false }],
///     ..OWN_ON_MLS
/// }
/// .complete();
/// # assert_eq!(CHESS.check(), Ok(()));
/// ```
///
/// ```compile_fail
/// use tertulia_conversation::types::{Descriptor, OWN_ON_MLS, TypeId};
/// const CHESS: Descriptor =
///     Descriptor { title: "ChessV1", id: TypeId::new(0x8001), ..OWN_ON_MLS }.complete();
/// # fn main() { let _ = CHESS; }
/// ```
pub const OWN_ON_MLS: Descriptor = Descriptor {
    title: "",
    id: TypeId::new(0),
    summary: "",
    carrier: Carrier::Either,
    encryption: Encryption {
        scheme: Scheme::Mls,
        outer: Outer::EpochKey,
        details: "RFC 9420; in envelopes around it ChaCha20-Poly1305 under a key for each, by HKDF-SHA256 from the epoch's exporter secret and 32 random bytes",
    },
    frames: &[],
    encoding: Encoding::Own,
    topics: Topics::Conversation,
    ids: Ids::CreationSecret,
    hints: Hints::Ratcheted,
    members: Members {
        min_users: 1,
        max_users: 1000,
        max_devices: 1000,
        rules: "whom admins add and remove; the roles stand in the group's signed context",
    },
    guarantees: Guarantees {
        confidentiality: "the devices that are members in the epoch",
        authentication: "each message is signed by the device that wrote it",
        forward_secrecy: "keys are deleted once used; those of the last 3 epochs are kept for late messages",
        post_compromise: "with the next commit of the device whose keys were stolen, at the latest after the rotation span",
        unlinkability: "no two envelopes can be linked by what they contain; a hub knows the members and their messages",
        deniability: "none: messages are signed, though no outsider sees the signatures",
        leaks: &[
            "to a relay and its watchers: that somebody posts to one of the topic's buckets, who reads it, when, the size class, and network addresses",
            "to a hub: the members, who writes when and how much, and not of which type the conversation is",
        ],
    },
};
