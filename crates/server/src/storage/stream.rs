//! The event stream of a device, put together when it is read: its user's own events and the logs of the user's
//! conversations, merged by position.
//!
//! The merge steps through the sources turn by turn, so a page costs what it holds, however far behind the device is and
//! however much its conversations hold.

use std::{cell::Cell, cmp::Reverse, collections::BinaryHeap};

use super::sql::{self, Connection, OptionalExtension as _, Row, params};
use super::{
    Position, RowExt as _, Sql, StorageError, WriteTx, backup,
    log::{Extra, Kind},
};
use crate::{
    cursors::{Cursors, Place, Reading},
    error::ApiError,
};
use rusqlite::ToSql;
use tertulia_api::{
    Base64, Code, UserDevice,
    event::{Event, EventBody, EventPage, LogEntry, MissedEntries},
};
use tertulia_domain::ConversationId;

/// Where a device is in its stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// Where its stream begins.
    pub(crate) registered: Position,
    /// Up to where it has everything.
    pub(crate) acknowledged: Position,
    /// Up to where there is anything at all, for anybody.
    pub(crate) last: Position,
}

/// How much a page may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLimits {
    /// Events.
    pub(crate) events: usize,
    /// Bytes of JSON, about. A single larger event makes a page of its own.
    pub(crate) bytes: usize,
}

/// An event without its messages takes less than so many bytes of JSON.
const EVENT_OVERHEAD: usize = 512;

/// Most events that are read with one statement. They are looked at before they are put on the page, so this many may be read
/// for nothing.
const MOST_AT_ONCE: usize = 64;

/// An event with its size in bytes of JSON, about.
type Measured = (EventBody, usize);

/// An entry, or why it cannot be read.
type Read = (Position, Result<Measured, ApiError>);

/// Who reads, and with what their cursors are made.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) device: UserDevice,
    pub(crate) cursors: &'a Cursors,
}

impl Reader<'_> {
    /// The cursor after a place among the reader's events.
    pub(crate) fn cursor(&self, place: impl Into<Place>) -> String {
        self.cursors.cursor(Reading::Events(self.device), place)
    }
}

/// Where the device is in its stream.
pub(crate) fn progress(
    connection: &Connection,
    UserDevice { user, device }: UserDevice,
) -> Result<Progress, ApiError> {
    let progress = connection
        .prepare_cached(
            "SELECT d.registered, d.acknowledged, h.position FROM devices d, hub h
             WHERE d.user_id = ?1 AND d.device = ?2",
        )?
        .query_row(params![Sql(user), Sql(device)], |row| {
            Ok(Progress { registered: row.get(0)?, acknowledged: row.get(1)?, last: row.get(2)? })
        })
        .optional()?;
    progress.ok_or(Code::DeviceRemoved.into()) // since the request was authenticated
}

/// Notes that these devices have everything up to these positions. They never go back.
pub(crate) fn acknowledge(
    tx: &WriteTx<'_>,
    all: impl IntoIterator<Item = (UserDevice, Position)>,
) -> Result<(), ApiError> {
    let key = |(UserDevice { user, device }, position)| (Sql(user), Sql(device), position);
    let keys: Vec<_> = all.into_iter().map(key).collect();
    tx.prepare_cached(
        "UPDATE devices SET acknowledged = ?3 WHERE user_id = ?1 AND device = ?2 AND acknowledged < ?3",
    )?
    .execute_each(keys.iter().map(|(user, device, position)| [user as &dyn ToSql, device, position]))?;
    Ok(())
}

