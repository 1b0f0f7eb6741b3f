//! What a relay keeps: envelopes by content topics. It stands beside what a hub keeps, and neither refers to the other.

use super::{
    Connection, RowExt as _, Together, WriteTx, retention,
    sql::{self, OptionalExtension as _, params},
};
use crate::{
    error::ApiError,
    relay::rules::{Cutting, Extent, Full, LogId, Room, Start},
};
use bytes::Bytes;
use rusqlite::ToSql;
use std::collections::{BTreeMap, HashMap};
use tertulia_api::Code;
use tertulia_conversation::topic::ContentTopic;

/// Envelopes that are looked at, and cut, in one transaction.
const STEP: i64 = 500;

/// The identity of what is kept, made now if there is none.
pub(crate) fn begin(tx: &WriteTx<'_>) -> Result<LogId, ApiError> {
    let fresh: [u8; 16] = rand::random();
    tx.prepare_cached("INSERT INTO relay_log (id, log) VALUES (1, ?1) ON CONFLICT (id) DO NOTHING")?
        .execute([fresh.as_slice()])?;
    Ok(LogId(tx.prepare_cached("SELECT log FROM relay_log")?.query_row((), |row| row.get(0))?))
}

/// An envelope that somebody has posted, and whose stamp is in order.
pub(crate) struct Posted {
    pub(crate) topic: ContentTopic,
    /// SHA-256 of the envelope.
    pub(crate) hash: [u8; 32],
    pub(crate) envelope: Bytes,
    pub(crate) room: Room,
    /// In milliseconds since 1970.
    pub(crate) now: i64,
    /// Whether a hub keeps it, which notes what the clock has said.
    pub(crate) in_hub: bool,
}

/// Where an envelope stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) position: i64,
    /// Whether it was there before.
    pub(crate) known: bool,
}

impl Together for Posted {
    type Answer = Taken;

    fn run(tx: &WriteTx<'_>, all: &[&Self]) -> Result<Vec<Result<Taken, ApiError>>, ApiError> {
        let keys: Vec<_> = all.iter().map(|post| (i64::from(post.topic.number()), post.hash)).collect();
        let there = tx
            .prepare_cached("SELECT position FROM relay_envelopes WHERE topic = ?1 AND hash = ?2")?
            .query_each(keys.iter().map(|(topic, hash)| [topic as &dyn ToSql, hash]), |row| row.get(0))?;
        let mut topics: BTreeMap<ContentTopic, Extent> = extents(tx)?;
        let mut bytes = topics.values().fold(0_i64, |sum, extent| sum.saturating_add(extent.bytes));
        let mut fresh: HashMap<(ContentTopic, [u8; 32]), i64> = HashMap::new();
        let (mut answers, mut rows) = (Vec::with_capacity(all.len()), Vec::new());
        let latest = if all.iter().any(|post| post.in_hub) {
            retention::not_before_latest(tx, i64::MIN)?
        } else {
            i64::MIN
        };
        for (post, there) in all.iter().zip(there) {
            let known = there.or_else(|| fresh.get(&(post.topic, post.hash)).copied());
            if let Some(position) = known {
                answers.push(Ok(Taken { position, known: true }));
                continue;
            }
            let size = i64::try_from(post.envelope.len()).unwrap_or(i64::MAX);
            let extent = topics.entry(post.topic).or_default();
            if let Err(full) = post.room.take(extent.bytes, bytes, size) {
                answers.push(Err(refusal(full, post.room)));
                continue;
            }
            bytes += size;
            extent.bytes += size;
            extent.position += 1;
            fresh.insert((post.topic, post.hash), extent.position);
            let taken_at = post.now.max(latest);
            rows.push((i64::from(post.topic.number()), extent.position, size, taken_at, *post));
            answers.push(Ok(Taken { position: extent.position, known: false }));
        }
        if rows.is_empty() {
            return Ok(answers);
        }
        let envelopes: Vec<&[u8]> = rows.iter().map(|(.., post)| post.envelope.as_ref()).collect();
        let rows_with = rows.iter().zip(&envelopes);
        tx.prepare_cached(
            "INSERT INTO relay_envelopes (topic, position, hash, size, taken_at, envelope)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute_each(rows_with.map(|((topic, position, size, taken_at, post), envelope)| {
            [topic as &dyn ToSql, position, &post.hash, size, taken_at, envelope]
        }))?;
        let moved_at = tx.next_position();
        let moved: BTreeMap<ContentTopic, Extent> =
            fresh.keys().filter_map(|(topic, _)| Some((*topic, topics.get(topic).copied()?))).collect();
        let moved: Vec<_> = moved
            .into_iter()
            .map(|(topic, extent)| {
                tx.wake_readers(topic);
                (i64::from(topic.number()), extent)
            })
            .collect();
        tx.prepare_cached(
            "INSERT INTO relay_topics (topic, position, cut, bytes, moved_at) VALUES (?1, ?2, 0, ?3, ?4)
             ON CONFLICT (topic) DO UPDATE
             SET position = excluded.position, bytes = excluded.bytes, moved_at = excluded.moved_at",
        )?
        .execute_each(
            moved
                .iter()
                .map(|(topic, extent)| [topic as &dyn ToSql, &extent.position, &extent.bytes, &moved_at]),
        )?;
        Ok(answers)
    }
}

