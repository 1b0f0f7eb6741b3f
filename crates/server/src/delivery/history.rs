//! Reading a conversation's log from before one came.

use super::access;
use crate::storage::Connection;
use crate::{
    error::ApiError,
    storage::{
        Position,
        history::{self, Part},
        stream,
    },
};
use tertulia_api::UserDevice;
use tertulia_domain::{ConversationId, permission};

/// A page of what a member may read. Nothing where nothing is shared.
pub(crate) fn read(
    connection: &Connection,
    conversation: ConversationId,
    reader: UserDevice,
    (from_epoch, after): (u64, Position),
    limits: stream::PageLimits,
    now: i64,
) -> Result<Part, ApiError> {
    let access = access(connection, conversation, reader.user)?;
    permission::check_read_history(Some(&access.membership()))?;
    match history::shared_with(connection, conversation, reader, now)? {
        Some(shared) => history::page(connection, conversation, reader, shared, (from_epoch, after), limits),
        None => Ok(Part { entries: Vec::new(), end: after, more: false }),
    }
}
