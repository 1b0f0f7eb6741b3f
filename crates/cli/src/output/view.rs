//! What the commands show, each thing with the fields that `--json` prints. Their names and order are a contract with
//! scripts; the tables for people are made from the same.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tertulia::{
    AccessMode, AccessRole, AccountKind, ActionSet, AddPermission, ConnectionStatus, ConversationId,
    ConversationName, ConversationType, DeviceId, DisplayName, Domain, Handle, History, Locale, MessageTimer,
    Protocol, ReceiptMode, ReceiptStatus, RequestKind, RoleName, TeamId, TeamRole, UserId,
};
use tertulia_conversation::types::Descriptor;
use url::Url;
use zeroize::Zeroizing;

/// A moment, written as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Moment(Timestamp);

impl Moment {
    /// Milliseconds since 1970. What no calendar has room for (it comes from others) becomes the nearest it has.
    pub(crate) fn from_millis(millis: i64) -> Self {
        let nearest = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Self(Timestamp::from_millisecond(millis).unwrap_or(nearest))
    }

    pub(crate) fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.0))
    }
}

/// `types`.
#[derive(Serialize)]
pub(crate) struct DescribedType {
    #[serde(flatten)]
    pub(crate) descriptor: Descriptor,
    /// Whether this version carries conversations of the type; some are specified only.
    pub(crate) is_carried: bool,
}

/// `whoami`, `signup`, `login`.
#[derive(Serialize)]
pub(crate) struct Me {
    pub(crate) user: UserId,
    pub(crate) domain: Domain,
    pub(crate) device: DeviceId,
    pub(crate) handle: Handle,
    /// Of an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hub: Option<String>,
    /// Through which conversations without a hub travel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) relays: Vec<String>,
    pub(crate) kind: AccountKind,
    /// Of a guest, when the account ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Moment>,
}

impl From<&tertulia::Me> for Me {
    fn from(me: &tertulia::Me) -> Self {
        Self {
            user: me.user,
            domain: me.domain.clone(),
            device: me.device,
            handle: me.handle.clone(),
            hub: me.hub.as_ref().map(address),
            relays: me.relays.iter().map(address).collect(),
            kind: me.kind,
            expires_at: me.expires_at.map(Moment::from_millis),
        }
    }
}

/// A hub's address as people write it: `https://hub.example`, though a URL has a path by definition.
pub(crate) fn address(hub: &Url) -> String {
    let address = hub.as_str();
    address.strip_suffix('/').unwrap_or(address).to_owned()
}

/// A line of `devices`.
#[derive(Serialize)]
pub(crate) struct Device {
    #[serde(rename = "device")]
    pub(crate) id: DeviceId,
    pub(crate) label: String,
    pub(crate) created_at: Moment,
    pub(crate) current: bool,
}

impl From<tertulia::Device> for Device {
    fn from(device: tertulia::Device) -> Self {
        Self {
            id: device.device,
            label: device.label,
            created_at: Moment::from_millis(device.created_at),
            current: device.current,
        }
    }
}

/// What `device remove` answers.
#[derive(Serialize)]
pub(crate) struct RemovedDevice {
    pub(crate) device: DeviceId,
}

/// What `password` answers: whose it is, and where.
#[derive(Serialize)]
pub(crate) struct ChangedPassword {
    pub(crate) handle: Handle,
    pub(crate) hub: String,
}

/// What `account delete` answers.
#[derive(Serialize)]
pub(crate) struct DeletedAccount {
    pub(crate) handle: Handle,
}

/// A line of `search`; what `profile` answers.
#[derive(Serialize)]
pub(crate) struct Profile {
    pub(crate) handle: Handle,
    pub(crate) user: UserId,
    pub(crate) name: Option<DisplayName>,
    pub(crate) locale: Option<Locale>,
    pub(crate) kind: AccountKind,
}

impl From<tertulia::Profile> for Profile {
    fn from(profile: tertulia::Profile) -> Self {
        let tertulia::Profile { handle, user, name, locale, kind, .. } = profile;
        Self { handle, user, name, locale, kind }
    }
}

/// What `team show`, `team create` and `team join` answer; after `team leave` there is none.
#[derive(Serialize)]
pub(crate) struct Team {
    #[serde(rename = "team")]
    pub(crate) id: TeamId,
    pub(crate) name: DisplayName,
    pub(crate) role: TeamRole,
    pub(crate) created_at: Moment,
}

