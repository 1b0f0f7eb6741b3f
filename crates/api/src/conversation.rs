//! Conversations, and the answers to what is sent into them.

use crate::{bytes::Base64, error::UserDevice, setting::Settings, team::ConversationRole};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tertulia_domain::{
    AccountKind, ConversationId, ConversationType, Handshake, Protocol, RoleName, SubconversationName,
    TeamId, UserId,
    access::{AccessMode, AccessRole},
};
use utoipa::{IntoParams, ToSchema};

/// The media type of MLS messages (RFC 9420 §17.8). A body of several messages is their concatenation; each `MLSMessage`
/// says where it ends.
pub const MLS_MEDIA_TYPE: &str = "message/mls";

/// A member of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The user.
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    /// The user's handle.
    pub handle: String,
    /// What the user may do: `admin` or `member`.
    #[schema(value_type = String, example = "member")]
    pub role: RoleName,
    /// What the account is: `person` if absent, `guest` or `service`.
    #[serde(default, skip_serializing_if = "AccountKind::is_person")]
    #[schema(value_type = Option<String>, example = "service")]
    pub kind: AccountKind,
}

/// A conversation as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conversation {
    /// The conversation.
    #[schema(value_type = String, format = Uuid)]
    pub conversation: ConversationId,
    /// `self`, `connection`, `one_to_one`, `group`, `channel` or `subconversation`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "group")]
    pub kind: ConversationType,
    /// How its messages are encrypted: `mls`, `pairwise` or `mixed`.
    #[serde(default)]
    #[schema(value_type = String, example = "mls")]
    pub protocol: Protocol,
    /// The members, in the order in which they joined.
    pub members: Vec<Member>,
    /// The id of the MLS group that carries the conversation.
    pub group_id: Base64,
    /// The MLS group's epoch; 0 until the first commit was accepted.
    pub epoch: u64,
    /// When it was created, milliseconds since 1970.
    pub created_at: i64,
    /// Of a group or channel, who made it, whether they are still in it or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub creator: Option<UserId>,
    /// Of a subconversation, what it is one of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subconversation: Option<SubconversationAddress>,
    /// The team that it belongs to, if it belongs to one. Who leaves the team leaves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub team: Option<TeamId>,
    /// Of a group or channel, in which ways one comes in: `private`, `invite`, `link`, `code`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>, example = json!(["invite"]))]
    pub access: BTreeSet<AccessMode>,
    /// Of a group or channel, who is admitted: `team_member`, `non_team_member`, `guest`, `service`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>, example = json!(["team_member"]))]
    pub access_roles: BTreeSet<AccessRole>,
    /// Whether commits and proposals are encrypted: `plaintext`, also unless given, or `ciphertext`.
    #[serde(default, skip_serializing_if = "Handshake::is_plaintext")]
    #[schema(value_type = String, example = "plaintext")]
    pub handshake: Handshake,
    /// Of a channel its name, which the hub knows. All other names are inside the encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of a group or channel, what the roles allow that members have here beside `admin` and `member`; and for who may give roles also
    /// those that its team defines. Ordered by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<ConversationRole>,
    /// What is set for all members.
    #[serde(default, flatten)]
    pub settings: Settings,
    /// The conversation that it was made under, if it was made under one. That one's end changes nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub parent: Option<ConversationId>,
}

/// What a subconversation is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubconversationAddress {
    /// The conversation that it belongs to.
    #[schema(value_type = String, format = Uuid)]
    pub parent: ConversationId,
    /// 1–255 printable ASCII characters other than the space.
    #[schema(value_type = String, example = "call")]
    pub name: SubconversationName,
}

/// A subconversation: an MLS group of some devices of the parent's members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subconversation {
    /// The id under which commits and messages are sent, derived from parent and name.
    #[schema(value_type = String, format = Uuid)]
    pub conversation: ConversationId,
    /// What it is known by.
    #[serde(flatten)]
    pub address: SubconversationAddress,
    /// The id of its present MLS group.
    pub group_id: Base64,
    /// The MLS group's epoch; 0 until a device joined.
    pub epoch: u64,
    /// The devices in it, in the order in which they joined.
    pub devices: Vec<UserDevice>,
}

/// The subconversations of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subconversations {
    /// Those that have devices in them, by name.
    pub subconversations: Vec<Subconversation>,
}

/// Which subconversation is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SubconversationQuery {
    /// Its name, 1–255 printable ASCII characters other than the space.
    #[param(value_type = String)]
    pub name: SubconversationName,
}

/// Which group is to be begun anew. A conversation that has moved on meanwhile is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupReset {
    /// The group that the caller means, as the hub named it.
    pub group_id: Base64,
    /// The epoch that the caller knows it to be in.
    pub epoch: u64,
}

/// All conversations of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conversations {
    /// Ordered by creation.
    pub conversations: Vec<Conversation>,
}

/// Creates a group. Its members come with its first commit, or one by one where the protocol is pairwise; its name is announced
/// inside a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewConversation {
    /// Chosen at random by the client, so that a repeated request creates nothing twice.
    #[schema(value_type = String, format = Uuid)]
    pub conversation: ConversationId,
    /// How its messages are to be encrypted: `mls`, also unless given, or `pairwise`.
    #[serde(default)]
    #[schema(value_type = String, example = "mls")]
    pub protocol: Protocol,
    /// Whether commits and proposals are encrypted: `plaintext`, also unless given, or `ciphertext`.
    #[serde(default, skip_serializing_if = "Handshake::is_plaintext")]
    #[schema(value_type = String, example = "plaintext")]
    pub handshake: Handshake,
    /// Whether it is to belong to the caller's team.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub team: bool,
    /// A conversation of the caller's that it is to be made under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub parent: Option<ConversationId>,
}

impl NewConversation {
    /// A group on MLS, of no team, with everything else as by default.
    pub fn new(conversation: ConversationId) -> Self {
        Self {
            conversation,
            protocol: Protocol::default(),
            handshake: Handshake::default(),
            team: false,
            parent: None,
        }
    }
}

/// Changes a member's role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleUpdate {
    /// `admin`, `member`, or a role that the conversation's team defines; `wire_admin` and `wire_member` are taken too.
    #[schema(example = "admin")]
    pub role: String,
    /// Who becomes admin, when the last one loses that role. The caller's own role has all actions then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub successor: Option<UserId>,
}

/// Leaves a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Leave {
    /// Who becomes admin, when the last one leaves a conversation that has no MLS group. In a group nobody can be appointed but by
    /// a commit.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub successor: Option<UserId>,
}

/// An application message was accepted. Sending the same bytes again gives the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessageAccepted {
    /// The message's number in the conversation's log.
    pub sequence: u64,
    /// When the hub accepted it, milliseconds since 1970.
    pub sent_at: i64,
}

/// A proposal was accepted, and is pending until a commit. Sending the same bytes again gives the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProposalAccepted {
    /// The proposal's number in the conversation's log.
    pub sequence: u64,
    /// The epoch that it is for, and gone with.
    pub epoch: u64,
    /// When the hub accepted it, milliseconds since 1970.
    pub sent_at: i64,
}

/// A commit was accepted. Sending the same bytes again gives the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommitAccepted {
    /// The commit's number in the conversation's log.
    pub sequence: u64,
    /// The epoch that the commit made.
    pub epoch: u64,
    /// When the hub accepted it, milliseconds since 1970.
    pub sent_at: i64,
}
