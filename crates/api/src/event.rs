//! The event stream of a device.
//!
//! A device's stream is its user's own events and the logs of the conversations that the user is in, merged in the order in
//! which the hub accepted them. Delivery is at least once; a device drops what it has seen by its cursor.

use crate::{
    bytes::Base64, connection::Connection, conversation::Member, error::UserDevice, setting::Setting,
    team::TeamMember,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tertulia_domain::{
    ConversationId, DeviceId, Protocol, RoleName, TeamId, UserId,
    access::{AccessMode, AccessRole},
};
use utoipa::{IntoParams, ToSchema};

/// An event with its place in the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// The cursor after this event. Opaque: it is given back, never looked into.
    pub cursor: String,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What stands at the head of every entry of a conversation's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEntry {
    /// The conversation.
    #[schema(value_type = String, format = Uuid)]
    pub conversation: ConversationId,
    /// The entry's number in the conversation's log; rises, and may skip numbers.
    pub sequence: u64,
    /// When the hub accepted it, milliseconds since 1970.
    pub sent_at: i64,
    /// The device that sent it; absent where the hub itself is the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<UserDevice>,
}

/// The last entry that a hub has cut out of a conversation's log, and that a device has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MissedEntries {
    /// The conversation.
    #[schema(value_type = String, format = Uuid)]
    pub conversation: ConversationId,
    /// The entry's number in the log.
    pub sequence: u64,
    /// The epoch that the MLS group had come to with it. Who is in an earlier one cannot follow, and has to join anew.
    pub epoch: u64,
    /// When the hub accepted it, milliseconds since 1970.
    pub sent_at: i64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum EventBody {
    /// The user's side of a connection is now this.
    #[serde(rename = "connection.updated")]
    ConnectionUpdated {
        /// The connection.
        connection: Connection,
    },
    /// The user has a further device.
    #[serde(rename = "device.added")]
    DeviceAdded {
        /// The new device.
        #[schema(value_type = String)]
        device: DeviceId,
        /// Its name for people.
        label: String,
    },
    /// A device of the user has few key packages left, so that it is to upload more. Told once, until it has enough again; of those that
    /// have expired, when somebody asks for one the next time. Devices make new ones in time.
    #[serde(rename = "device.key-packages-low")]
    KeyPackagesLow {
        /// The device.
        #[schema(value_type = String)]
        device: DeviceId,
        /// How many are left, the last-resort one not counted.
        count: u32,
    },
    /// A device of the user has few one-time keys for pairwise sessions left, so that it is to upload more. Told once, until
    /// it has enough again.
    #[serde(rename = "device.pairwise-keys-low")]
    PairwiseKeysLow {
        /// The device.
        #[schema(value_type = String)]
        device: DeviceId,
        /// How many are left, the fallback key not counted.
        count: u32,
    },
    /// Somebody whom the user was connected with has deleted their account. Their 1:1 has ended.
    #[serde(rename = "user.deleted")]
    UserDeleted {
        /// Who is no more.
        #[schema(value_type = String, format = Uuid)]
        user: UserId,
    },
    /// Somebody is now in the user's team, perhaps the user. Members of one team are connected without having connections.
    #[serde(rename = "team.member-joined")]
    TeamMemberJoined {
        /// The team.
        #[schema(value_type = String, format = Uuid)]
        team: TeamId,
        /// Who joined.
        member: TeamMember,
    },
    /// Somebody has left the user's team, or was removed from it, perhaps the user.
    #[serde(rename = "team.member-left")]
    TeamMemberLeft {
        /// The team.
        #[schema(value_type = String, format = Uuid)]
        team: TeamId,
        /// Who left.
        #[schema(value_type = String, format = Uuid)]
        user: UserId,
    },
    /// The role of a member of the user's team has changed.
    #[serde(rename = "team.role-changed")]
    TeamRoleChanged {
        /// The team.
        #[schema(value_type = String, format = Uuid)]
        team: TeamId,
        /// The member, who has the new role.
        member: TeamMember,
    },
    /// The user's team has defined a role for conversations, or deleted one.
    #[serde(rename = "team.roles-changed")]
    TeamRolesChanged {
        /// The team.
        #[schema(value_type = String, format = Uuid)]
        team: TeamId,
    },
    /// One of the user's devices was removed from the account.
    #[serde(rename = "device.removed")]
    DeviceRemoved {
        /// The device.
        #[schema(value_type = String)]
        device: DeviceId,
    },
    /// The user is now a member of this conversation. The conversation itself is fetched.
    #[serde(rename = "conversation.joined")]
    ConversationJoined {
        /// Stands behind the log's last entry and has that one's number, since it is no entry itself: the others in the
        /// conversation see nothing of it.
        #[serde(flatten)]
        entry: LogEntry,
    },
    /// An application message.
    #[serde(rename = "conversation.message")]
    Message {
        /// Where it stands in the log.
        #[serde(flatten)]
        entry: LogEntry,
        /// The `MLSMessage` (a `PrivateMessage`).
        message: Base64,
    },
    /// An application message that announces the conversation's name; the hub checked that its sender may.
    #[serde(rename = "conversation.name")]
    Name {
        /// Where it stands in the log.
        #[serde(flatten)]
        entry: LogEntry,
        /// The `MLSMessage` (a `PrivateMessage`).
        message: Base64,
    },
    /// A channel has another name, which the hub knows.
    #[serde(rename = "conversation.renamed")]
    Renamed {
        /// Where it stands in the log.
        #[serde(flatten)]
        entry: LogEntry,
        /// The name.
        name: String,
    },
    /// An application message of a conversation whose protocol is pairwise or mixed.
    #[serde(rename = "conversation.pairwise")]
    Pairwise {
        /// Where it stands in the log.
        #[serde(flatten)]
        entry: LogEntry,
        /// Whether it announces the conversation's name; the hub checked that its sender may.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        announces_name: bool,
        /// The ciphertext for the receiving device; absent at the device that sent it, and at one that it left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ciphertext: Option<Base64>,
    },
    /// The conversation's protocol is now this one.
    #[serde(rename = "conversation.protocol")]
    Protocol {
        /// Where it stands in the log.
        #[serde(flatten)]
        entry: LogEntry,
        /// `mixed` or `mls`.
        #[schema(value_type = String)]
        protocol: Protocol,
    },
    /// Something is set otherwise for all members.
    #[serde(rename = "conversation.setting")]
    Setting {
        /// Where it stands in the log.
        #[serde(flatten)]
        entry: LogEntry,
        /// What, and how it is now.
        #[serde(flatten)]
        setting: Setting,
    },
    /// A commit that the hub accepted.
    #[serde(rename = "conversation.commit")]
    Commit {
        /// Where it stands in the log.
        #[serde(flatten)]
        entry: LogEntry,
        /// The epoch that the commit made.
        epoch: u64,
        /// The `MLSMessage` with the commit.
        commit: Base64,
        /// The `MLSMessage` with the Welcome, when this commit added the receiving device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        welcome: Option<Base64>,
        /// The bundle's application message for the new epoch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<Base64>,
    },
    /// A proposal: by the hub as external sender 0, by a member, or by a device of a member that asks to be added.
    #[serde(rename = "conversation.proposal")]
    Proposal {
        /// Where it stands in the log.
        #[serde(flatten)]
        entry: LogEntry,
        /// The `MLSMessage` with the proposal.
        proposal: Base64,
    },
    /// All proposals of the epoch are withdrawn, because no commit can have some of them any more. The others follow again, as
    /// events of their own; until then none is pending.
    #[serde(rename = "conversation.proposals-withdrawn")]
    ProposalsWithdrawn {
        /// Where it stands in the log. There is no sender.
        #[serde(flatten)]
        entry: LogEntry,
        /// The epoch that they were for.
        epoch: u64,
        /// The `ProposalRef`s (RFC 9420, section 5.2) of those that are void: what they would add is no device any more, or
        /// nobody's who is a member, or its key package has expired.
        void: Vec<Base64>,
    },
    /// The conversation is carried by another MLS group from here on, which is at epoch 0 and has to be begun. Its members
    /// are the same; of a subconversation nobody is in it any more.
    #[serde(rename = "conversation.mls-reset")]
    GroupReset {
        /// Where it stands in the log. The sender is who asked for it.
        #[serde(flatten)]
        entry: LogEntry,
        /// The id of the new group.
        group_id: Base64,
    },
    /// The conversation was deleted for all. It is the last that anybody hears of it.
    #[serde(rename = "conversation.deleted")]
    ConversationDeleted {
        /// Where it stands in the log. The sender is who deleted it.
        #[serde(flatten)]
        entry: LogEntry,
    },
    /// Users joined or left.
    #[serde(rename = "conversation.members")]
    Members {
        /// Where it stands in the log.
        #[serde(flatten)]
        entry: LogEntry,
        /// Those who joined.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        joined: Vec<Member>,
        /// Those who left or were removed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schema(value_type = Vec<String>)]
        left: Vec<UserId>,
    },
    /// Who is admitted to the conversation is different from here on.
    #[serde(rename = "conversation.access")]
    Access {
        /// Where it stands in the log.
        #[serde(flatten)]
        entry: LogEntry,
        /// In which ways one comes in.
        #[schema(value_type = Vec<String>)]
        access: BTreeSet<AccessMode>,
        /// Who is admitted.
        #[schema(value_type = Vec<String>)]
        access_roles: BTreeSet<AccessRole>,
    },
    /// Somebody asks to come into the conversation, and the hub has found that they may. Any member adds them by a commit that
    /// has the proof in the policy.
    #[serde(rename = "conversation.join-requested")]
    JoinRequested {
        /// Where it stands in the log. There is no sender.
        #[serde(flatten)]
        entry: LogEntry,
        /// The epoch in which the group was when they did: what they show is to fit the policy of that one.
        epoch: u64,
        /// Who asks.
        #[schema(value_type = String, format = Uuid)]
        user: UserId,
        /// Their handle.
        handle: String,
        /// The signature that proves that they have the join link; absent where they ask by the conversation's id alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Base64>,
    },
    /// Who asked to come into the conversation has taken that back: they are not to be added for having asked.
    #[serde(rename = "conversation.join-withdrawn")]
    JoinWithdrawn {
        /// Where it stands in the log. There is no sender.
        #[serde(flatten)]
        entry: LogEntry,
        /// Who asked.
        #[schema(value_type = String, format = Uuid)]
        user: UserId,
    },
    /// The user's request to come into this conversation is void: the link was taken back, or the conversation admits them no
    /// more, or another device of theirs took it back.
    #[serde(rename = "conversation.join-ended")]
    JoinEnded {
        /// The conversation.
        #[schema(value_type = String, format = Uuid)]
        conversation: ConversationId,
    },
    /// A member's role changed.
    #[serde(rename = "conversation.role")]
    Role {
        /// Where it stands in the log.
        #[serde(flatten)]
        entry: LogEntry,
        /// The member.
        #[schema(value_type = String, format = Uuid)]
        user: UserId,
        /// The new role.
        #[schema(value_type = String)]
        role: RoleName,
    },
}

