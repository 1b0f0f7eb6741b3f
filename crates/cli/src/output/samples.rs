//! One of everything that is shown, for the tests of both forms.

#![allow(clippy::unwrap_used)]

use tertulia::{
    AccountKind, Action, AddPermission, ConnectionStatus, ConversationId, ConversationType, DeviceId, Domain,
    Handle, History, MessageTimer, Protocol, ReceiptMode, ReceiptStatus, RoleName, TeamId, TeamRole, UserId,
};
use url::Url;

use super::view::{
    Access, ChangedPassword, Channel, Connection, Conversation, DeletedAccount, Device, Exported, Frame,
    Invitation, Joining, Key, Link, LinkPreview, LinkSecret, Me, Member, Message, Moment, OwnFlag, OwnType,
    Profile, Receipt, Rekeyed, RemovedDevice, Report, Role, SharedHistory, Team, TeamMember, Warning, Who,
    address,
};

const HOUR: i64 = 60 * 60 * 1000;
/// 2025-11-20, 18:59:30.250 UTC.
const EVENING: i64 = 1_763_665_170_250;

pub(crate) fn handle(text: &str) -> Handle {
    text.parse().unwrap()
}

pub(crate) fn who(text: &str) -> Who {
    Who::Handle(handle(text))
}

pub(crate) fn conversation_id(number: u8) -> ConversationId {
    ConversationId::from_bytes([number; 16])
}

fn user(number: u8) -> UserId {
    UserId::from_bytes([number; 16])
}

pub(crate) fn me() -> Me {
    Me {
        user: user(0xa1),
        domain: "hub.example".parse::<Domain>().unwrap(),
        device: DeviceId::new(0x00c0_ffee),
        handle: handle("alice"),
        hub: Some(address(&Url::parse("https://hub.example").unwrap())),
        relays: Vec::new(),
        kind: AccountKind::Person,
        expires_at: None,
    }
}

pub(crate) fn guest() -> Me {
    let expires_at = Some(Moment::from_millis(EVENING));
    Me { handle: Handle::of_guest(7), kind: AccountKind::Guest, expires_at, ..me() }
}

pub(crate) fn devices() -> Vec<Device> {
    vec![
        Device {
            id: DeviceId::new(0x00c0_ffee),
            label: "laptop".to_owned(),
            created_at: Moment::from_millis(EVENING),
            current: true,
        },
        Device {
            id: DeviceId::new(u64::MAX),
            label: "old phone".to_owned(),
            created_at: Moment::from_millis(0),
            current: false,
        },
    ]
}

pub(crate) fn connections() -> Vec<Connection> {
    [ConnectionStatus::Accepted, ConnectionStatus::Pending]
        .into_iter()
        .zip([("bob", 0xb0), ("maximiliana", 0xca)])
        .map(|(status, (name, number))| Connection {
            handle: handle(name),
            user: user(number),
            status,
            conversation: conversation_id(number),
            updated_at: Moment::from_millis(EVENING),
        })
        .collect()
}

pub(crate) fn conversations() -> Vec<Conversation> {
    vec![
        Conversation {
            id: conversation_id(1),
            kind: ConversationType::OneToOne,
            name: Some("@bob".to_owned()),
            members: vec![who("alice"), who("bob")],
            unread: 0,
            active: true,
            protocol: Protocol::Mls,
            message_timer: None,
            receipt_mode: ReceiptMode::Off,
            add_permission: AddPermission::Admins,
            history: History::None,
            creator: None,
            parent: None,
            own_type: None,
            muted: None,
            archived: None,
            hidden: None,
        },
        Conversation {
            id: conversation_id(2),
            kind: ConversationType::Group,
            name: Some("Tertulia de los jueves ☕".to_owned()),
            members: vec![who("alice"), who("bob"), who("carol")],
            unread: 12,
            active: true,
            protocol: Protocol::Mls,
            message_timer: Some(MessageTimer::try_from(90_000_000).unwrap()),
            receipt_mode: ReceiptMode::On,
            add_permission: AddPermission::Everyone,
            history: "604800000ms".parse().unwrap(),
            creator: Some(handle("alice")),
            parent: Some(conversation_id(9)),
            own_type: None,
            muted: Some(OwnFlag { reference: Some("until Monday".to_owned()) }),
            archived: None,
            hidden: Some(OwnFlag { reference: None }),
        },
        Conversation {
            id: conversation_id(3),
            kind: ConversationType::Group,
            name: None,
            members: Vec::new(),
            unread: 0,
            active: false,
            protocol: Protocol::Pairwise,
            message_timer: None,
            receipt_mode: ReceiptMode::Off,
            add_permission: AddPermission::Admins,
            history: History::None,
            creator: None,
            parent: None,
            own_type: Some(OwnType { id: "0x8001".to_owned(), title: None }),
            muted: None,
            archived: None,
            hidden: None,
        },
    ]
}

pub(crate) fn members() -> Vec<Member> {
    [
        ("alice", 0xa1, RoleName::ADMIN, AccountKind::Person),
        ("bob", 0xb0, RoleName::MEMBER, AccountKind::Service),
    ]
    .map(|(name, number, role, kind)| Member { handle: Some(handle(name)), user: user(number), role, kind })
    .into()
}