/// The events of a device after a place, oldest first. Where a hub was restored, pages end; who has read up to there is
/// refused with `events-missed` once, since it may have read more than there is. So is who does not know that something
/// was cut out since: the answer has a cursor that says that it does, with which it gets everything that is still there.
/// With the page comes where it ends.
pub(crate) fn page(
    connection: &Connection,
    stream: Reader<'_>,
    place: Place,
    limits: PageLimits,
) -> Result<(EventPage, Place), ApiError> {
    let reader = stream.device;
    let since = place.position;
    let restore = backup::restore_ahead(connection, since)?;
    let aware = since.max(place.aware);
    let (mut sources, mut missed) = (vec![Source::User(reader)], Vec::new());
    let mut cut = own_events_cut(connection, reader)?;
    for log in logs(connection, reader, since)? {
        if log.cut > aware {
            missed.push(log.missed);
        }
        cut = cut.max(log.cut);
        sources.push(log.source);
    }
    if cut > aware {
        let resume = Place { position: since, aware: cut };
        return Err(ApiError::events_cut(stream.cursor(resume), missed));
    }
    let mut heads = BinaryHeap::with_capacity(sources.len());
    for (index, source) in sources.iter().enumerate() {
        if let Some(position) = source.next(connection, since)? {
            heads.push(Reverse((position, index)));
        }
    }

    let (mut events, mut bytes, mut end) = (Vec::new(), 0, since);
    let mut at_once = 1;
    'page: while events.len() < limits.events {
        let Some(Reverse((position, index))) = heads.pop() else { break };
        if restore.is_some_and(|restore| position > restore.after) {
            heads.push(Reverse((position, index)));
            break;
        }
        // As far as it is this source's turn.
        let until = heads.peek().map_or(Position::MAX, |Reverse((next, _))| position.max(next - 1));
        let until = restore.map_or(until, |restore| until.min(restore.after));
        let most = at_once.min(limits.events - events.len());
        for (position, body) in sources[index].read(connection, (position, until), most, reader)? {
            let (body, size) = body?;
            if bytes + size > limits.bytes && !events.is_empty() {
                heads.push(Reverse((position, index)));
                break 'page;
            }
            bytes += size;
            // If the next ones are as long, so many still have room.
            at_once = (limits.bytes.saturating_sub(bytes) / size + 1).min(MOST_AT_ONCE);
            end = position;
            events.push(Event { cursor: stream.cursor(place.at(position)), body });
        }
        if end < position {
            return Err(damaged()); // it was there when its position was read
        }
        if let Some(next) = sources[index].next(connection, end)? {
            heads.push(Reverse((next, index)));
        }
    }
    match restore {
        Some(restore) if events.is_empty() => {
            let detail = "This hub was restored; what came after this cursor may have been lost.";
            Err(ApiError::events_missed(stream.cursor(restore.until), detail))
        }
        restore => {
            let more = restore.is_some() || !heads.is_empty();
            let end = place.at(end);
            Ok((EventPage { events, cursor: stream.cursor(end), more }, end))
        }
    }
}

/// Something that a stream is merged from.
enum Source {
    /// The user's own events.
    User(UserDevice),
    /// The log of a conversation, while the user was in it.
    Log { conversation: ConversationId, from: Position, to: Position },
}

/// A log in which there may be something after a position.
struct OpenLog {
    source: Source,
    /// The last position at which something was cut out that the reader was to see; 0 if there is none.
    cut: Position,
    /// What is missing then.
    missed: MissedEntries,
}

/// The logs that the reader sees something of after this position.
fn logs(
    connection: &Connection,
    UserDevice { user, device }: UserDevice,
    since: Position,
) -> sql::Result<Vec<OpenLog>> {
    let mut of_member = connection.prepare_cached(
        "SELECT m.conversation, m.joined_position, m.left_position,
                c.cut_position, c.cut_sequence, c.cut_epoch, c.cut_at FROM members m
         JOIN conversations c ON c.id = m.conversation AND c.last_position > ?2
         WHERE m.user_id = ?1 AND (m.left_position IS NULL OR m.left_position > ?2)",
    )?;
    let mut of_device = connection.prepare_cached(
        "SELECT d.conversation, d.joined_position, d.left_position,
                c.cut_position, c.cut_sequence, c.cut_epoch, c.cut_at FROM sub_devices d
         JOIN conversations c ON c.id = d.conversation AND c.last_position > ?3
         WHERE d.user_id = ?1 AND d.device = ?2 AND (d.left_position IS NULL OR d.left_position > ?3)",
    )?;
    let found = of_member.query_map(params![Sql(user), since], open_log)?;
    found.chain(of_device.query_map(params![Sql(user), Sql(device), since], open_log)?).collect()
}