impl From<tertulia::Team> for Team {
    fn from(team: tertulia::Team) -> Self {
        let created_at = Moment::from_millis(team.created_at);
        Self { id: team.team, name: team.name, role: team.role, created_at }
    }
}

/// A line of `team members`.
#[derive(Serialize)]
pub(crate) struct TeamMember {
    pub(crate) handle: Handle,
    pub(crate) user: UserId,
    pub(crate) role: TeamRole,
    pub(crate) joined_at: Moment,
    pub(crate) kind: AccountKind,
}

impl From<tertulia::TeamMember> for TeamMember {
    fn from(member: tertulia::TeamMember) -> Self {
        let joined_at = Moment::from_millis(member.joined_at);
        Self { handle: member.handle, user: member.user, role: member.role, joined_at, kind: member.kind }
    }
}

/// What `team invite` answers.
#[derive(Serialize)]
pub(crate) struct Invitation {
    pub(crate) code: String,
    pub(crate) expires_at: Moment,
}

impl From<tertulia::Invitation> for Invitation {
    fn from(invitation: tertulia::Invitation) -> Self {
        Self { code: invitation.code, expires_at: Moment::from_millis(invitation.expires_at) }
    }
}

/// A line of `role list`.
#[derive(Serialize)]
pub(crate) struct Role {
    pub(crate) name: RoleName,
    pub(crate) actions: ActionSet,
}

impl From<tertulia::Role> for Role {
    fn from(role: tertulia::Role) -> Self {
        Self { name: role.name().clone(), actions: role.actions() }
    }
}

/// A line of `connections`; what `connect` and the others answer.
#[derive(Serialize)]
pub(crate) struct Connection {
    pub(crate) handle: Handle,
    pub(crate) user: UserId,
    pub(crate) status: ConnectionStatus,
    pub(crate) conversation: ConversationId,
    pub(crate) updated_at: Moment,
}

/// What `intro` answers.
#[derive(Serialize)]
pub(crate) struct Intro {
    /// What the other gives to `meet`.
    pub(crate) bundle: String,
    pub(crate) expires_at: Moment,
}

impl Intro {
    pub(crate) fn new(bundle: &tertulia::Bundle) -> Self {
        let seconds = i64::try_from(bundle.content().expires).unwrap_or(i64::MAX);
        Self { bundle: bundle.to_string(), expires_at: Moment::from_millis(seconds.saturating_mul(1000)) }
    }
}

/// A line of `requests`.
#[derive(Serialize)]
pub(crate) struct Request {
    /// What `accept` takes, and once a connection is accepted `send` with an @ before it.
    pub(crate) from: Handle,
    pub(crate) user: UserId,
    /// `private`, or `group` of somebody with whom the user is not connected.
    pub(crate) kind: &'static str,
    pub(crate) conversation: ConversationId,
    pub(crate) received_at: Moment,
    pub(crate) expires_at: Moment,
}

impl From<tertulia::Request> for Request {
    fn from(request: tertulia::Request) -> Self {
        Self {
            from: request.from,
            user: request.user,
            kind: match request.kind {
                RequestKind::Group => "group",
                _ => "private",
            },
            conversation: request.conversation,
            received_at: Moment::from_millis(request.received_at),
            expires_at: Moment::from_millis(request.expires_at),
        }
    }
}

/// What `ignore` answers for who has asked the user into groups alone.
#[derive(Serialize)]
pub(crate) struct Ignored {
    pub(crate) handle: Handle,
    pub(crate) status: ConnectionStatus,
}

impl From<tertulia::Connection> for Connection {
    fn from(connection: tertulia::Connection) -> Self {
        Self {
            handle: connection.handle,
            user: connection.user,
            status: connection.status,
            conversation: connection.conversation,
            updated_at: Moment::from_millis(connection.updated_at),
        }
    }
}

/// A member: by the handle or, if the hub has not told it, by the id.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Who {
    Handle(Handle),
    User(UserId),
}

impl From<tertulia::Member> for Who {
    fn from(member: tertulia::Member) -> Self {
        member.handle.map_or(Self::User(member.user), Self::Handle)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle(handle) => write!(f, "@{handle}"),
            Self::User(user) => user.fmt(f),
        }
    }
}