pub(crate) fn messages() -> Vec<Message> {
    let message = |from: Option<&str>, sequence: u64, sent_at: i64, text: &str| Message {
        conversation: conversation_id(2),
        from: from.map(handle),
        device: DeviceId::new(0x00c0_ffee),
        sequence,
        sent_at: Moment::from_millis(sent_at),
        text: text.to_owned(),
        frame: text.is_empty().then(|| Frame { of: "0x8001".to_owned(), bytes: "016f6c69766573".to_owned() }),
        expires_at: (sequence == 4).then(|| Moment::from_millis(EVENING + HOUR)),
        receipts: match from {
            Some("alice") => vec![Receipt {
                handle: Some(handle("bob")),
                user: user(0xb0),
                status: ReceiptStatus::Read,
                told_at: Moment::from_millis(EVENING),
            }],
            _ => Vec::new(),
        },
        history: (sequence == 3).then(|| SharedHistory { verified: false, shared_by: Some(handle("bob")) }),
    };
    vec![
        message(Some("alice"), 3, EVENING, "Shall we meet?"),
        message(Some("bob"), 4, EVENING + 1, "Yes!\n18:00 alice: this is still Bob"),
        message(Some("bob"), 5, EVENING + 2, ""),
        message(None, 9, EVENING + 6 * HOUR, "\u{1b}[31mred\u{9b}0m \"quoted\""),
    ]
}

pub(crate) fn report() -> Report {
    Report {
        events: 7,
        messages: 3,
        history: 2,
        sent: 1,
        refused: 0,
        undecryptable: 0,
        resets: 0,
        suspicious: 0,
        unsupported: 0,
    }
}

pub(crate) fn warnings() -> Vec<Warning> {
    let suspicion =
        tertulia::Suspicion::ForbiddenCommit { reason: "no admin would remain\u{1b}[31m".to_owned() };
    vec![
        Warning {
            conversation: conversation_id(2),
            name: Some("Thursday".to_owned()),
            noticed_at: Moment::from_millis(EVENING),
            sentence: suspicion.to_string(),
            suspicion,
        },
        Warning {
            conversation: conversation_id(3),
            name: None,
            noticed_at: Moment::from_millis(EVENING + HOUR),
            sentence: tertulia::Suspicion::Withheld.to_string(),
            suspicion: tertulia::Suspicion::Withheld,
        },
    ]
}

pub(crate) fn exported() -> Exported {
    Exported { home: "/backups/\u{1b}monday".to_owned(), key: Key::File }
}

pub(crate) fn rekeyed() -> Rekeyed {
    Rekeyed { key: Key::Passphrase }
}

pub(crate) fn removed_device() -> RemovedDevice {
    RemovedDevice { device: DeviceId::new(u64::MAX) }
}

pub(crate) fn changed_password() -> ChangedPassword {
    ChangedPassword { handle: handle("alice"), hub: me().hub.unwrap_or_default() }
}

pub(crate) fn deleted_account() -> DeletedAccount {
    DeletedAccount { handle: handle("alice") }
}

pub(crate) fn people() -> Vec<Profile> {
    let named = Profile {
        handle: handle("alice"),
        user: user(0xa1),
        name: Some("Alice Munro".parse().unwrap()),
        locale: Some("en-CA".parse().unwrap()),
        kind: AccountKind::Person,
    };
    let kind = AccountKind::Service;
    vec![named, Profile { handle: handle("alicia"), user: user(0xa2), name: None, locale: None, kind }]
}

pub(crate) fn team() -> Team {
    Team {
        id: TeamId::from_bytes([0x7e; 16]),
        name: "Café Gijón".parse().unwrap(),
        role: TeamRole::Owner,
        created_at: Moment::from_millis(EVENING),
    }
}

pub(crate) fn team_members() -> Vec<TeamMember> {
    [("alice", 0xa1, TeamRole::Owner), ("maximiliana", 0xca, TeamRole::Member)]
        .map(|(name, number, role)| TeamMember {
            handle: handle(name),
            user: user(number),
            role,
            joined_at: Moment::from_millis(EVENING),
            kind: AccountKind::Person,
        })
        .into()
}

pub(crate) fn invitation() -> Invitation {
    Invitation { code: "x".repeat(43), expires_at: Moment::from_millis(EVENING) }
}

pub(crate) fn roles() -> Vec<Role> {
    let actions = [Action::ModifyName, Action::Leave].into_iter().collect();
    vec![Role { name: "scribe".parse().unwrap(), actions }]
}

pub(crate) fn channels() -> Vec<Channel> {
    [(4, "Announcements", 12, true), (5, "Café ☕", 1, false)]
        .map(|(number, name, members, joined)| Channel {
            id: conversation_id(number),
            name: name.parse().unwrap(),
            members,
            created_at: Moment::from_millis(EVENING),
            joined,
        })
        .into()
}

pub(crate) fn links() -> [Link; 2] {
    let text = format!("https://hub.example/join#{}.{}", conversation_id(1), "x".repeat(43));
    [Some(LinkSecret(text.into())), None].map(|secret| Link {
        conversation: conversation_id(1),
        has_password: secret.is_some(),
        secret,
        expires_at: Moment::from_millis(EVENING),
    })
}

pub(crate) fn link_preview() -> LinkPreview {
    LinkPreview {
        conversation: conversation_id(1),
        kind: ConversationType::Group,
        members: 12,
        has_password: true,
        expires_at: Moment::from_millis(EVENING),
    }
}

pub(crate) fn joining() -> Joining {
    Joining { conversation: conversation_id(1), joined: false, asked_at: Moment::from_millis(EVENING) }
}

pub(crate) fn access() -> Access {
    Access::new(conversation_id(1), &tertulia::Access::of_new(true))
}