fn open_log(row: &Row<'_>) -> sql::Result<OpenLog> {
    let (from, cut): (Position, Position) = (row.get(1)?, row.get(3)?);
    Ok(OpenLog {
        source: log_source(row)?,
        // What was cut before the reader came was never theirs.
        cut: if cut < from { 0 } else { cut },
        missed: MissedEntries {
            conversation: row.domain(0)?,
            sequence: row.get::<i64>(4)?.cast_unsigned(),
            epoch: row.get::<i64>(5)?.cast_unsigned(),
            sent_at: row.get(6)?,
        },
    })
}

/// The position of the last of the user's own events that was cut.
fn own_events_cut(connection: &Connection, reader: UserDevice) -> sql::Result<Position> {
    connection
        .prepare_cached("SELECT cut_position FROM users WHERE id = ?1")?
        .query_row([Sql(reader.user)], |row| row.get(0))
}

/// The part of a log that somebody sees: from a position, up to another or without end.
fn log_source(row: &Row<'_>) -> sql::Result<Source> {
    Ok(Source::Log {
        conversation: row.domain(0)?,
        from: row.get(1)?,
        to: row.get::<Option<Position>>(2)?.unwrap_or(Position::MAX),
    })
}

impl Source {
    /// The position of the first entry after this one.
    fn next(&self, connection: &Connection, after: Position) -> sql::Result<Option<Position>> {
        match self {
            Self::User(reader) => connection
                .prepare_cached(
                    "SELECT position FROM user_events WHERE user_id = ?1 AND position > ?2 ORDER BY position LIMIT 1",
                )?
                .query_row(params![Sql(reader.user), after], |row| row.get(0))
                .optional(),
            Self::Log { conversation, from, to } => connection
                .prepare_cached(
                    "SELECT position FROM log WHERE conversation = ?1 AND position > ?2 AND position <= ?3
                     ORDER BY position LIMIT 1",
                )?
                .query_row(params![Sql(*conversation), after.max(from - 1), to], |row| row.get(0))
                .optional(),
        }
    }

    /// So many entries at most from a position that [`next`](Self::next) gave to another, both included.
    fn read(
        &self,
        connection: &Connection,
        (from, until): (Position, Position),
        most: usize,
        reader: UserDevice,
    ) -> Result<Vec<Read>, ApiError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let entries = match self {
            Self::User(_) => connection
                .prepare_cached(
                    "SELECT body, position FROM user_events WHERE user_id = ?1 AND position >= ?2 AND position <= ?3
                     ORDER BY position LIMIT ?4",
                )?
                .query_map(params![Sql(reader.user), from, until, most], |row| {
                    Ok((row.get(1)?, own_event(row.get_ref(0)?.as_str()?)))
                })?,
            Self::Log { conversation, to, .. } => connection
                .prepare_cached(
                    "SELECT sequence, sent_at, sender_user, sender_device, kind, extra, body, epoch, message, welcome,
                            CASE kind WHEN 'pairwise' THEN (
                                SELECT ciphertext FROM pairwise_ciphertexts c
                                WHERE c.position = log.position AND c.user_id = ?5 AND c.device = ?6) END, position
                     FROM log WHERE conversation = ?1 AND position >= ?2 AND position <= ?3
                     ORDER BY position LIMIT ?4",
                )?
                .query_map(
                    params![
                        Sql(*conversation),
                        from,
                        until.min(*to),
                        most,
                        Sql(reader.user),
                        Sql(reader.device)
                    ],
                    |row| Ok((row.get(11)?, log_event(row, *conversation, reader))),
                )?,
        };
        Ok(entries.collect::<Result<_, _>>()?)
    }
}

fn own_event(json: &str) -> Result<Measured, ApiError> {
    let body = serde_json::from_str(json).map_err(|_| damaged())?;
    Ok((body, json.len() + EVENT_OVERHEAD))
}

