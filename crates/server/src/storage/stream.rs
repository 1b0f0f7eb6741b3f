//! The event stream of a device, put together when it is read: its user's own events and the logs of the user's
//! conversations, merged by position.
//!
//! The merge steps through the sources one entry at a time, so a page costs what it holds, however far behind the device
//! is and however much its conversations hold.

use std::{cell::Cell, cmp::Reverse, collections::BinaryHeap};

use super::sql::{self, Connection, OptionalExtension as _, Row, params};
use super::{
    Position, RowExt as _, Sql, StorageError, WriteTx, backup,
    log::{Extra, Kind},
};
use crate::error::ApiError;
use tertulia_api::{
    Base64, Code, UserDevice,
    event::{Event, EventBody, EventPage, LogEntry},
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

/// The cursor after this position.
pub(crate) fn cursor(position: Position) -> String {
    format!("p{position}")
}

/// The position that a cursor stands for; none if the text is no cursor.
pub(crate) fn parse_cursor(cursor: &str) -> Option<Position> {
    let digits = cursor.strip_prefix('p')?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
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

/// Notes that the device has everything up to `position`. It never goes back.
pub(crate) fn acknowledge(
    tx: &WriteTx<'_>,
    UserDevice { user, device }: UserDevice,
    position: Position,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "UPDATE devices SET acknowledged = ?3 WHERE user_id = ?1 AND device = ?2 AND acknowledged < ?3",
    )?
    .execute(params![Sql(user), Sql(device), position])?;
    Ok(())
}

/// The events of a device after a position, oldest first. Where a hub was restored, pages end; who has read up to there is
/// refused with `events-missed` once, since it may have read more than there is.
pub(crate) fn page(
    connection: &Connection,
    reader: UserDevice,
    since: Position,
    limits: PageLimits,
) -> Result<EventPage, ApiError> {
    let restore = backup::restore_ahead(connection, since)?;
    let sources = sources(connection, reader, since)?;
    let mut heads = BinaryHeap::with_capacity(sources.len());
    for (index, source) in sources.iter().enumerate() {
        if let Some(position) = source.next(connection, since)? {
            heads.push(Reverse((position, index)));
        }
    }

    let (mut events, mut bytes, mut end) = (Vec::new(), 0, since);
    while events.len() < limits.events {
        let Some(Reverse((position, index))) = heads.pop() else { break };
        if restore.is_some_and(|restore| position > restore.after) {
            heads.push(Reverse((position, index)));
            break;
        }
        let source = &sources[index];
        let (body, size) = source.read(connection, position, reader)?;
        if bytes + size > limits.bytes && !events.is_empty() {
            heads.push(Reverse((position, index)));
            break;
        }
        bytes += size;
        end = position;
        events.push(Event { cursor: cursor(position), body });
        if let Some(next) = source.next(connection, position)? {
            heads.push(Reverse((next, index)));
        }
    }
    match restore {
        Some(restore) if events.is_empty() => {
            let detail = "This hub was restored; what came after this cursor may have been lost.";
            Err(ApiError::events_missed(restore.until, detail))
        }
        restore => {
            Ok(EventPage { events, cursor: cursor(end), more: restore.is_some() || !heads.is_empty() })
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

/// What there may be something in after this position.
fn sources(connection: &Connection, reader: UserDevice, since: Position) -> Result<Vec<Source>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT m.conversation, m.joined_position, m.left_position FROM members m
         JOIN conversations c ON c.id = m.conversation AND c.last_position > ?2
         WHERE m.user_id = ?1 AND (m.left_position IS NULL OR m.left_position > ?2)",
    )?;
    let logs = statement.query_map(params![Sql(reader.user), since], log_source)?;
    let mut sources = vec![Source::User(reader)];
    for log in logs {
        sources.push(log?);
    }
    let mut statement = connection.prepare_cached(
        "SELECT d.conversation, d.joined_position, d.left_position FROM sub_devices d
         JOIN conversations c ON c.id = d.conversation AND c.last_position > ?3
         WHERE d.user_id = ?1 AND d.device = ?2 AND (d.left_position IS NULL OR d.left_position > ?3)",
    )?;
    for log in statement.query_map(params![Sql(reader.user), Sql(reader.device), since], log_source)? {
        sources.push(log?);
    }
    Ok(sources)
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

    /// The entry at this position, and its size in bytes of JSON, about.
    fn read(
        &self,
        connection: &Connection,
        position: Position,
        reader: UserDevice,
    ) -> Result<(EventBody, usize), ApiError> {
        match self {
            Self::User(_) => {
                let json: String = connection
                    .prepare_cached("SELECT body FROM user_events WHERE position = ?1")?
                    .query_row([position], |row| row.get(0))?;
                let body = serde_json::from_str(&json).map_err(|_| damaged())?;
                Ok((body, json.len() + EVENT_OVERHEAD))
            }
            Self::Log { conversation, .. } => {
                let mut statement = connection.prepare_cached(
                    "SELECT sequence, sent_at, sender_user, sender_device, kind, extra, body, epoch, message, welcome,
                            CASE kind WHEN 'pairwise' THEN (
                                SELECT ciphertext FROM pairwise_ciphertexts c
                                WHERE c.position = log.position AND c.user_id = ?2 AND c.device = ?3) END
                     FROM log WHERE position = ?1",
                )?;
                let params = params![position, Sql(reader.user), Sql(reader.device)];
                statement.query_row(params, |row| Ok(log_event(row, *conversation, reader)))?
            }
        }
    }
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
        Kind::Reset => EventBody::GroupReset { entry, group_id: body()? },
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