fn refusal(full: Full, room: Room) -> ApiError {
    let detail = match full {
        Full::Topic => format!("This topic would have more than {} bytes here.", room.topic),
        Full::Relay => format!("This relay would have more than {} bytes.", room.all),
    };
    ApiError::new(Code::RelayFull, detail)
}

/// What there is of each topic in which there was ever anything.
pub(crate) fn extents(connection: &Connection) -> sql::Result<BTreeMap<ContentTopic, Extent>> {
    let mut statement = connection.prepare_cached("SELECT topic, position, cut, bytes FROM relay_topics")?;
    let found = statement.query_map((), |row| {
        let extent = Extent { position: row.get(1)?, cut: row.get(2)?, bytes: row.get(3)? };
        Ok((row.domain(0)?, extent))
    })?;
    found.collect()
}

/// How much is put on a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLimits {
    pub(crate) envelopes: usize,
    pub(crate) bytes: i64,
}

/// What comes next in a topic.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) topic: ContentTopic,
    /// With their positions.
    pub(crate) envelopes: Vec<(i64, Vec<u8>)>,
    /// The position to go on after.
    pub(crate) end: i64,
    /// Whether there is something that the reader cannot get any more.
    pub(crate) missed: bool,
    /// Whether there is more.
    pub(crate) more: bool,
}

/// What comes next in these topics, all together within the limits; the first envelope is given however long it is.
pub(crate) fn pages(
    connection: &Connection,
    log: LogId,
    topics: &[(ContentTopic, Start)],
    limits: PageLimits,
) -> Result<Vec<Page>, ApiError> {
    // One topic is what a socket nearly always asks for.
    let extents = match topics {
        [(topic, _)] => extent(connection, *topic)?.into_iter().collect(),
        _ => extents(connection)?,
    };
    let (mut left, mut is_first) = (limits, true);
    let page = |(topic, from): &(ContentTopic, Start)| {
        let extent = extents.get(topic).copied().unwrap_or_default();
        let (after, missed) = from.begin(log, extent);
        let mut page = Page { topic: *topic, envelopes: Vec::new(), end: after, missed, more: false };
        if after < extent.position {
            page.end = end_of_page(connection, *topic, after, &mut left, &mut is_first)?;
            if page.end > after {
                page.envelopes = envelopes(connection, *topic, after, page.end)?;
            }
            page.more = page.end < extent.position;
        }
        Ok(page)
    };
    topics.iter().map(page).collect()
}

fn extent(connection: &Connection, topic: ContentTopic) -> sql::Result<Option<(ContentTopic, Extent)>> {
    let found = connection
        .prepare_cached("SELECT position, cut, bytes FROM relay_topics WHERE topic = ?1")?
        .query_row([i64::from(topic.number())], |row| {
            Ok(Extent { position: row.get(0)?, cut: row.get(1)?, bytes: row.get(2)? })
        });
    Ok(found.optional()?.map(|extent| (topic, extent)))
}