pub(super) fn log_event(
    row: &Row<'_>,
    conversation: ConversationId,
    reader: UserDevice,
) -> Result<(EventBody, usize), ApiError> {
    let sender = match (row.optional(2)?, row.optional(3)?) {
        (Some(user), Some(device)) => Some(UserDevice { user, device }),
        _ => None,
    };
    let entry =
        LogEntry { conversation, sequence: row.get::<i64>(0)?.cast_unsigned(), sent_at: row.get(1)?, sender };
    let kind = Kind::parse(row.get_ref(4)?.as_str().map_err(|_| damaged())?).ok_or_else(damaged)?;
    let extra = || -> Result<Extra, ApiError> {
        let text = row.get_ref(5)?.as_str().map_err(|_| damaged())?;
        serde_json::from_str(text).map_err(|_| damaged())
    };
    let size = Cell::new(EVENT_OVERHEAD);
    let bytes = |column| -> sql::Result<Option<Base64>> {
        let bytes = row.get::<Option<Vec<u8>>>(column)?;
        size.set(size.get() + bytes.as_ref().map_or(0, |bytes| bytes.len() / 3 * 4 + 4));
        Ok(bytes.map(Base64))
    };
    let body = || -> Result<Base64, ApiError> { bytes(6)?.ok_or_else(damaged) };

    let event = match kind {
        Kind::Message => EventBody::Message { entry, message: body()? },
        Kind::Name => EventBody::Name { entry, message: body()? },
        Kind::Pairwise => {
            let Extra::Pairwise { announces_name, .. } = extra()? else { return Err(damaged()) };
            EventBody::Pairwise { entry, announces_name, ciphertext: bytes(10)? }
        }
        Kind::Proposal => EventBody::Proposal { entry, proposal: body()? },
        Kind::Withdrawn => {
            let Extra::Withdrawn { void } = extra()? else { return Err(damaged()) };
            size.set(size.get() + void.len() * EVENT_OVERHEAD);
            EventBody::ProposalsWithdrawn { entry, epoch: row.get::<i64>(7)?.cast_unsigned(), void }
        }
        Kind::Reset => EventBody::GroupReset { entry, group_id: body()? },
        Kind::Deleted => EventBody::ConversationDeleted { entry },
        Kind::Commit => {
            let Extra::Commit { added } = extra()? else { return Err(damaged()) };
            EventBody::Commit {
                entry,
                epoch: row.get::<i64>(7)?.cast_unsigned(),
                commit: body()?,
                message: bytes(8)?,
                welcome: if added.contains(&reader) { bytes(9)? } else { None },
            }
        }
        Kind::Members => {
            let Extra::Members { joined, left } = extra()? else { return Err(damaged()) };
            size.set(size.get() + (joined.len() + left.len()) * EVENT_OVERHEAD);
            EventBody::Members { entry, joined, left }
        }
        Kind::Role => {
            let Extra::Role { user, role } = extra()? else { return Err(damaged()) };
            EventBody::Role { entry, user, role }
        }
        Kind::Protocol => {
            let Extra::Protocol { protocol } = extra()? else { return Err(damaged()) };
            EventBody::Protocol { entry, protocol }
        }
        Kind::Access => {
            let Extra::Access { access, access_roles } = extra()? else { return Err(damaged()) };
            EventBody::Access { entry, access, access_roles }
        }
        Kind::JoinRequest => {
            let Extra::JoinRequest { user, handle, proof } = extra()? else { return Err(damaged()) };
            let epoch = row.get::<Option<i64>>(7)?.unwrap_or_default().cast_unsigned();
            EventBody::JoinRequested { entry, epoch, user, handle, proof }
        }
        Kind::JoinWithdrawn => {
            let Extra::JoinWithdrawn { withdrawn: user } = extra()? else { return Err(damaged()) };
            EventBody::JoinWithdrawn { entry, user }
        }
        Kind::Renamed => {
            let Extra::Renamed { name } = extra()? else { return Err(damaged()) };
            EventBody::Renamed { entry, name }
        }
        Kind::Setting => {
            let Extra::Setting { setting } = extra()? else { return Err(damaged()) };
            EventBody::Setting { entry, setting }
        }
    };
    Ok((event, size.get()))
}

fn damaged() -> ApiError {
    StorageError::Damaged("an entry of the log cannot be read").into()
}

#[cfg(test)]
mod tests;
