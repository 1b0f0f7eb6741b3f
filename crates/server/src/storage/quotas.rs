//! How much there is of a user on this hub, kept up with as it is written, so that looking costs nothing.

use super::sql::{self, Connection, params};
use super::{Position, Sql, WriteTx};
use crate::error::ApiError;
use rusqlite::ToSql;
use std::collections::{BTreeMap, BTreeSet};
use tertulia_api::{Code, Quota};
use tertulia_domain::{ConversationId, UserId};

/// What is counted.
pub(crate) const STORED_BYTES: &str = "stored-bytes";
/// What is counted.
pub(crate) const CONVERSATIONS: &str = "conversations";
/// What is counted.
pub(crate) const MEMBERS_AT_ONCE: &str = "members-at-once";

/// So many bytes more than the limit a user can have of commits and proposals: who is at the limit of bytes can still leave, or take a
/// device out, in many groups.
const HEADROOM: u64 = 64 * 1024 * 1024;

/// Notes that so many more bytes of these users are stored, or fewer.
pub(crate) fn note_stored(
    tx: &Connection,
    changes: impl IntoIterator<Item = (UserId, i64)>,
) -> sql::Result<()> {
    let mut changed = BTreeMap::<UserId, i64>::new();
    for (user, bytes) in changes {
        let sum = changed.entry(user).or_default();
        *sum = sum.saturating_add(bytes);
    }
    let changes: Vec<_> = changed.into_iter().map(|(user, bytes)| (Sql(user), bytes)).collect();
    tx.prepare_cached(
        "UPDATE users SET stored_bytes = CASE WHEN stored_bytes + ?2 < 0 THEN 0 ELSE stored_bytes + ?2 END WHERE id = ?1",
    )?
    .execute_each(changes.iter().map(|(user, bytes)| [user as &dyn ToSql, bytes]))
}

/// How many bytes of these users are stored.
pub(crate) fn stored(
    connection: &Connection,
    users: impl IntoIterator<Item = UserId>,
) -> sql::Result<BTreeMap<UserId, i64>> {
    let users: BTreeSet<UserId> = users.into_iter().collect();
    let keys: Vec<_> = users.iter().copied().map(Sql).collect();
    let found = connection
        .prepare_cached("SELECT stored_bytes FROM users WHERE id = ?1")?
        .query_each(keys.iter().map(|user| [user as &dyn ToSql]), |row| row.get::<i64>(0))?;
    Ok(users.into_iter().zip(found).filter_map(|(user, bytes)| Some((user, bytes?))).collect())
}

/// Notes what goes with the logs of a conversation and its subconversations, which are about to be deleted up to this position.
pub(super) fn note_deleted(
    tx: &Connection,
    conversation: ConversationId,
    up_to: Position,
) -> sql::Result<()> {
    let mut statement = tx.prepare_cached(
        "SELECT sender_user, CAST(sum(counted) AS BIGINT) FROM log WHERE sender_user IS NOT NULL AND position <= ?2
         AND conversation IN (SELECT id FROM conversations WHERE id = ?1 OR sub_of = ?1) GROUP BY sender_user",
    )?;
    let found = statement.query_map(params![Sql(conversation), up_to], |row| {
        Ok((row.get::<Sql<UserId>>(0)?.0, row.get::<i64>(1)?))
    })?;
    let found: BTreeMap<UserId, i64> = found.collect::<sql::Result<_>>()?;
    note_stored(tx, found.into_iter().map(|(user, bytes)| (user, -bytes)))
}

/// Refuses what brings a user beyond so many bytes. Asked after it was written: with an error nothing of it is stored.
pub(crate) fn check_stored(tx: &WriteTx<'_>, user: UserId, most: Option<u64>) -> Result<(), ApiError> {
    let Some(most) = most else { return Ok(()) };
    let stored = stored(tx, [user])?.remove(&user).ok_or(sql::SqlError::NoRow)?;
    check_bytes(stored, most)
}

