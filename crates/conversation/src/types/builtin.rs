//! The types that envelopes carry. Each has a page in `docs/spec`.

use super::{
    Carrier, ConversationType, Descriptor, Encoding, Encryption, FrameKind, Guarantees, Hints, Ids, Members,
    Outer, Scheme, Topics, TypeId,
};
use crate::wire::{
    DirectFrame, GroupFrame, InboxFrame, Outcome, PrivateFrame, SelfFrame, SubconversationFrame,
};

/// Where strangers knock: it receives first contact, encrypted to a published bundle.
pub struct InboxV1;
/// Two devices and a Double Ratchet between them.
pub struct PrivateV1;
/// Two users with all their devices, on MLS.
pub struct DirectV1;
/// Any number of users, on MLS.
pub struct GroupV1;
/// One user's devices among themselves, on MLS.
pub struct SelfV1;
/// Some devices of another conversation, on MLS, as for a call.
pub struct SubconversationV1;

/// All of them, in the order of their numbers.
pub const BUILT_IN: &[Descriptor] = &[
    InboxV1::DESCRIPTOR,
    PrivateV1::DESCRIPTOR,
    DirectV1::DESCRIPTOR,
    GroupV1::DESCRIPTOR,
    SelfV1::DESCRIPTOR,
    SubconversationV1::DESCRIPTOR,
];

/// What is specified, and nothing of this version carries: users with several devices and subconversations there are with a hub only, whose types are others.
const NOT_CARRIED: [TypeId; 2] = [SelfV1::DESCRIPTOR.id, SubconversationV1::DESCRIPTOR.id];

impl Descriptor {
    /// Whether this version of the program carries conversations of the type, if it is one of the project's: some are specified only. Of an application's own type
    /// its registration decides.
    pub fn is_carried(&self) -> bool {
        !NOT_CARRIED.contains(&self.id)
    }

    /// What brings the messages, as tables show it.
    pub fn carried_by(&self) -> &'static str {
        if self.is_carried() { self.carrier.as_str() } else { "envelopes, not yet" }
    }
}

/// A frame of one of these types.
const fn frame(number: u32, name: &'static str, carries: &'static str) -> FrameKind {
    FrameKind { name, number, carries, is_handshake: false }
}

/// One that changes members or keys.
const fn handshake(number: u32, name: &'static str, carries: &'static str) -> FrameKind {
    FrameKind { name, number, carries, is_handshake: true }
}

fn is_handshake(of: &Descriptor, number: u32) -> bool {
    of.frames.iter().any(|frame| frame.number == number && frame.is_handshake)
}

/// What every conversation on envelopes shows to whoever sees them.
const LEAKS: &[&str] = &[
    "that somebody posts to one of the topic's buckets, and who reads which bucket",
    "when, and the size class",
    "the network addresses of those who post and read",
    "that an envelope is of a conversation, and not a first contact",
];

const MLS_COVERED: Encryption = Encryption {
    scheme: Scheme::Mls,
    outer: Outer::EpochKey,
    details: "RFC 9420; around it ChaCha20-Poly1305 under a key for each envelope, by HKDF-SHA256 from the epoch's exporter secret and 32 random bytes",
};

const MLS_GUARANTEES: Guarantees = Guarantees {
    confidentiality: "the devices that are members in the epoch",
    authentication: "each message is signed by the device that wrote it",
    forward_secrecy: "keys are deleted once used; those of the last 3 epochs are kept for late messages",
    post_compromise: "with the next commit of the device whose keys were stolen, at the latest after the rotation span",
    unlinkability: "no two envelopes can be linked by what they contain",
    deniability: "none: messages are signed, though no outsider sees the signatures",
    leaks: LEAKS,
};