/// A line of `list`; what `group create` and the others answer.
#[derive(Serialize)]
pub(crate) struct Conversation {
    #[serde(rename = "conversation")]
    pub(crate) id: ConversationId,
    #[serde(rename = "type")]
    pub(crate) kind: ConversationType,
    pub(crate) name: Option<String>,
    pub(crate) members: Vec<Who>,
    pub(crate) unread: u64,
    pub(crate) active: bool,
    pub(crate) protocol: Protocol,
    /// Milliseconds that messages stay once they were read; null for good.
    pub(crate) message_timer: Option<MessageTimer>,
    pub(crate) receipt_mode: ReceiptMode,
    pub(crate) add_permission: AddPermission,
    /// `none`, `unlimited`, or milliseconds with `ms` behind them.
    pub(crate) history: History,
    /// Null of what nobody made, and where they are not known here.
    pub(crate) creator: Option<Handle>,
    pub(crate) parent: Option<ConversationId>,
    /// Null unless it is of a type of an application's own.
    pub(crate) own_type: Option<OwnType>,
    /// Each null unless it is set.
    pub(crate) muted: Option<OwnFlag>,
    pub(crate) archived: Option<OwnFlag>,
    pub(crate) hidden: Option<OwnFlag>,
}

/// A type of an application's own.
#[derive(Serialize)]
pub(crate) struct OwnType {
    /// As `0x8001`.
    pub(crate) id: String,
    /// Null unless this program knows the type.
    pub(crate) title: Option<&'static str>,
}

/// Something that one has set of a conversation for oneself.
#[derive(Serialize)]
pub(crate) struct OwnFlag {
    pub(crate) reference: Option<String>,
}

impl From<tertulia::OwnFlag> for OwnFlag {
    fn from(flag: tertulia::OwnFlag) -> Self {
        Self { reference: flag.reference }
    }
}

impl From<tertulia::Conversation> for Conversation {
    fn from(conversation: tertulia::Conversation) -> Self {
        Self {
            id: conversation.id,
            kind: conversation.kind,
            name: conversation.name,
            members: conversation.members.into_iter().map(Into::into).collect(),
            unread: conversation.unread,
            active: conversation.active,
            protocol: conversation.protocol,
            message_timer: conversation.message_timer,
            receipt_mode: conversation.receipt_mode,
            add_permission: conversation.add_permission,
            history: conversation.history,
            creator: conversation.creator,
            parent: conversation.parent,
            own_type: conversation.own_type.map(|own| OwnType { id: own.id.to_string(), title: own.title }),
            muted: conversation.muted.map(Into::into),
            archived: conversation.archived.map(Into::into),
            hidden: conversation.hidden.map(Into::into),
        }
    }
}

/// A line of `channel list`.
#[derive(Serialize)]
pub(crate) struct Channel {
    #[serde(rename = "conversation")]
    pub(crate) id: ConversationId,
    pub(crate) name: ConversationName,
    pub(crate) members: u64,
    pub(crate) created_at: Moment,
    /// Whether this user is in it.
    pub(crate) joined: bool,
}

impl From<tertulia::Channel> for Channel {
    fn from(channel: tertulia::Channel) -> Self {
        let created_at = Moment::from_millis(channel.created_at);
        let tertulia::Channel { id, name, members, joined, .. } = channel;
        Self { id, name, members, created_at, joined }
    }
}

/// A line of `group members`.
#[derive(Serialize)]
pub(crate) struct Member {
    pub(crate) handle: Option<Handle>,
    pub(crate) user: UserId,
    pub(crate) role: RoleName,
    pub(crate) kind: AccountKind,
}

impl From<tertulia::Member> for Member {
    fn from(member: tertulia::Member) -> Self {
        Self { handle: member.handle, user: member.user, role: member.role, kind: member.kind }
    }
}

/// A line of `sub list`; what `sub join` and `sub leave` answer.
#[derive(Serialize)]
pub(crate) struct SubConversation {
    pub(crate) parent: ConversationId,
    pub(crate) name: String,
    #[serde(rename = "conversation")]
    pub(crate) id: ConversationId,
    /// Whether this device is in it.
    pub(crate) joined: bool,
    /// The devices in it; as the hub says, unless this one is.
    pub(crate) members: Vec<SubMember>,
}

/// A device in a subconversation.
#[derive(Serialize)]
pub(crate) struct SubMember {
    pub(crate) handle: Option<Handle>,
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
}

