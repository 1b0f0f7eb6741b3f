//! What an application sees: people, conversations, messages.

use crate::Noticed;
use tertulia_conversation::{
    types::{ConversationType as Framed, TypeId},
    wire::{Outcome, WireError},
};
use tertulia_domain::{
    AccountKind, ConversationId, ConversationName, ConversationType, DeviceId, DisplayName, Domain, Handle,
    History, Locale, MessageTimer, Protocol, ReceiptMode, ReceiptStatus, RoleName, TeamId, UserId,
    connection::Status as ConnectionStatus, policy::AddPermission, team::TeamRole,
};
use url::Url;

/// Who this home belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Me {
    /// The user.
    pub user: UserId,
    /// The hub's domain; `key.invalid` without an account.
    pub domain: Domain,
    /// This device.
    pub device: DeviceId,
    /// The user's handle. Without an account it is made of the user's key, and others call them what they like.
    pub handle: Handle,
    /// The hub's address; none without an account.
    pub hub: Option<Url>,
    /// The addresses of the relays that conversations without a hub travel through.
    pub relays: Vec<Url>,
    /// What the account is.
    pub kind: AccountKind,
    /// Of a guest, when the account ends, milliseconds since 1970.
    pub expires_at: Option<i64>,
}

/// What a user says of themselves, as far as this user may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// The user.
    pub user: UserId,
    /// The user's handle.
    pub handle: Handle,
    /// The display name, if the user has given one.
    pub name: Option<DisplayName>,
    /// The locale, if the user has given one and this user may see it.
    pub locale: Option<Locale>,
    /// What the account is: a person's, a guest's or a service's.
    pub kind: AccountKind,
}

/// The user's team.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Team {
    /// Its id.
    pub team: TeamId,
    /// Its name.
    pub name: DisplayName,
    /// What the user may do in it.
    pub role: TeamRole,
    /// When it was made, milliseconds since 1970.
    pub created_at: i64,
}

/// A member of the user's team.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TeamMember {
    /// The user.
    pub user: UserId,
    /// The user's handle.
    pub handle: Handle,
    /// What the member may do in the team.
    pub role: TeamRole,
    /// When the member joined, milliseconds since 1970.
    pub joined_at: i64,
    /// What the member's account is.
    pub kind: AccountKind,
}

/// An invitation to the user's team, which one person can accept.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invitation {
    /// Whoever has it can join: it is given to the person who is meant.
    pub code: String,
    /// Until when, milliseconds since 1970.
    pub expires_at: i64,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A device of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// Its id.
    pub device: DeviceId,
    /// Its name for people.
    pub label: String,
    /// When it was registered, milliseconds since 1970.
    pub created_at: i64,
    /// Whether it is this one.
    pub current: bool,
}

/// The user's side of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The other user.
    pub user: UserId,
    /// The other user's handle.
    pub handle: Handle,
    /// How it stands.
    pub status: ConnectionStatus,
    /// The 1:1 conversation of the two.
    pub conversation: ConversationId,
    /// When the user's side last changed, milliseconds since 1970.
    pub updated_at: i64,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// To talk, the two.
    Private,
    /// That the user come into a group, of somebody with whom the user is not connected.
    Group,
}

/// What somebody has got who was [accepted](crate::Client::accept_request).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The connection with them, if they have asked to talk.
    pub connection: Option<Connection>,
    /// The groups that the user has entered at their invitation.
    pub groups: Vec<Conversation>,
}

/// Somebody's request, by an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// What they are called here. [`Client::accept_request`](crate::Client::accept_request) takes it.
    pub from: Handle,
    /// Who.
    pub user: UserId,
    /// What they ask.
    pub kind: RequestKind,
    /// The conversation that they ask this user into. Its name is known once the user is in it.
    pub conversation: ConversationId,
    /// When it came, milliseconds since 1970.
    pub received_at: i64,
    /// Until when it can be accepted, milliseconds since 1970.
    pub expires_at: i64,
}

/// A member of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// The user's handle; none if the hub has not told it.
    pub handle: Option<Handle>,
    /// What the user may do.
    pub role: RoleName,
    /// What the user's account is.
    pub kind: AccountKind,
}