impl EventBody {
    /// The place in a conversation's log, for the events that have one.
    pub fn entry(&self) -> Option<&LogEntry> {
        match self {
            Self::ConnectionUpdated { .. }
            | Self::DeviceAdded { .. }
            | Self::DeviceRemoved { .. }
            | Self::KeyPackagesLow { .. }
            | Self::PairwiseKeysLow { .. }
            | Self::UserDeleted { .. }
            | Self::TeamMemberJoined { .. }
            | Self::TeamMemberLeft { .. }
            | Self::TeamRoleChanged { .. }
            | Self::TeamRolesChanged { .. }
            | Self::JoinEnded { .. } => None,
            Self::ConversationJoined { entry }
            | Self::Message { entry, .. }
            | Self::Name { entry, .. }
            | Self::Renamed { entry, .. }
            | Self::Pairwise { entry, .. }
            | Self::Protocol { entry, .. }
            | Self::Setting { entry, .. }
            | Self::Commit { entry, .. }
            | Self::Proposal { entry, .. }
            | Self::ProposalsWithdrawn { entry, .. }
            | Self::GroupReset { entry, .. }
            | Self::ConversationDeleted { entry }
            | Self::Access { entry, .. }
            | Self::JoinRequested { entry, .. }
            | Self::JoinWithdrawn { entry, .. }
            | Self::Members { entry, .. }
            | Self::Role { entry, .. } => Some(entry),
        }
    }
}

/// Where to go on reading.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Events after this cursor; without it, after the last one that the device acknowledged.
    pub since: Option<String>,
    /// At most so many events (1–1000, 200 unless given).
    pub limit: Option<u32>,
    /// Wait up to so many seconds (0–60, 0 unless given) for a first event.
    pub wait: Option<u32>,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// Where the next page begins.
    pub cursor: String,
    /// Whether there were more when the page was made.
    pub more: bool,
}

/// What a device says over the WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum ClientFrame {
    /// All events up to this cursor are safe on the device; they are not sent again.
    #[serde(rename = "ack")]
    Acknowledge {
        /// A cursor that the hub gave.
        cursor: String,
    },
}
