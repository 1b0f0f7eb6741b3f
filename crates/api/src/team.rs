//! Teams.

use serde::{Deserialize, Serialize};
use std::fmt;
use tertulia_domain::{
    AccountKind, ConversationId, Handshake, Protocol, RoleName, TeamId, UserId, role::ActionSet,
    team::TeamRole,
};
use utoipa::ToSchema;

/// Makes a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewTeam {
    /// Its name, 1–128 characters.
    #[schema(example = "Café Gijón")]
    pub name: String,
}

/// The caller's team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Team {
    /// The team.
    #[schema(value_type = String, format = Uuid)]
    pub team: TeamId,
    /// Its name.
    pub name: String,
    /// The caller's role in it: `owner`, `admin` or `member`.
    #[schema(value_type = String, example = "owner")]
    pub role: TeamRole,
    /// When it was made, milliseconds since 1970.
    pub created_at: i64,
}

/// A member of a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamMember {
    /// The user.
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    /// The user's handle.
    pub handle: String,
    /// `owner`, `admin` or `member`.
    #[schema(value_type = String, example = "member")]
    pub role: TeamRole,
    /// When the user joined, milliseconds since 1970.
    pub joined_at: i64,
    /// What the account is: `person` if absent, `guest` or `service`.
    #[serde(default, skip_serializing_if = "AccountKind::is_person")]
    #[schema(value_type = Option<String>, example = "service")]
    pub kind: AccountKind,
}

/// The members of the caller's team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamMembers {
    /// In the order in which they joined.
    pub members: Vec<TeamMember>,
}

/// Asks for an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewInvitation {
    /// For how many seconds it can be accepted: 60 to 30 days; 7 days if absent.
    #[schema(example = 86400)]
    pub valid_for: Option<u64>,
}

/// An invitation, which one person can accept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// 256 random bits. Whoever has it can join: it is given to the person who is meant.
    pub code: String,
    /// Until when, milliseconds since 1970.
    pub expires_at: i64,
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Accepts an invitation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinTeam {
    /// The invitation's code.
    pub code: String,
}

impl fmt::Debug for JoinTeam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinTeam").finish_non_exhaustive()
    }
}

/// Changes a member's role in the team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamRoleUpdate {
    /// `owner`, `admin` or `member`.
    #[schema(value_type = String, example = "admin")]
    pub role: TeamRole,
}

/// A role that a team defines for its conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConversationRole {
    /// 2–128 characters of `a-z 0-9 _`, not `admin` or `member`.
    #[schema(value_type = String, example = "scribe", min_length = 2, max_length = 128, pattern = "^[a-z0-9_]+$")]
    pub name: RoleName,
    /// What it allows, such as `modify_name`.
    #[schema(value_type = Vec<String>, example = json!(["modify_name", "leave"]))]
    pub actions: ActionSet,
}

/// The roles that the caller's team defines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConversationRoles {
    /// Ordered by name.
    pub roles: Vec<ConversationRole>,
}

/// Makes a channel of the caller's team. Its members come as those of a group do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewChannel {
    /// Chosen at random by the client, so that a repeated request creates nothing twice.
    #[schema(value_type = String, format = Uuid)]
    pub conversation: ConversationId,
    /// Its name, 1–256 characters. Unlike that of a group it is **not encrypted**: the hub and the whole team see it.
    #[schema(example = "Announcements")]
    pub name: String,
    /// How its messages are to be encrypted: `mls`, also unless given, or `pairwise`.
    #[serde(default)]
    #[schema(value_type = String, example = "mls")]
    pub protocol: Protocol,
    /// Whether commits and proposals are encrypted: `plaintext`, also unless given, or `ciphertext`.
    #[serde(default, skip_serializing_if = "Handshake::is_plaintext")]
    #[schema(value_type = String, example = "plaintext")]
    pub handshake: Handshake,
}

/// Gives a channel another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelName {
    /// The name, 1–256 characters. The hub and the whole team see it.
    #[schema(example = "Announcements")]
    pub name: String,
}

/// A channel as the whole team sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Channel {
    /// The conversation.
    #[schema(value_type = String, format = Uuid)]
    pub conversation: ConversationId,
    /// Its name.
    pub name: String,
    /// How many members it has.
    pub members: u64,
    /// When it was made, milliseconds since 1970.
    pub created_at: i64,
}

/// The channels of a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Channels {
    /// In the order in which they were made, at most 500.
    pub channels: Vec<Channel>,
}
