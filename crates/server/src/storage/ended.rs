//! Conversations that have ended, for good: nobody is in them any more. They stay until every device of who was in them has read them to
//! the end, or until they are not to be kept any longer, and go a step at a time: everybody else waits for the writer meanwhile. What has
//! ended and was not read may be much, so nothing that is asked for looks at more of it than at what it ends itself.

use super::sql::{self, Connection, OptionalExtension as _, params};
use super::{Position, RowExt as _, Sql, WriteTx, accounts, joins, quotas};
use crate::error::ApiError;
use tertulia_domain::{ConversationId, UserId};

/// Rows that are deleted in one transaction, but for the members of the last conversation of it, who go with it.
const DELETED_AT_ONCE: usize = 2000;

/// Conversations that are looked at in one step, read or not.
const LOOKED_AT_ONCE: usize = 256;

/// When a conversation has ended, and which.
pub(crate) type Ended = (i64, ConversationId);

/// Notes that nobody is left in a conversation. What its members do not need any more goes at once.
pub(crate) fn end(tx: &WriteTx<'_>, conversation: ConversationId, now: i64) -> Result<(), ApiError> {
    end_all(tx, vec![conversation], now)
}

/// The same of several. What is deleted at once is bounded for all of them together.
pub(crate) fn end_all(tx: &WriteTx<'_>, ended: Vec<ConversationId>, now: i64) -> Result<(), ApiError> {
    let mut read = Vec::new();
    for conversation in ended {
        note_end(tx, conversation, now)?;
        if !is_awaited(tx, conversation)? {
            read.push(conversation);
        }
    }
    delete_some(tx, read)?;
    Ok(())
}

fn note_end(tx: &WriteTx<'_>, conversation: ConversationId, now: i64) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE conversations SET ended_at = ?2, name = NULL WHERE id = ?1")?
        .execute(params![Sql(conversation), now])?;
    joins::end_all(tx, conversation)?;
    for table in ["groups", "leaves", "proposals", "conversation_roles", "removals_due"] {
        tx.prepare_cached(&format!(
            "DELETE FROM {table} WHERE conversation IN (SELECT id FROM conversations WHERE id = ?1 OR sub_of = ?1)"
        ))?
        .execute([Sql(conversation)])?;
    }
    Ok(())
}

/// Finds a device that has yet to read of the ended conversation whose id follows: one of somebody who was in it that has not acknowledged
/// what is in its stream of it.
const AWAITED_BY: &str =
    "SELECT 1 FROM members m JOIN devices d ON d.user_id = m.user_id AND d.acknowledged < m.left_position
     WHERE m.conversation = ";

/// Whether there is a device that has yet to read of an ended conversation.
fn is_awaited(connection: &Connection, conversation: ConversationId) -> sql::Result<bool> {
    connection.prepare_cached(&format!("{AWAITED_BY} ?1 LIMIT 1"))?.exists([Sql(conversation)])
}