impl SubConversation {
    pub(crate) fn new(
        sub: &tertulia::SubConversation,
        joined: bool,
        members: Vec<tertulia::SubMember>,
    ) -> Self {
        let member = |tertulia::SubMember { user, device, handle, .. }| SubMember { handle, user, device };
        Self {
            parent: sub.parent(),
            name: sub.name().to_owned(),
            id: sub.id(),
            joined,
            members: members.into_iter().map(member).collect(),
        }
    }
}

/// What `link create` and `link show` answer; after `link revoke` there is none.
#[derive(Serialize)]
pub(crate) struct Link {
    pub(crate) conversation: ConversationId,
    /// None if it was made in another home.
    #[serde(rename = "link")]
    pub(crate) secret: Option<LinkSecret>,
    pub(crate) has_password: bool,
    pub(crate) expires_at: Moment,
}

/// A link as text, which is a secret. It is printed because it was asked for.
pub(crate) struct LinkSecret(pub(crate) Zeroizing<String>);

impl Serialize for LinkSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Link {
    pub(crate) fn new(conversation: ConversationId, info: tertulia::LinkInfo) -> Self {
        Self {
            conversation,
            secret: info.link.map(|link| LinkSecret(Zeroizing::new(link.to_string()))),
            has_password: info.has_password,
            expires_at: Moment::from_millis(info.expires_at),
        }
    }
}

/// What `join --preview` answers: where a link leads, as the hub says.
#[derive(Serialize)]
pub(crate) struct LinkPreview {
    pub(crate) conversation: ConversationId,
    #[serde(rename = "type")]
    pub(crate) kind: ConversationType,
    pub(crate) members: u64,
    pub(crate) has_password: bool,
    pub(crate) expires_at: Moment,
}

impl From<tertulia::LinkPreview> for LinkPreview {
    fn from(preview: tertulia::LinkPreview) -> Self {
        Self {
            conversation: preview.conversation,
            kind: preview.kind,
            members: preview.members,
            has_password: preview.has_password,
            expires_at: Moment::from_millis(preview.expires_at),
        }
    }
}

/// A line of `join`: what the user waits for.
#[derive(Serialize)]
pub(crate) struct Joining {
    pub(crate) conversation: ConversationId,
    pub(crate) joined: bool,
    pub(crate) asked_at: Moment,
}

impl From<tertulia::JoinRequest> for Joining {
    fn from(request: tertulia::JoinRequest) -> Self {
        let asked_at = Moment::from_millis(request.asked_at);
        Self { conversation: request.conversation, joined: false, asked_at }
    }
}

/// What `group access` answers.
#[derive(Serialize)]
pub(crate) struct Access {
    pub(crate) conversation: ConversationId,
    #[serde(rename = "access")]
    pub(crate) modes: Vec<AccessMode>,
    #[serde(rename = "access_roles")]
    pub(crate) roles: Vec<AccessRole>,
}

impl Access {
    pub(crate) fn new(conversation: ConversationId, access: &tertulia::Access) -> Self {
        let (modes, roles) = (access.modes().iter().copied(), access.roles().iter().copied());
        Self { conversation, modes: modes.collect(), roles: roles.collect() }
    }
}

/// What `sub key` answers: a secret is printed, because it was asked for.
#[derive(Serialize)]
pub(crate) struct Secret {
    conversation: ConversationId,
    epoch: u64,
    #[serde(serialize_with = "exposed")]
    key: Zeroizing<String>,
}

fn exposed<S: Serializer>(key: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key)
}

