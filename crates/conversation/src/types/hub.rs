//! What a hub carries, described in the same way. To applications a conversation is a conversation, however it travels.

use tertulia_domain::{ConversationType as HubType, Protocol};

use super::{
    Carrier, Descriptor, Encoding, Encryption, FrameKind, Guarantees, Hints, Ids, Members, Outer, Scheme,
    Topics, TypeId,
};

/// The description of a hub's conversation of this type on this protocol.
///
/// On `mixed` messages still go pairwise, so it is the pairwise type until the last step. None for a combination that does not
/// exist, such as a pairwise channel.
pub fn of_hub(kind: HubType, protocol: Protocol) -> Option<&'static Descriptor> {
    let pairwise = protocol.sends_pairwise();
    let title = match (kind, pairwise) {
        (HubType::SelfConversation, false) => "HubSelfV1",
        // A request that is not accepted yet: nothing is sent in it, whatever it will be.
        (HubType::Connection, _) => "HubConnectionV1",
        (HubType::OneToOne, false) => "HubDirectV1",
        (HubType::OneToOne, true) => "HubDirectPairwiseV1",
        (HubType::Group, false) => "HubGroupV1",
        (HubType::Group, true) => "HubGroupPairwiseV1",
        (HubType::Channel, false) => "HubChannelV1",
        (HubType::Subconversation, false) => "HubSubconversationV1",
        _ => return None,
    };
    HUB.iter().find(|descriptor| descriptor.title == title)
}

/// All of them, in the order of their numbers.
pub const HUB: &[Descriptor] = &[
    Descriptor {
        title: "HubSelfV1",
        id: TypeId::new(0x0101),
        summary: "a user's devices tell each other what they share",
        ids: Ids::User,
        members: Members {
            min_users: 1,
            max_users: 1,
            max_devices: 8,
            rules: "the devices that the hub has registered for the user",
        },
        ..MLS
    }
    .complete(),
    Descriptor {
        title: "HubConnectionV1",
        id: TypeId::new(0x0102),
        summary: "a request for a 1:1 that is not accepted yet",
        frames: &[frame("request", "that one asks to talk with the other", false)],
        ids: Ids::BothUsers,
        members: Members {
            min_users: 1,
            max_users: 1,
            max_devices: 8,
            rules: "the requester; it becomes a 1:1 when the other accepts",
        },
        encryption: Encryption {
            scheme: Scheme::Mls,
            outer: Outer::None,
            details: "nothing is encrypted, for nothing is said in it",
        },
        ..MLS
    }
    .complete(),
    Descriptor {
        title: "HubDirectV1",
        id: TypeId::new(0x0103),
        summary: "two users talk, each with all their devices",
        ids: Ids::BothUsers,
        members: Members {
            min_users: 1,
            max_users: 2,
            max_devices: 16,
            rules: "the two users whose ids it has; who blocks the other is out of it",
        },
        ..MLS
    }
    .complete(),
    Descriptor {
        title: "HubDirectPairwiseV1",
        id: TypeId::new(0x0104),
        summary: "two users talk, with a Double Ratchet for each pair of devices",
        ids: Ids::BothUsers,
        members: Members {
            min_users: 1,
            max_users: 2,
            max_devices: 16,
            rules: "the two users whose ids it has; who blocks the other is out of it",
        },
        ..PAIRWISE
    }
    .complete(),
    Descriptor {
        title: "HubGroupV1",
        id: TypeId::new(0x0105),
        summary: "a group talks, and manages its members",
        members: Members {
            min_users: 1,
            max_users: 10_000,
            max_devices: 80_000,
            rules: "whom admins add and remove, and who comes in by a link; the roles stand in the group's signed context",
        },
        ..MLS
    }
    .complete(),
    Descriptor {
        title: "HubGroupPairwiseV1",
        id: TypeId::new(0x0106),
        summary: "a group talks, with a Double Ratchet for each pair of devices",
        members: Members {
            min_users: 1,
            max_users: 128,
            max_devices: 1024,
            rules: "whom admins add and remove, as the hub says",
        },
        ..PAIRWISE
    }
    .complete(),
    Descriptor {
        title: "HubChannelV1",
        id: TypeId::new(0x0107),
        summary: "a group whose name and existence its team sees",
        members: Members {
            min_users: 1,
            max_users: 10_000,
            max_devices: 80_000,
            rules: "as of a group; people of the team come in by themselves where that is allowed",
        },
        ..MLS
    }
    .complete(),
    Descriptor {
        title: "HubSubconversationV1",
        id: TypeId::new(0x0108),
        summary: "some devices of a conversation share keys for a while, as for a call",
        ids: Ids::ParentAndName,
        members: Members {
            min_users: 1,
            max_users: 10_000,
            max_devices: 80_000,
            rules: "devices of the parent, each for itself; who leaves the parent leaves it too",
        },
        ..MLS
    }
    .complete(),
];

