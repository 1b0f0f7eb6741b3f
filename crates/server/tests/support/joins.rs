//! Who is admitted to a conversation, as the tests change and see it.

use super::hub::{Answer, Person};
use serde_json::json;
use tertulia_api::conversation::Conversation;
use tertulia_domain::{
    ConversationId, UserId,
    access::{AccessMode, AccessRole},
};

pub fn path(conversation: ConversationId, what: &str) -> String {
    format!("/v1/conversations/{conversation}/{what}")
}

pub async fn set_access(
    person: &Person,
    id: ConversationId,
    modes: &[AccessMode],
    roles: &[AccessRole],
) -> Answer {
    person.put(&path(id, "access"), &json!({ "access": modes, "access_roles": roles })).await
}

/// Persons alone.
pub const PERSONS: [AccessRole; 3] = [AccessRole::TeamMember, AccessRole::NonTeamMember, AccessRole::Guest];
/// Who is admitted to a new conversation of no team.
pub const EVERYBODY: [AccessRole; 4] =
    [AccessRole::TeamMember, AccessRole::NonTeamMember, AccessRole::Guest, AccessRole::Service];

pub fn users(conversation: &Conversation) -> Vec<UserId> {
    conversation.members.iter().map(|member| member.user).collect()
}