impl ConversationType for InboxV1 {
    const DESCRIPTOR: Descriptor = Descriptor {
        title: "InboxV1",
        id: TypeId::new(1),
        summary: "receives first contact from anybody who has the user's bundle",
        carrier: Carrier::Envelopes,
        encryption: Encryption {
            scheme: Scheme::Hpke,
            outer: Outer::Included,
            details: "RFC 9180 base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, to a device's inbox key; the sender's device signs inside",
        },
        frames: &[frame(1, "invitation", "an invitation to a private conversation or to one on MLS, with its expiry")],
        encoding: Encoding::Protobuf,
        topics: Topics::Inbox,
        ids: Ids::InboxAddress,
        hints: Hints::Salted,
        members: Members {
            min_users: 1,
            max_users: 1,
            max_devices: 8,
            rules: "its owner, who only receives; anybody who has the bundle can write",
        },
        guarantees: Guarantees {
            confidentiality: "the receiving device alone",
            authentication: "a device that the sender's bundle names signs for this receiver and this encryption",
            forward_secrecy: "none until the inbox key is replaced, as often as a bundle is renewed",
            post_compromise: "with the next bundle",
            unlinkability: "who has the bundle can tell what is for this inbox, and others cannot",
            deniability: "none: the invitation is signed",
            leaks: &[
                "that an envelope is a first contact, and in which of the inbox buckets",
                "when, the size class, and the network addresses of those who post and read",
            ],
        },
    }
    .complete();
    type Frame = InboxFrame;

    fn is_handshake(frame: &InboxFrame) -> bool {
        is_handshake(&Self::DESCRIPTOR, frame.number())
    }

    fn encode(frame: &InboxFrame) -> Vec<u8> {
        frame.encode()
    }

    fn decode(bytes: &[u8]) -> Outcome<InboxFrame> {
        InboxFrame::decode(bytes)
    }
}

impl ConversationType for PrivateV1 {
    const DESCRIPTOR: Descriptor = Descriptor {
        title: "PrivateV1",
        id: TypeId::new(2),
        summary: "two devices talk, without anybody who orders their messages",
        carrier: Carrier::Envelopes,
        encryption: Encryption {
            scheme: Scheme::DoubleRatchet,
            outer: Outer::EpochKey,
            details: "Olm version 1, begun with keys of the bundle; around it ChaCha20-Poly1305 under a key for each envelope, by HKDF-SHA256 from the creation secret, or from what a renewal brought, and 32 random bytes",
        },
        frames: &[
            frame(1, "content", "a message of the Double Ratchet with the content"),
            frame(2, "placeholder", "nothing: cover traffic"),
            frame(3, "receipt", "a message of the Double Ratchet with a receipt"),
            handshake(4, "renewal", "a message of the Double Ratchet with the secret that the next epoch's hints and outer keys come from"),
        ],
        encoding: Encoding::Protobuf,
        topics: Topics::Conversation,
        ids: Ids::CreationSecret,
        hints: Hints::Ratcheted,
        members: Members {
            min_users: 2,
            max_users: 2,
            max_devices: 2,
            rules: "the device that invited and the one that accepted, for good",
        },
        guarantees: Guarantees {
            confidentiality: "the two devices",
            authentication: "the other of the two devices wrote it",
            forward_secrecy: "each message has a key of its own, deleted once used",
            post_compromise: "with the next answer of the other device",
            unlinkability: "no two envelopes can be linked by what they contain",
            deniability: "either of the two could have made up all messages",
            leaks: LEAKS,
        },
    }
    .complete();
    type Frame = PrivateFrame;

    fn is_handshake(frame: &PrivateFrame) -> bool {
        is_handshake(&Self::DESCRIPTOR, frame.number())
    }

    fn encode(frame: &PrivateFrame) -> Vec<u8> {
        frame.encode()
    }

    fn decode(bytes: &[u8]) -> Outcome<PrivateFrame> {
        PrivateFrame::decode(bytes)
    }
}

impl ConversationType for DirectV1 {
    const DESCRIPTOR: Descriptor = Descriptor {
        title: "DirectV1",
        id: TypeId::new(3),
        summary: "two users talk, each with all their devices",
        carrier: Carrier::Envelopes,
        encryption: MLS_COVERED,
        frames: &[
            frame(1, "content", "an MLS application message"),
            handshake(2, "handshake", "an MLS proposal or commit"),
            frame(3, "receipt", "an MLS application message with a receipt"),
        ],
        encoding: Encoding::Protobuf,
        topics: Topics::Conversation,
        ids: Ids::CreationSecret,
        hints: Hints::Ratcheted,
        members: Members {
            min_users: 2,
            max_users: 2,
            max_devices: 16,
            rules: "the two users for good; each adds and removes devices of their own",
        },
        guarantees: MLS_GUARANTEES,
    }
    .complete();
    type Frame = DirectFrame;

    fn is_handshake(frame: &DirectFrame) -> bool {
        is_handshake(&Self::DESCRIPTOR, frame.number())
    }