const fn frame(name: &'static str, carries: &'static str, is_handshake: bool) -> FrameKind {
    FrameKind { name, number: 0, carries, is_handshake }
}

/// What all on MLS have in common.
const MLS: Descriptor = Descriptor {
    title: "",
    id: TypeId::new(0),
    summary: "",
    carrier: Carrier::Hub,
    encryption: Encryption {
        scheme: Scheme::Mls,
        outer: Outer::None,
        details: "RFC 9420; the hub sees group, epoch and what kind of message it is",
    },
    frames: &[
        frame("content", "an MLS application message", false),
        frame("handshake", "an MLS proposal or commit, in clear unless the group was made otherwise", true),
        frame("welcome", "an MLS Welcome for those whom a commit adds", true),
    ],
    encoding: Encoding::Mls,
    topics: Topics::Log,
    ids: Ids::Random,
    hints: Hints::None,
    members: Members { min_users: 1, max_users: 1, max_devices: 1, rules: "" },
    guarantees: Guarantees {
        confidentiality: "the devices that are members in the epoch",
        authentication: "each message is signed by the device that wrote it",
        forward_secrecy: "keys are deleted once used; those of the last 3 epochs are kept for late messages",
        post_compromise: "with the next commit of the device whose keys were stolen, at the latest after the rotation span",
        unlinkability: "none towards the hub, which knows the members and their messages",
        deniability: "none: messages are signed",
        leaks: &[
            "to the hub: the members, who writes when and how much, and what SECURITY.md lists",
            "to the network: that a device talks with this hub",
        ],
    },
};

/// What all with a ratchet for each pair of devices have in common.
const PAIRWISE: Descriptor = Descriptor {
    encryption: Encryption {
        scheme: Scheme::DoubleRatchet,
        outer: Outer::None,
        details: "Olm version 1, one ciphertext for each device of every member",
    },
    frames: &[
        frame("content", "one ciphertext with a message for each device", false),
        frame("name", "one ciphertext with the conversation's name for each device", false),
    ],
    encoding: Encoding::PerDevice,
    guarantees: Guarantees {
        confidentiality: "the devices that the hub says the members have",
        authentication: "the device with which the session is wrote it",
        forward_secrecy: "each message has a key of its own, deleted once used",
        post_compromise: "with the next answer of the other device",
        deniability: "the receiving device could have made up what it received",
        ..MLS.guarantees
    },
    ..MLS
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_hub_carries_is_described() {
        for &kind in HubType::ALL {
            for &protocol in Protocol::ALL {
                let never =
                    matches!(kind, HubType::SelfConversation | HubType::Channel | HubType::Subconversation)
                        && protocol.sends_pairwise();
                assert_eq!(of_hub(kind, protocol).is_none(), never, "{kind} on {protocol}");
            }
        }
    }

    #[test]
    fn a_conversation_that_is_on_its_way_to_mls_is_pairwise_until_it_arrives() {
        let title = |protocol| of_hub(HubType::Group, protocol).map(|descriptor| descriptor.title);
        assert_eq!(title(Protocol::Mixed), title(Protocol::Pairwise));
        assert_ne!(title(Protocol::Mixed), title(Protocol::Mls));
    }

    #[test]
    fn the_limits_are_those_of_the_rules() {
        use tertulia_domain::limits::{MAX_DEVICES_PER_USER, MAX_PAIRWISE_MEMBERS, MAX_PAIRWISE_RECIPIENTS};
        let of = |kind, protocol| of_hub(kind, protocol).map(|descriptor| descriptor.members);
        let group = of(HubType::Group, Protocol::Pairwise);
        assert_eq!(group.map(|members| members.max_users as usize), Some(MAX_PAIRWISE_MEMBERS));
        assert_eq!(group.map(|members| members.max_devices as usize), Some(MAX_PAIRWISE_RECIPIENTS));
        let own = of(HubType::SelfConversation, Protocol::Mls);
        assert_eq!(own.map(|members| members.max_devices as usize), Some(MAX_DEVICES_PER_USER));
    }
}