/// A conversation as it stands in this home.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// What it is.
    pub kind: ConversationType,
    /// Its name: `@handle` of the other user for a 1:1, the announced name for a group, once it is known here, and
    /// of a channel the one that the hub and the team see.
    pub name: Option<String>,
    /// Its members.
    pub members: Vec<Member>,
    /// Messages of others that were not marked as read.
    pub unread: u64,
    /// Whether the user is still in it.
    pub active: bool,
    /// How its messages are encrypted.
    pub protocol: Protocol,
    /// For how long messages that are sent now stay once they were read; for good if there is none.
    pub message_timer: Option<MessageTimer>,
    /// Whether the members tell each other what they have read.
    pub receipt_mode: ReceiptMode,
    /// Who may add members.
    pub add_permission: AddPermission,
    /// What those who come later may read of the messages from before, as the hub says.
    pub history: History,
    /// Of a group or channel, the handle of who made it, as the hub says; absent if nobody here has met them.
    pub creator: Option<Handle>,
    /// The conversation that it was made under, which this user need not be in. It may be no more.
    pub parent: Option<ConversationId>,
    /// Set if it is of a type of an application's own, in which frames of that type are said, and no texts.
    pub own_type: Option<OwnType>,
    /// Set if this user has muted it.
    pub muted: Option<OwnFlag>,
    /// Set if this user has archived it.
    pub archived: Option<OwnFlag>,
    /// Set if this user has hidden it.
    pub hidden: Option<OwnFlag>,
}

/// A type of an application's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnType {
    /// Its number.
    pub id: TypeId,
    /// Its title; none if this application has not [registered](crate::ClientBuilder::with_type) it.
    pub title: Option<&'static str>,
}

/// What was said in a conversation of a type of an application's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub(crate) of: TypeId,
    pub(crate) bytes: Vec<u8>,
}

impl Frame {
    /// The type that it is a frame of.
    pub const fn of(&self) -> TypeId {
        self.of
    }

    /// The frame as it came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says, as the type reads it. A frame of another type is [invalid](Outcome::Invalid).
    ///
    /// What is in the home was looked at when it came, by the application that brought it in: what was invalid then was dropped and counted
    /// ([`SyncReport::invalid`]). What is [unsupported](Outcome::Unsupported) stays for a version of the application that reads it.
    pub fn decode<T: Framed>(&self) -> Outcome<T::Frame> {
        let (got, expected) = (self.of.number(), T::DESCRIPTOR.id.number());
        if got == expected {
            T::decode(&self.bytes)
        } else {
            Outcome::Invalid(WireError::WrongType { got, expected })
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}, {} bytes)", self.of, self.bytes.len())
    }
}

/// Something that the user has set of a conversation for themselves: [`Client::set_own`](crate::Client::set_own).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnFlag {
    /// What the application gave with it.
    pub reference: Option<String>,
}

impl std::fmt::Debug for OwnFlag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnFlag").finish_non_exhaustive()
    }
}

/// A channel of the user's team, as everybody in the team sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Channel {
    /// The conversation.
    pub id: ConversationId,
    /// Its name, which the hub knows.
    pub name: ConversationName,
    /// How many members it has.
    pub members: u64,
    /// When it was made, milliseconds since 1970.
    pub created_at: i64,
    /// Whether the user is in it, as far as this home knows.
    pub joined: bool,
}

/// A text in a conversation, or a frame in one of a type of an application's own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its author's handle, if it is known here.
    pub from: Option<Handle>,
    /// Its author.
    pub user: UserId,
    /// The device that sent it.
    pub device: DeviceId,
    /// Its number in the conversation's log; gives the order that is the same for all.
    pub sequence: u64,
    /// When the hub accepted it, milliseconds since 1970.
    pub sent_at: i64,
    /// The text, GitHub Flavored Markdown. Empty beside a frame.
    pub text: String,
    /// What was said in a conversation of a type of an application's own.
    pub frame: Option<Frame>,
    /// When this device deletes it, milliseconds since 1970. None for one that stays, and for one whose time begins when it is
    /// marked as read.
    pub expires_at: Option<i64>,
    /// What other members have told of it, where the conversation's receipt mode is or was on.
    pub receipts: Vec<Receipt>,
    /// Set if it was sent before this device came, and read with what a member has given to it.
    pub history: Option<SharedHistory>,
}

/// That a message was read from shared history.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedHistory {
    /// Whether this device has made sure that it is what the members could read. Otherwise show it as what a member *says* to be
    /// history: whoever gave it could, together with the hub, have made it up.
    pub verified: bool,
    /// The user who gave what opens it; none if that is not known.
    pub shared_by: Option<UserId>,
    /// Their handle, if it is known here.
    pub handle: Option<Handle>,
}

