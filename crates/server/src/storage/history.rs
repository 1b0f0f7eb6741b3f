//! What a member may read of a conversation's log from before they came.

use super::sql::{Connection, OptionalExtension as _, params};
use super::{Position, RowExt as _, Sql, WriteTx, stream};
use crate::error::ApiError;
use tertulia_api::{UserDevice, event::EventBody};
use tertulia_domain::{ConversationId, History};

/// What there is to be read, and for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared {
    /// The entry that began to share history: nothing up to it is given.
    since: Position,
    /// From here on the member sees the log anyway.
    joined: Position,
    /// From when on messages from before are given, milliseconds since 1970.
    reach: i64,
}

/// Some of what is shared.
pub(crate) struct Part {
    pub(crate) entries: Vec<EventBody>,
    /// Where it ends.
    pub(crate) end: Position,
    /// Whether there is more after it.
    pub(crate) more: bool,
}

/// What a present member may read from before they came; none where nothing is shared.
pub(crate) fn shared_with(
    connection: &Connection,
    conversation: ConversationId,
    reader: UserDevice,
    now: i64,
) -> Result<Option<Shared>, ApiError> {
    let found = connection
        .prepare_cached(
            "SELECT c.history, c.history_since, m.joined_position FROM conversations c
             JOIN members m ON m.conversation = c.id AND m.user_id = ?2 AND m.left_position IS NULL
             WHERE c.id = ?1",
        )?
        .query_row(params![Sql(conversation), Sql(reader.user)], |row| {
            Ok((row.domain::<History>(0)?, row.get::<Option<Position>>(1)?, row.get::<Position>(2)?))
        })
        .optional()?;
    let Some((history, Some(since), joined)) = found else { return Ok(None) };
    // Who did not come by an entry of the log came before the next one.
    let came = entry_after(connection, conversation, joined - 1)?.map_or(now, |(_, sent_at)| sent_at);
    Ok(history.reach(came).map(|reach| Shared { since, joined, reach }))
}

/// Notes the entry that changed what is shared: sharing begins with it, unless it had begun, or ends.
pub(crate) fn changed(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    history: History,
    position: Position,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "UPDATE conversations SET history_since = CASE WHEN ?2 THEN coalesce(history_since, ?3) END WHERE id = ?1",
    )?
    .execute(params![Sql(conversation), history.is_shared(), position])?;
    Ok(())
}

/// Notes that the conversation has another group from this entry on, which has nothing to do with what was before.
pub(crate) fn begun_anew(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    position: Position,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "UPDATE conversations SET history_since = ?2 WHERE id = ?1 AND history_since IS NOT NULL",
    )?
    .execute(params![Sql(conversation), position])?;
    Ok(())
}

/// A page of what is shared: the commits and proposals from an epoch on, and the messages that the reader may have.
pub(crate) fn page(
    connection: &Connection,
    conversation: ConversationId,
    reader: UserDevice,
    shared: Shared,
    (from_epoch, after): (u64, Position),
    limits: stream::PageLimits,
) -> Result<Part, ApiError> {
    let after = after.max(shared.since);
    let from_epoch = i64::try_from(from_epoch).unwrap_or(i64::MAX);
    let most = i64::try_from(limits.events).unwrap_or(i64::MAX - 1) + 1;
    let handshakes = "SELECT position FROM log WHERE conversation = ?1 AND position > ?2 AND epoch >= ?3
                      AND kind IN ('commit', 'proposal') ORDER BY position LIMIT ?4";
    let mut positions = Vec::new();
    let mut statement = connection.prepare_cached(handshakes)?;
    for position in statement
        .query_map(params![Sql(conversation), after, from_epoch, most], |row| row.get::<Position>(0))?
    {
        positions.push(position?);
    }
    let messages = "SELECT position FROM log WHERE conversation = ?1 AND position > ?2 AND epoch >= ?3
                    AND kind IN ('message', 'name') AND (position >= ?5 OR sent_at >= ?6)
                    ORDER BY position LIMIT ?4";
    let from = messages_after(connection, conversation, shared)?.max(after);
    let mut statement = connection.prepare_cached(messages)?;
    for position in statement
        .query_map(params![Sql(conversation), from, from_epoch, most, shared.joined, shared.reach], |row| {
            row.get::<Position>(0)
        })?
    {
        positions.push(position?);
    }
    positions.sort_unstable();

    let (mut entries, mut bytes, mut end) = (Vec::new(), 0, after);
    for &position in positions.iter().take(limits.events) {
        let (entry, size) = entry_at(connection, conversation, reader, shared, position)?;
        if bytes + size > limits.bytes && !entries.is_empty() {
            break;
        }
        bytes += size;
        end = position;
        entries.push(entry);
    }
    let more = entries.len() < positions.len();
    Ok(Part { entries, end, more })
}

/// After which entry the messages begin that the reader may have. Times rise with positions, as far as the hub's clock is
/// true; that each message is within reach is looked at besides.
fn messages_after(
    connection: &Connection,
    conversation: ConversationId,
    shared: Shared,
) -> Result<Position, ApiError> {
    // What stands up to `low` is out of reach, and what stands from `high` on is not.
    let (mut low, mut high) = (shared.since, shared.joined.max(shared.since));
    while low < high {
        let middle = low + (high - low) / 2;
        match entry_after(connection, conversation, middle)? {
            Some((position, sent_at)) if position < high && sent_at < shared.reach => low = position,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first entry behind a position, and when it was accepted.
fn entry_after(
    connection: &Connection,
    conversation: ConversationId,
    position: Position,
) -> Result<Option<(Position, i64)>, ApiError> {
    let found = connection
        .prepare_cached(
            "SELECT position, sent_at FROM log WHERE conversation = ?1 AND position > ?2
             ORDER BY position LIMIT 1",
        )?
        .query_row(params![Sql(conversation), position], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found)
}

/// An entry as the reader may have it, and its size in bytes of JSON, about. Nobody joins by a Welcome of the past.
fn entry_at(
    connection: &Connection,
    conversation: ConversationId,
    reader: UserDevice,
    shared: Shared,
    position: Position,
) -> Result<(EventBody, usize), ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, sent_at, sender_user, sender_device, kind, extra, body, epoch,
                CASE WHEN position >= ?2 OR sent_at >= ?3 THEN message END, NULL, NULL
         FROM log WHERE position = ?1",
    )?;
    statement.query_row(params![position, shared.joined, shared.reach], |row| {
        Ok(stream::log_event(row, conversation, reader))
    })?
}
