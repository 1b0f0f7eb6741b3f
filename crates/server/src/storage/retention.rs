//! Cutting out what was kept for long enough, a few entries at a time.
//!
//! How old something is follows from its position and from *moments*, notes of which position the hub had come to at what time:
//! not everything in the logs has a time of its own. What is needed to go on is not in the logs: the groups, the members, the
//! proposals that are pending. Of the logs themselves stay
//!
//! - commits and proposals of conversations that share history, since sharing began: without them nothing later can be read;
//! - their messages, as far back as they share them.

use super::sql::{Connection, OptionalExtension as _, params};
use super::{Position, RowExt as _, Sql, WriteTx, log::Kind, quotas};
use crate::error::ApiError;
use std::collections::BTreeMap;
use tertulia_domain::{ConversationId, History, UserId};

/// Entries that are cut in one transaction at most: few, so that nobody waits long for the writer.
const STEP: i64 = 200;

/// Conversations that are looked at in one reading.
const LOOKED_AT: i64 = 256;

/// Notes that everything that there is was stored before `now`.
pub(crate) fn note_moment(tx: &WriteTx<'_>, now: i64) -> Result<(), ApiError> {
    tx.prepare_cached(
        "INSERT INTO moments (position, at) SELECT position, ?1 FROM hub WHERE TRUE ON CONFLICT (position) DO NOTHING",
    )?
    .execute([now])?;
    Ok(())
}

/// The last position that is known to be from before `at`, if any is. Earlier moments tell no more, and are forgotten.
pub(crate) fn horizon(tx: &WriteTx<'_>, at: i64) -> Result<Option<Position>, ApiError> {
    let horizon: Option<Position> = tx
        .prepare_cached("SELECT max(position) FROM moments WHERE at <= ?1")?
        .query_row([at], |row| row.get(0))?;
    if let Some(horizon) = horizon {
        tx.prepare_cached("DELETE FROM moments WHERE position < ?1")?.execute([horizon])?;
    }
    Ok(horizon)
}

/// Of the conversations after this one in the order of their ids, the next in whose logs there may be something to be cut; with
/// the last that was looked at, none at the end.
pub(crate) fn next_logs(
    connection: &Connection,
    after: Option<ConversationId>,
    horizon: Position,
) -> Result<(Vec<ConversationId>, Option<ConversationId>), ApiError> {
    let after = after.unwrap_or_else(|| ConversationId::from_bytes([0; 16]));
    let mut statement = connection.prepare_cached(
        "SELECT c.id, EXISTS (
             SELECT 1 FROM log l WHERE l.conversation = c.id
             AND l.position <= CASE WHEN c.history = 'unlimited' AND c.history_since < ?2 THEN c.history_since - 1 ELSE ?2 END
             AND (c.history_since IS NULL OR l.position < c.history_since OR l.kind IN ('message', 'name')))
         FROM conversations c WHERE c.id > ?1 ORDER BY c.id LIMIT ?3",
    )?;
    let (mut found, mut last, mut count) = (Vec::new(), None, 0);
    let rows = statement.query_map(params![Sql(after), horizon, LOOKED_AT], |row| {
        Ok((row.domain::<ConversationId>(0)?, row.get::<bool>(1)?))
    })?;
    for row in rows {
        let (conversation, is_due) = row?;
        count += 1;
        last = Some(conversation);
        if is_due {
            found.push(conversation);
        }
    }
    Ok((found, last.filter(|_| count == LOOKED_AT)))
}

/// An entry that is cut.
struct Cut {
    position: Position,
    sequence: i64,
    /// Of what begins an epoch, which.
    epoch: Option<i64>,
    sent_at: i64,
    sender: Option<UserId>,
    bytes: i64,
}

