//! What happens when something is sent into a conversation or its membership changes: the steps of one transaction,
//! between the handlers, which know HTTP, and the storage, which knows no rules.

pub(crate) mod accounts;
pub(crate) mod admission;
pub(crate) mod channels;
pub(crate) mod commits;
pub(crate) mod deletion;
pub(crate) mod devices;
pub(crate) mod history;
pub(crate) mod implicit;
pub(crate) mod joins;
mod last_policy;
pub(crate) mod membership;
pub(crate) mod messages;
pub(crate) mod pairwise;
mod policy;
pub(crate) mod proposals;
pub(crate) mod resets;
pub(crate) mod settings;
pub(crate) mod subconversations;
pub(crate) mod team;
pub(crate) mod typing;

use crate::storage::Connection;
use crate::{
    error::ApiError,
    storage::{
        conversations::{self, Access},
        teams,
    },
};
use tertulia_domain::{
    ConversationId, ConversationType, UserId,
    connection::Status,
    permission::{self, PermissionError},
};

/// The conversation that a member names. To others it does not exist.
pub(crate) fn access(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
) -> Result<Access, ApiError> {
    conversations::find(connection, conversation, user)?.ok_or(PermissionError::NoConversation.into())
}

/// Whether the member may send into the conversation. In a 1:1 this depends on the member's own side of the connection
/// alone, so that nobody learns of being blocked.
fn check_may_send(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
    access: &Access,
) -> Result<(), ApiError> {
    permission::check_send(Some(&access.membership()))?;
    if let Some(parent) = access.parent {
        let above = self::access(connection, parent, user)?;
        return check_may_send(connection, parent, user, &above);
    }
    if access.kind != ConversationType::OneToOne
        || conversations::own_status(connection, conversation, user)? == Some(Status::Accepted)
    {
        return Ok(());
    }
    // Team mates have no rows.
    match conversations::other_user(connection, conversation, user)? {
        Some(other) if teams::same(connection, user, other)? => Ok(()),
        _ => Err(PermissionError::NotConnected { user: None }.into()),
    }
}

/// Whether the member may announce the conversation's name inside a message. A channel's is given to the hub.
fn check_announces(access: &Access) -> Result<(), ApiError> {
    permission::check_rename(Some(&access.membership()))?;
    if access.kind.has_public_name() {
        return Err(PermissionError::InvalidOperation { conversation_type: access.kind }.into());
    }
    Ok(())
}