/// What a member has told of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The member.
    pub user: UserId,
    /// The member's handle, if it is known here.
    pub handle: Option<Handle>,
    /// What was told.
    pub status: ReceiptStatus,
    /// When the hub accepted it, milliseconds since 1970.
    pub told_at: i64,
}

/// Which messages to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageQuery {
    /// Only those after this sequence number.
    pub after: Option<u64>,
    /// Only the newest so many of them.
    pub limit: Option<u32>,
}

/// What a synchronisation did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncReport {
    /// Events taken from the hub, and envelopes taken from carriers.
    pub events: u64,
    /// Messages that are new in this home.
    pub messages: u64,
    /// Messages from before this device came that are new in this home.
    pub history: u64,
    /// Messages that went from the outbox to the hub.
    pub sent: u64,
    /// Messages of the outbox that the hub refused for good; they are dropped.
    pub refused: u64,
    /// Messages for this device that could not be decrypted.
    pub undecryptable: u64,
    /// Groups that were begun anew, by a member or by the hub's word alone.
    pub resets: u64,
    /// Conversations in which this device has given itself new keys because the old ones were due.
    pub rotated: u64,
    /// What looked as if the hub did not do as it should: see [`Client::suspicions`](crate::Client::suspicions).
    pub suspicious: u64,
    /// Envelopes of others that stood in the topics of this home.
    pub others: u64,
    /// What stood there and was no envelope, or was damaged; and frames that are wrong, or are not of the conversation's type.
    pub invalid: u64,
    /// What is kept because a later version of this program, or of the application, may read it: envelopes of the user's conversations, within bounds; frames; and
    /// invitations to types that are not [registered](crate::ClientBuilder::with_type).
    pub unsupported: u64,
}

/// A device in a subconversation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubMember {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The user's handle, if it is known here.
    pub handle: Option<Handle>,
}

/// What another device of the user told this one: [`Client::send_to_own_devices`](crate::Client::send_to_own_devices).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnDeviceMessage {
    /// The device that sent it.
    pub device: DeviceId,
    /// Its number; gives the order that is the same for all devices of the user.
    pub sequence: u64,
    /// When the hub accepted it, milliseconds since 1970.
    pub sent_at: i64,
    /// What the application gave.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for OwnDeviceMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnDeviceMessage").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// Something that happened, as [`Client::events`](crate::Client::events) tells it. The home already holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A text or a frame arrived, or one of this user's was accepted.
    Message(Message),
    /// Another device of the user told this one something.
    FromOwnDevice(OwnDeviceMessage),
    /// The user's side of a connection changed.
    Connection(Connection),
    /// Somebody with whom the user is not connected asks the user into a group.
    Invited(Request),
    /// A conversation is carried by a new MLS group, with the same members as far as the hub says. What identified the old
    /// group (verified devices, say) is to be looked at again: only the hub vouches that somebody had the right to ask.
    GroupReset {
        /// The conversation.
        conversation: ConversationId,
        /// The member who asked for it; none if the hub names nobody.
        by: Option<UserId>,
        /// How often it has happened to this conversation.
        times: u64,
    },
    /// A conversation's members, roles, name or messages changed, as when messages from before this device came were read.
    ConversationChanged(ConversationId),
    /// A member has let the user into a conversation that they asked to come into.
    Joined(ConversationId),
    /// What the user asked is void, as when the join link was taken back meanwhile.
    JoinEnded(ConversationId),
    /// Something looks as if the hub did not do as it should.
    Suspicion(Noticed),
    /// Somebody whom the user was connected with has deleted their account. The 1:1 has ended; its messages stay.
    UserDeleted(UserId),
    /// Somebody joined or left the user's team, perhaps the user, or has another role in it; or the team has other roles for its
    /// conversations.
    TeamChanged,
    /// Somebody else in a conversation is typing, or no longer: they said so, their message is there, or nothing more was heard
    /// for a while. Only the hub says that it is they.
    Typing {
        /// The conversation.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Whether they are.
        typing: bool,
    },
    /// Everything that the hub had is here; what follows is live.
    CaughtUp,
    /// The connection to the hub was lost; it is tried again until it works.
    Disconnected {
        /// Why, a sentence.
        reason: String,
    },
}