/// The position of the last envelope that is within the limits, and what of them is left.
fn end_of_page(
    connection: &Connection,
    topic: ContentTopic,
    after: i64,
    left: &mut PageLimits,
    is_first: &mut bool,
) -> sql::Result<i64> {
    if left.envelopes == 0 || (left.bytes == 0 && !*is_first) {
        return Ok(after);
    }
    let mut statement = connection.prepare_cached(
        "SELECT position, size FROM relay_envelopes WHERE topic = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
    )?;
    let most = i64::try_from(left.envelopes).unwrap_or(i64::MAX);
    let found = statement.query_map(params![topic.number(), after, most], |row| {
        Ok((row.get::<i64>(0)?, row.get::<i64>(1)?))
    })?;
    let mut end = after;
    for found in found {
        let (position, size) = found?;
        if left.envelopes == 0 || (size > left.bytes && !*is_first) {
            break;
        }
        *is_first = false;
        left.envelopes -= 1;
        left.bytes = left.bytes.saturating_sub(size).max(0);
        end = position;
    }
    Ok(end)
}

fn envelopes(
    connection: &Connection,
    topic: ContentTopic,
    after: i64,
    upto: i64,
) -> sql::Result<Vec<(i64, Vec<u8>)>> {
    let mut statement = connection.prepare_cached(
        "SELECT position, envelope FROM relay_envelopes
         WHERE topic = ?1 AND position > ?2 AND position <= ?3 ORDER BY position",
    )?;
    statement.query_map(params![topic.number(), after, upto], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The topics in which something was taken after a position of the hub.
pub(super) fn moved(connection: &Connection, after: i64) -> sql::Result<Vec<ContentTopic>> {
    let mut statement = connection.prepare_cached("SELECT topic FROM relay_topics WHERE moved_at > ?1")?;
    statement.query_map([after], |row| row.domain(0))?.collect()
}

/// Has all envelopes been taken later by so long, in milliseconds, though not after now.
pub(super) fn put_off(tx: &WriteTx<'_>, by: i64, now: i64) -> Result<(), ApiError> {
    tx.prepare_cached(
        "UPDATE relay_envelopes SET taken_at = CASE WHEN taken_at + ?1 < ?2 THEN taken_at + ?1 ELSE ?2 END
         WHERE taken_at < ?2",
    )?
    .execute([by, now])?;
    Ok(())
}

/// Has no envelope been taken after now: a clock that was ahead would keep it for longer otherwise.
pub(super) fn bring_forward(tx: &WriteTx<'_>, now: i64) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE relay_envelopes SET taken_at = ?1 WHERE taken_at > ?1")?.execute([now])?;
    Ok(())
}

/// Cuts the oldest envelopes of a topic that are due. How many, and their bytes; 0 when there are no more.
pub(crate) fn cut(tx: &WriteTx<'_>, topic: ContentTopic, cutting: Cutting) -> Result<(usize, i64), ApiError> {
    let number = i64::from(topic.number());
    let mut statement = tx.prepare_cached(
        "SELECT position, size, taken_at FROM relay_envelopes WHERE topic = ?1 ORDER BY position LIMIT ?2",
    )?;
    let found =
        statement.query_map([number, STEP], |row| Ok((row.get::<i64>(0)?, (row.get(1)?, row.get(2)?))))?;
    let oldest: Vec<(i64, (i64, i64))> = found.collect::<sql::Result<_>>()?;
    let (count, bytes) = cutting.due(oldest.iter().map(|(_, envelope)| *envelope));
    let Some(&(last, _)) = count.checked_sub(1).and_then(|last| oldest.get(last)) else { return Ok((0, 0)) };
    tx.prepare_cached("DELETE FROM relay_envelopes WHERE topic = ?1 AND position <= ?2")?
        .execute([number, last])?;
    tx.prepare_cached("UPDATE relay_topics SET cut = ?2, bytes = bytes - ?3 WHERE topic = ?1")?
        .execute([number, last, bytes])?;
    Ok((count, bytes))
}