/// Cuts the next entries out of a conversation's log that are not after the horizon. How many; 0 when there are no more.
pub(crate) fn cut_log(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    horizon: Position,
    now: i64,
) -> Result<usize, ApiError> {
    let shared = tx
        .prepare_cached("SELECT history, history_since FROM conversations WHERE id = ?1")?
        .query_row([Sql(conversation)], |row| {
            Ok((row.domain::<History>(0)?, row.get::<Option<Position>>(1)?))
        })
        .optional()?;
    let Some((history, since)) = shared else { return Ok(0) }; // it is gone meanwhile
    let mut cut = due(tx, conversation, horizon.min(since.map_or(horizon, |since| since - 1)))?;
    if let (true, Some(since), Some(reach)) = (cut.is_empty(), since, history.reach(now)) {
        cut = due_messages(tx, conversation, (since, horizon), reach)?;
    }
    let Some(last) = cut.last() else { return Ok(0) };
    let mut delete = tx.prepare_cached("DELETE FROM log WHERE position = ?1")?;
    for entry in &cut {
        delete.execute([entry.position])?;
    }
    quotas::note_stored(tx, cut.iter().filter_map(|entry| Some((entry.sender?, -entry.bytes))))?;
    let epoch = cut.iter().rev().find_map(|entry| entry.epoch);
    tx.prepare_cached(
        "UPDATE conversations SET cut_position = ?2, cut_sequence = ?3, cut_at = ?4, cut_epoch = coalesce(?5, cut_epoch)
         WHERE id = ?1 AND cut_position < ?2",
    )?
    .execute(params![Sql(conversation), last.position, last.sequence, last.sent_at, epoch])?;
    Ok(cut.len())
}

/// The first entries up to a position.
fn due(connection: &Connection, conversation: ConversationId, to: Position) -> Result<Vec<Cut>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT position, sequence, kind, epoch, sent_at, sender_user, counted FROM log
         WHERE conversation = ?1 AND position <= ?2 ORDER BY position LIMIT ?3",
    )?;
    let found = statement.query_map(params![Sql(conversation), to, STEP], |row| {
        let kind = Kind::parse(row.get_ref(2)?.as_str()?);
        let epoch = match kind {
            Some(Kind::Commit) => row.get(3)?,
            Some(Kind::Reset) => Some(0), // the next group begins
            _ => None,
        };
        Ok(Cut {
            position: row.get(0)?,
            sequence: row.get(1)?,
            epoch,
            sent_at: row.get(4)?,
            sender: row.optional(5)?,
            bytes: row.get(6)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The first messages after a position and up to another that nobody who comes from now on may read.
fn due_messages(
    connection: &Connection,
    conversation: ConversationId,
    (after, to): (Position, Position),
    reach: i64,
) -> Result<Vec<Cut>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT position, sequence, sent_at, sender_user, counted FROM log
         WHERE conversation = ?1 AND position > ?2 AND position <= ?3
         AND kind IN ('message', 'name') AND sent_at < ?4 ORDER BY position LIMIT ?5",
    )?;
    let found = statement.query_map(params![Sql(conversation), after, to, reach, STEP], |row| {
        Ok(Cut {
            position: row.get(0)?,
            sequence: row.get(1)?,
            epoch: None,
            sent_at: row.get(2)?,
            sender: row.optional(3)?,
            bytes: row.get(4)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Cuts the next of all users' own events that are not after the horizon. How many; 0 when there are no more.
pub(crate) fn cut_user_events(tx: &WriteTx<'_>, horizon: Position) -> Result<usize, ApiError> {
    let mut statement = tx.prepare_cached(
        "SELECT position, user_id FROM user_events WHERE position <= ?1 ORDER BY position LIMIT ?2",
    )?;
    let found = statement.query_map([horizon, STEP], |row| Ok((row.get::<Position>(0)?, row.domain(1)?)))?;
    let events: Vec<(Position, UserId)> = found.collect::<Result<_, _>>()?;
    let mut delete = tx.prepare_cached("DELETE FROM user_events WHERE position = ?1")?;
    let mut last = BTreeMap::new();
    for &(position, user) in &events {
        delete.execute([position])?;
        last.insert(user, position); // they rise
    }
    let mut note =
        tx.prepare_cached("UPDATE users SET cut_position = ?2 WHERE id = ?1 AND cut_position < ?2")?;
    for (user, position) in last {
        note.execute(params![Sql(user), position])?;
    }
    Ok(events.len())
}