    fn encode(frame: &DirectFrame) -> Vec<u8> {
        frame.encode()
    }

    fn decode(bytes: &[u8]) -> Outcome<DirectFrame> {
        DirectFrame::decode(bytes)
    }
}

impl ConversationType for GroupV1 {
    const DESCRIPTOR: Descriptor = Descriptor {
        title: "GroupV1",
        id: TypeId::new(4),
        summary: "a group talks, and manages its members",
        carrier: Carrier::Envelopes,
        encryption: MLS_COVERED,
        frames: &[
            frame(1, "content", "an MLS application message"),
            handshake(2, "handshake", "an MLS proposal or commit"),
            handshake(
                3,
                "welcome",
                "an MLS Welcome for a further device of a member, or for who was reinvited",
            ),
            frame(4, "gap-request", "ids of messages that a device knows of and does not have"),
            frame(5, "gap-answer", "a message that somebody asked for"),
        ],
        encoding: Encoding::Protobuf,
        topics: Topics::Conversation,
        ids: Ids::CreationSecret,
        hints: Hints::Ratcheted,
        members: Members {
            min_users: 1,
            max_users: 1000,
            max_devices: 1000,
            rules: "whom admins add and remove; the roles stand in the group's signed context",
        },
        guarantees: MLS_GUARANTEES,
    }
    .complete();
    type Frame = GroupFrame;

    fn is_handshake(frame: &GroupFrame) -> bool {
        is_handshake(&Self::DESCRIPTOR, frame.number())
    }

    fn encode(frame: &GroupFrame) -> Vec<u8> {
        frame.encode()
    }

    fn decode(bytes: &[u8]) -> Outcome<GroupFrame> {
        GroupFrame::decode(bytes)
    }
}

impl ConversationType for SelfV1 {
    const DESCRIPTOR: Descriptor = Descriptor {
        title: "SelfV1",
        id: TypeId::new(5),
        summary: "a user's devices tell each other what they share",
        carrier: Carrier::Envelopes,
        encryption: MLS_COVERED,
        frames: &[
            frame(1, "synchronisation", "an MLS application message with what one device tells the others"),
            handshake(2, "handshake", "an MLS proposal or commit"),
        ],
        encoding: Encoding::Protobuf,
        topics: Topics::Conversation,
        ids: Ids::CreationSecret,
        hints: Hints::Ratcheted,
        members: Members {
            min_users: 1,
            max_users: 1,
            max_devices: 8,
            rules: "the devices of one user, each added by another of them",
        },
        guarantees: MLS_GUARANTEES,
    }
    .complete();
    type Frame = SelfFrame;

    fn is_handshake(frame: &SelfFrame) -> bool {
        is_handshake(&Self::DESCRIPTOR, frame.number())
    }

    fn encode(frame: &SelfFrame) -> Vec<u8> {
        frame.encode()
    }

    fn decode(bytes: &[u8]) -> Outcome<SelfFrame> {
        SelfFrame::decode(bytes)
    }
}

impl ConversationType for SubconversationV1 {
    const DESCRIPTOR: Descriptor = Descriptor {
        title: "SubconversationV1",
        id: TypeId::new(6),
        summary: "some devices of a conversation share keys for a while, as for a call",
        carrier: Carrier::Envelopes,
        encryption: MLS_COVERED,
        frames: &[
            frame(1, "content", "an MLS application message"),
            handshake(2, "handshake", "an MLS proposal or commit"),
        ],
        encoding: Encoding::Protobuf,
        topics: Topics::Conversation,
        ids: Ids::CreationSecret,
        hints: Hints::Ratcheted,
        members: Members {
            min_users: 1,
            max_users: 1000,
            max_devices: 1000,
            rules: "devices of the parent; who leaves the parent leaves it too",
        },
        guarantees: MLS_GUARANTEES,
    }
    .complete();
    type Frame = SubconversationFrame;

    fn is_handshake(frame: &SubconversationFrame) -> bool {
        is_handshake(&Self::DESCRIPTOR, frame.number())
    }

    fn encode(frame: &SubconversationFrame) -> Vec<u8> {
        frame.encode()
    }

    fn decode(bytes: &[u8]) -> Outcome<SubconversationFrame> {
        SubconversationFrame::decode(bytes)
    }
}
