//! Who is admitted to a conversation, its join link, and coming in by it.

use crate::bytes::Base64;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};
use tertulia_domain::{
    ConversationId, ConversationType,
    access::{AccessMode, AccessRole},
};
use utoipa::ToSchema;

/// Changes who is admitted to a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessUpdate {
    /// In which ways one comes in: `private` alone, or some of `invite`, `link`, `code`.
    #[schema(value_type = Vec<String>, example = json!(["invite", "code"]))]
    pub access: BTreeSet<AccessMode>,
    /// Who is admitted: `team_member`, `non_team_member`, `guest`, `service`. Members who are no longer admitted are removed.
    #[schema(value_type = Vec<String>, example = json!(["team_member", "non_team_member"]))]
    pub access_roles: BTreeSet<AccessRole>,
}

/// Gives a conversation a join link, in the place of the one that it has.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewLink {
    /// SHA-256 of the link's code, 32 bytes.
    pub code_hash: Base64,
    /// The link's public key, 32 bytes: in a conversation with an MLS group, the one that its policy has.
    pub public_key: Base64,
    /// What is asked for beside the code, unless nothing is. 8 to 1024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// For how many seconds it can be used; as the hub is configured, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<u64>,
}

impl fmt::Debug for NewLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewLink").field("valid_for", &self.valid_for).finish_non_exhaustive()
    }
}

/// A conversation's join link, as the hub knows it. The link itself it does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// The link's public key, 32 bytes.
    pub public_key: Base64,
    /// Whether it has a password.
    pub has_password: bool,
    /// Until when it can be used, milliseconds since 1970.
    pub expires_at: i64,
}

/// Names a join link by its code, which follows from the link's secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkCode {
    /// The code, 32 bytes.
    pub code: Base64,
}

impl fmt::Debug for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkCode(…)")
    }
}

/// What who has a join link may know before they come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkPreview {
    /// The conversation.
    #[schema(value_type = String, format = Uuid)]
    pub conversation: ConversationId,
    /// `group` or `channel`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "group")]
    pub kind: ConversationType,
    /// How many members it has.
    pub members: u64,
    /// Whether the link has a password.
    pub has_password: bool,
    /// Until when it can be used, milliseconds since 1970.
    pub expires_at: i64,
}

/// Comes in by a join link.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinByLink {
    /// The link's code, 32 bytes.
    pub code: Base64,
    /// The link's password, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The signature that proves that the caller has the link, 64 bytes.
    pub proof: Base64,
}

impl fmt::Debug for JoinByLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinByLink(…)")
    }
}

/// How it stands with somebody who wants to come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Joining {
    /// The conversation.
    #[schema(value_type = String, format = Uuid)]
    pub conversation: ConversationId,
    /// `true` when the caller is a member; otherwise the members were told, and one of them adds the caller.
    pub joined: bool,
}
