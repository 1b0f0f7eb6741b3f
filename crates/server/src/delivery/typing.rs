//! Who is told that somebody is typing.

use super::{access, check_may_send};
use crate::storage::Connection;
use crate::{error::ApiError, storage::conversations};
use tertulia_domain::{ConversationId, UserId, permission};

/// The members other than the one who types. Who has blocked them in a 1:1 is in it no more; the answer is the same.
pub(crate) fn others(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
) -> Result<Vec<UserId>, ApiError> {
    let access = access(connection, conversation, user)?;
    permission::check_typing(Some(&access.membership()))?;
    check_may_send(connection, conversation, user, &access)?;
    let members = conversations::member_ids(connection, conversation)?;
    Ok(members.into_iter().filter(|&member| member != user).collect())
}