/// Refuses key packages with which all those of the user take more than so many bytes. Asked after they were written. What else the user
/// has stored keeps nobody from having key packages: without them nobody could add the user anywhere.
pub(crate) fn check_key_packages(tx: &WriteTx<'_>, user: UserId, most: Option<u64>) -> Result<(), ApiError> {
    let Some(most) = most else { return Ok(()) };
    let bytes: i64 = tx
        .prepare_cached(
            "SELECT CAST(coalesce(sum(length(key_package)), 0) AS BIGINT) FROM key_packages WHERE user_id = ?1",
        )?
        .query_row([Sql(user)], |row| row.get(0))?;
    if bytes.cast_unsigned() <= most {
        return Ok(());
    }
    let detail = format!("Your key packages take more than {most} bytes here; use smaller ones, or fewer.");
    Err(exceeded(STORED_BYTES, most, detail))
}

/// Refuses so many bytes of a user if they are too many.
pub(crate) fn check_bytes(stored: i64, most: u64) -> Result<(), ApiError> {
    if stored.cast_unsigned() <= most { Ok(()) } else { Err(too_many_bytes(most)) }
}

/// Refuses so many bytes of a commit or a proposal that are too many with what is stored of the user. Up to [`HEADROOM`] above the limit
/// only a commit is too much that brings an application message, which would be by itself. Asked before it is written.
pub(crate) fn check_handshake(
    connection: &Connection,
    user: UserId,
    (bytes, brings_message): (usize, bool),
    most: Option<u64>,
) -> Result<(), ApiError> {
    let Some(most) = most else { return Ok(()) };
    let stored = stored(connection, [user])?.remove(&user).ok_or(sql::SqlError::NoRow)?;
    let with_this = stored.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    let room = if brings_message { 0 } else { HEADROOM };
    if with_this.cast_unsigned() <= most.saturating_add(room) { Ok(()) } else { Err(too_many_bytes(most)) }
}

fn too_many_bytes(most: u64) -> ApiError {
    let detail =
        format!("What you have stored takes more than {most} bytes here; it gets less as old messages go.");
    exceeded(STORED_BYTES, most, detail)
}

/// Refuses a group or channel beyond so many of the user's making, and beyond as many that have ended and are still here, since a device
/// has yet to read their ends. Asked after it was made.
pub(crate) fn check_conversations(tx: &WriteTx<'_>, user: UserId, most: u64) -> Result<(), ApiError> {
    if is_maker_of_more(tx, user, "ended_at IS NULL", most)? {
        let detail = format!("You have made {most} groups and channels, the most that this hub allows.");
        return Err(exceeded(CONVERSATIONS, most, detail));
    }
    if is_maker_of_more(tx, user, "ended_at IS NOT NULL", most)? {
        let detail = format!(
            "More than {most} groups and channels that you have made have ended and are still here; they go when every device of \
             their members has read that, or with time."
        );
        return Err(exceeded(CONVERSATIONS, most, detail));
    }
    Ok(())
}

/// Whether the user has made more than so many groups and channels of which this holds.
fn is_maker_of_more(tx: &WriteTx<'_>, user: UserId, which: &str, most: u64) -> Result<bool, ApiError> {
    let bound = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
    let made: i64 = tx
        .prepare_cached(&format!(
            "SELECT count(*) FROM (SELECT 1 FROM conversations WHERE creator = ?1 AND {which}
             AND type IN ('group', 'channel') LIMIT ?2) made"
        ))?
        .query_row(params![Sql(user), bound], |row| row.get(0))?;
    Ok(made.cast_unsigned() > most)
}

/// `quota-exceeded`.
pub(crate) fn exceeded(what: &str, limit: u64, detail: String) -> ApiError {
    let mut error = ApiError::new(Code::QuotaExceeded, detail);
    if let ApiError::Refused(problem) = &mut error {
        problem.quota = Some(Quota { what: what.to_owned(), limit });
    }
    error
}