impl Secret {
    pub(crate) fn new(sub: &tertulia::SubConversation, epoch: u64, secret: &[u8]) -> Self {
        let mut key = Zeroizing::new(String::with_capacity(secret.len() * 2));
        for byte in secret {
            let _ = write!(key, "{byte:02x}"); // into memory
        }
        Self { conversation: sub.id(), epoch, key }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

/// A line of `read`; what `send` answers.
#[derive(Serialize)]
pub(crate) struct Message {
    pub(crate) conversation: ConversationId,
    /// None if the hub no longer tells the sender's handle.
    pub(crate) from: Option<Handle>,
    pub(crate) device: DeviceId,
    pub(crate) sequence: u64,
    pub(crate) sent_at: Moment,
    pub(crate) text: String,
    /// Null unless it is a frame of a type of an application's own, and no text.
    pub(crate) frame: Option<Frame>,
    /// When this home deletes it; null if it stays, and until it is read if the time begins then.
    pub(crate) expires_at: Option<Moment>,
    pub(crate) receipts: Vec<Receipt>,
    /// Null unless it was sent before this device came, and read with what a member has given to it.
    pub(crate) history: Option<SharedHistory>,
}

/// What only the application whose type it is can show.
#[derive(Serialize)]
pub(crate) struct Frame {
    /// The type, as `0x8001`.
    #[serde(rename = "type")]
    pub(crate) of: String,
    /// The frame in hexadecimal.
    pub(crate) bytes: String,
}

/// That a message was read from shared history.
#[derive(Serialize)]
pub(crate) struct SharedHistory {
    /// Whether this device has made sure of it; else it is what a member says.
    pub(crate) verified: bool,
    pub(crate) shared_by: Option<Handle>,
}

/// What a member has told of a message.
#[derive(Serialize)]
pub(crate) struct Receipt {
    pub(crate) handle: Option<Handle>,
    pub(crate) user: UserId,
    pub(crate) status: ReceiptStatus,
    pub(crate) told_at: Moment,
}

impl From<tertulia::Receipt> for Receipt {
    fn from(receipt: tertulia::Receipt) -> Self {
        Self {
            handle: receipt.handle,
            user: receipt.user,
            status: receipt.status,
            told_at: Moment::from_millis(receipt.told_at),
        }
    }
}

impl From<tertulia::Message> for Message {
    fn from(message: tertulia::Message) -> Self {
        Self {
            conversation: message.conversation,
            from: message.from,
            device: message.device,
            sequence: message.sequence,
            sent_at: Moment::from_millis(message.sent_at),
            text: message.text,
            frame: message
                .frame
                .map(|frame| Frame { of: frame.of().to_string(), bytes: hex::encode(frame.as_bytes()) }),
            expires_at: message.expires_at.map(Moment::from_millis),
            receipts: message.receipts.into_iter().map(Receipt::from).collect(),
            history: message
                .history
                .map(|history| SharedHistory { verified: history.verified, shared_by: history.handle }),
        }
    }
}

/// What `send --offline` answers.
#[derive(Serialize)]
pub(crate) struct Queued {
    pub(crate) conversation: ConversationId,
    pub(crate) queued: bool,
}

/// What protects a home.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Key {
    File,
    Passphrase,
}

impl From<&tertulia::HomeKey> for Key {
    fn from(key: &tertulia::HomeKey) -> Self {
        match key {
            tertulia::HomeKey::Passphrase(_) => Self::Passphrase,
            _ => Self::File,
        }
    }
}

/// What `home export` answers.
#[derive(Serialize)]
pub(crate) struct Exported {
    /// The directory, as it was given.
    pub(crate) home: String,
    pub(crate) key: Key,
}

/// What `home rekey` answers.
#[derive(Serialize)]
pub(crate) struct Rekeyed {
    pub(crate) key: Key,
}

/// What `sync` answers.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) events: u64,
    pub(crate) messages: u64,
    /// Messages from before this device came.
    pub(crate) history: u64,
    pub(crate) sent: u64,
    pub(crate) refused: u64,
    pub(crate) undecryptable: u64,
    pub(crate) resets: u64,
    pub(crate) suspicious: u64,
    /// Kept for a later version of this program, or for an application that knows more.
    pub(crate) unsupported: u64,
}

/// A line of `warnings`.
#[derive(Serialize)]
pub(crate) struct Warning {
    pub(crate) conversation: ConversationId,
    pub(crate) name: Option<String>,
    pub(crate) noticed_at: Moment,
    #[serde(flatten)]
    pub(crate) suspicion: tertulia::Suspicion,
    pub(crate) sentence: String,
}

impl Warning {
    pub(crate) fn new(noticed: tertulia::Noticed, conversation: Option<tertulia::Conversation>) -> Self {
        let tertulia::Noticed { conversation: id, at, suspicion, .. } = noticed;
        Self {
            conversation: id,
            name: conversation.and_then(|conversation| conversation.name),
            noticed_at: Moment::from_millis(at),
            sentence: suspicion.to_string(),
            suspicion,
        }
    }
}

impl From<tertulia::SyncReport> for Report {
    fn from(report: tertulia::SyncReport) -> Self {
        Self {
            events: report.events,
            messages: report.messages,
            history: report.history,
            sent: report.sent,
            refused: report.refused,
            undecryptable: report.undecryptable,
            resets: report.resets,
            suspicious: report.suspicious,
            unsupported: report.unsupported,
        }
    }
}