/// The next of the ended conversations that every device has read to the end, in the order of their ends, from after this one on. With
/// them comes which was looked at last; nothing if there are no more.
pub(crate) fn next_read(
    connection: &Connection,
    after: Option<Ended>,
) -> sql::Result<(Vec<ConversationId>, Option<Ended>)> {
    let (ended_at, id) = after.unwrap_or((i64::MIN, ConversationId::from_bytes([0; 16])));
    // Whether it is awaited is no condition: however many are, so many are looked at and no more.
    let found: Vec<(Ended, bool)> = connection
        .prepare_cached(&format!(
            "SELECT c.ended_at, c.id, EXISTS ({AWAITED_BY} c.id)
             FROM conversations c WHERE c.ended_at IS NOT NULL AND c.ended_at >= ?1
             AND (c.ended_at > ?1 OR c.id > ?2) ORDER BY c.ended_at, c.id LIMIT ?3"
        ))?
        .query_map(params![ended_at, Sql(id), i64::try_from(LOOKED_AT_ONCE).unwrap_or(i64::MAX)], |row| {
            Ok(((row.get(0)?, row.domain(1)?), row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    let last = found.last().filter(|_| found.len() == LOOKED_AT_ONCE).map(|(ended, _)| *ended);
    let read = found.into_iter().filter(|(_, is_awaited)| !is_awaited).map(|((_, id), _)| id);
    Ok((read.collect(), last))
}

/// What was deleted of several conversations.
#[derive(Debug)]
pub(crate) struct Deleted {
    /// Conversations that are gone, with their subconversations.
    pub(crate) conversations: u64,
    /// Those that are yet to be deleted, of some of which there is less now.
    pub(crate) left: Vec<ConversationId>,
}

/// Deletes these ended conversations, as much of them as goes in one transaction.
pub(crate) fn delete_some(connection: &Connection, mut ended: Vec<ConversationId>) -> sql::Result<Deleted> {
    let (mut room, mut gone, mut conversations) = (DELETED_AT_ONCE, 0, 0);
    for &conversation in &ended {
        if room == 0 {
            break;
        }
        let step = delete(connection, conversation, room)?;
        room = room.saturating_sub(step.rows);
        conversations += step.conversations;
        if !step.is_gone {
            break;
        }
        gone += 1;
    }
    ended.drain(..gone);
    Ok(Deleted { conversations, left: ended })
}

/// Deletes one of the conversations that have ended by this time, whoever has read of it, or the next of its log: the first from
/// this one on in the order of their ends. Says which it was, if there was one, and whether it is gone. Those whose logs are too young
/// are passed over, and not looked at again where it goes on from there.
pub(crate) fn delete_next(
    tx: &WriteTx<'_>,
    from: Option<Ended>,
    (by, horizon): (i64, Position),
) -> Result<Option<(Ended, bool)>, ApiError> {
    let (ended_at, id) = from.unwrap_or((i64::MIN, ConversationId::from_bytes([0; 16])));
    let next = tx
        .prepare_cached(
            "SELECT ended_at, id FROM conversations c WHERE ended_at IS NOT NULL AND ended_at <= ?1
             AND ended_at >= ?3 AND (ended_at > ?3 OR id >= ?4)
             AND NOT EXISTS (SELECT 1 FROM log l WHERE l.conversation = c.id AND l.position > ?2)
             ORDER BY ended_at, id LIMIT 1",
        )?
        .query_row(params![by, horizon, ended_at, Sql(id)], |row| Ok((row.get(0)?, row.domain(1)?)))
        .optional()?;
    let Some((ended_at, conversation)) = next else { return Ok(None) };
    Ok(Some(((ended_at, conversation), delete(tx, conversation, DELETED_AT_ONCE)?.is_gone)))
}

/// What was deleted of one conversation.
struct Step {
    rows: usize,
    conversations: u64,
    /// Whether nothing is left of it.
    is_gone: bool,
}

/// Deletes so many entries of a conversation's log and, with the last of it, the conversation: so no crash leaves anything behind.
fn delete(connection: &Connection, conversation: ConversationId, most: usize) -> sql::Result<Step> {
    const OF_BOTH: &str = "conversation IN (SELECT id FROM conversations WHERE id = ?1 OR sub_of = ?1)";
    let next = format!("SELECT position FROM log WHERE {OF_BOTH} ORDER BY position LIMIT 1 OFFSET ?2");
    let offset = i64::try_from(most.saturating_sub(1)).unwrap_or(i64::MAX);
    let last: Option<Position> = connection
        .prepare_cached(&next)?
        .query_row(params![Sql(conversation), offset], |row| row.get(0))
        .optional()?;
    let up_to = last.unwrap_or(Position::MAX);
    quotas::note_deleted(connection, conversation, up_to)?;
    let mut rows = connection
        .prepare_cached(&format!("DELETE FROM log WHERE {OF_BOTH} AND position <= ?2"))?
        .execute(params![Sql(conversation), up_to])?;
    if last.is_some() {
        return Ok(Step { rows, conversations: 0, is_gone: false });
    }
    let members: Vec<UserId> = connection
        .prepare_cached("SELECT DISTINCT user_id FROM members WHERE conversation = ?1")?
        .query_map([Sql(conversation)], |row| row.domain(0))?
        .collect::<Result<_, _>>()?;
    // Its subconversations go with it, and before it.
    for table in ["sub_devices", "members"] {
        rows += connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE {OF_BOTH}"))?
            .execute([Sql(conversation)])?;
    }
    let mut conversations = 0;
    for sql in ["DELETE FROM conversations WHERE sub_of = ?1", "DELETE FROM conversations WHERE id = ?1"] {
        conversations += connection.prepare_cached(sql)?.execute([Sql(conversation)])?;
    }
    for member in members {
        accounts::forget_guest(connection, member)?;
    }
    Ok(Step { rows: rows + conversations, conversations: conversations as u64, is_gone: true })
}

#[cfg(test)]
mod tests;
