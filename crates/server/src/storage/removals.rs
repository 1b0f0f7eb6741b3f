//! The groups in which the hub has yet to propose removals.

use super::sql::{Connection, params};
use super::{RowExt as _, Sql, WriteTx};
use crate::error::ApiError;
use tertulia_domain::{ConversationId, ConversationType};

/// Notes that removals are to be proposed in a conversation's group.
pub(crate) fn insert(tx: &WriteTx<'_>, conversation: ConversationId) -> Result<(), ApiError> {
    tx.prepare_cached("INSERT INTO removals_due (conversation) VALUES (?1) ON CONFLICT DO NOTHING")?
        .execute([Sql(conversation)])?;
    Ok(())
}

/// At most so many of those in which they are, in the order of their ids from after this one on.
pub(crate) fn due(
    connection: &Connection,
    after: Option<ConversationId>,
    most: usize,
) -> Result<Vec<ConversationId>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT conversation FROM removals_due WHERE conversation > ?1 ORDER BY conversation LIMIT ?2",
    )?;
    let after = after.map(|after| after.as_bytes().to_vec()).unwrap_or_default();
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let due = statement.query_map(params![after, most], |row| row.domain(0))?;
    Ok(due.collect::<Result<_, _>>()?)
}

/// Strikes a conversation out, and gives its type and epoch; none if it was struck out before.
pub(crate) fn take(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
) -> Result<Option<(ConversationType, u64)>, ApiError> {
    let struck = tx
        .prepare_cached("DELETE FROM removals_due WHERE conversation = ?1")?
        .execute([Sql(conversation)])?;
    if struck == 0 {
        return Ok(None);
    }
    let found = tx
        .prepare_cached("SELECT type, epoch FROM conversations WHERE id = ?1")?
        .query_row([Sql(conversation)], |row| Ok((row.domain(0)?, row.get::<i64>(1)?.cast_unsigned())))?;
    Ok(Some(found))
}
