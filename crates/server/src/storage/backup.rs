//! Copies of the database, and what a copy has to be changed in when a hub goes on with it.

use super::{
    Connection, Position, RowExt as _, Sql, StorageError, WriteTx,
    sql::{OptionalExtension as _, configure_file, migrate_file},
};
use crate::error::ApiError;
use rusqlite::{Connection as File, OpenFlags, params};
use std::path::Path;
use tertulia_domain::{ConversationId, ConversationType, GroupId};

/// Positions and sequence numbers that are passed over when a backup is restored, at least: more than a hub gives out between
/// a backup and its restore. What the lost hub had given out is not given out a second time, for something else.
const PASSED_OVER: i64 = 1 << 40;

/// How many of them belong to a millisecond: more than a hub gives out in one. Where a restored hub goes on follows from the time,
/// so that of two hubs that were restored from one backup the later one does not repeat what the earlier one gave out.
const IN_A_MILLISECOND: i64 = 1 << 10;

/// What a copy holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contents {
    /// The last position that was given out.
    pub(crate) position: Position,
    /// Accounts that are not deleted.
    pub(crate) accounts: u64,
    /// Entries in the logs of conversations.
    pub(crate) log_entries: u64,
    /// Groups whose stored state is damaged.
    pub(crate) unreadable_groups: u64,
}

/// Writes one moment of the database at `from` into the empty file at `to`, while a hub may use it: it is a reader like
/// any other, and the writer does not wait for it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), StorageError> {
    let connection =
        File::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    configure_file(&connection)?;
    let to = to.to_str().ok_or(StorageError::Damaged("the path of a copy is not UTF-8"))?;
    connection.execute("VACUUM INTO ?1", [to])?;
    Ok(())
}

/// Looks at every page of a copy, and at what it holds. `is_readable` says whether a group's state can be used.
pub(crate) fn check(path: &Path, is_readable: impl Fn(&[u8]) -> bool) -> Result<Contents, StorageError> {
    let connection =
        File::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    configure_file(&connection)?;
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StorageError::Damaged("the database fails its own check"));
    }
    let mut snapshots = connection.prepare("SELECT snapshot FROM groups")?;
    let (mut rows, mut unreadable_groups) = (snapshots.query(())?, 0);
    while let Some(row) = rows.next()? {
        unreadable_groups += u64::from(!is_readable(row.get_ref(0)?.as_blob().unwrap_or_default()));
    }
    let number = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0));
    Ok(Contents {
        position: number("SELECT position FROM hub")?,
        accounts: number("SELECT count(*) FROM users WHERE deleted_at IS NULL")?.cast_unsigned(),
        log_entries: number("SELECT count(*) FROM log")?.cast_unsigned(),
        unreadable_groups,
    })
}

/// Brings the schema of a copy up to date, and notes that from here on the hub goes another way than the one that the copy
/// was made of. `now` is in milliseconds since 1970.
pub(crate) fn begin_again(path: &Path, now: i64) -> Result<(), StorageError> {
    let mut connection = File::open(path)?;
    configure_file(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    migrate_file(&mut connection)?;
    let transaction = connection.transaction()?;
    let position: Position = transaction.query_row("SELECT position FROM hub", (), |row| row.get(0))?;
    let by_time = now.saturating_mul(IN_A_MILLISECOND);
    let until = by_time.max(position + PASSED_OVER);
    transaction.execute(
        "INSERT INTO restores (after, until, at) VALUES (?1, ?2, ?3)",
        params![position, until, now],
    )?;
    transaction.execute("UPDATE hub SET position = ?1", [until])?;
    transaction.execute(
        "UPDATE conversations SET last_sequence = max(last_sequence + ?1, ?2)",
        [PASSED_OVER, by_time],
    )?;
    // Also where there was no commit yet, or no group: there may have been one since.
    transaction.execute(
        "INSERT INTO groups_to_renew (conversation) SELECT id FROM conversations
         WHERE ended_at IS NULL ON CONFLICT (conversation) DO NOTHING",
        (),
    )?;
    // Some of these were handed out since; their devices make new ones. Those of last resort may be used again.
    transaction.execute(
        "INSERT INTO spent_key_packages (hash, expires_at, user_id, device)
         SELECT hash, expires_at, user_id, device FROM key_packages WHERE NOT last_resort
         ON CONFLICT (hash) DO NOTHING",
        (),
    )?;
    transaction.execute(
        "UPDATE users SET stored_bytes = max(0, stored_bytes - (
             SELECT coalesce(sum(length(k.key_package)), 0) FROM key_packages k
             WHERE k.user_id = users.id AND NOT k.last_resort))",
        (),
    )?;
    transaction.execute("DELETE FROM key_packages WHERE NOT last_resort", ())?;
    transaction.execute("DELETE FROM pairwise_keys", ())?;
    // The relay's positions are given out a second time: who reads it is to notice.
    transaction.execute("DELETE FROM relay_log", ())?;
    transaction.commit()?;
    Ok(())
}

/// A restore that a reader has not come past.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restore {
    /// The last position before it.
    pub(crate) after: Position,
    /// The position that the hub went on after. What was given out in between was lost.
    pub(crate) until: Position,
}

/// The first restore that who has read up to this position has to be told of.
pub(crate) fn restore_ahead(
    connection: &Connection,
    position: Position,
) -> Result<Option<Restore>, ApiError> {
    let found = connection
        .prepare_cached("SELECT after, until FROM restores WHERE until > ?1 ORDER BY after LIMIT 1")?
        .query_row([position], |row| Ok(Restore { after: row.get(0)?, until: row.get(1)? }))
        .optional()?;
    Ok(found)
}

/// Where the hub went on after it was restored last, if it was: the position, and the sequence number of conversations that were not in
/// the backup. Those with ids that follow from their members may have been there before, with numbers up to this.
pub(crate) fn last_restore(connection: &Connection) -> Result<Option<Position>, ApiError> {
    let until =
        connection.prepare_cached("SELECT max(until) FROM restores")?.query_row((), |row| row.get(0))?;
    Ok(until)
}

/// The first group of a conversation that may have had others before a restore.
pub(crate) fn first_after(restore: Position, conversation: ConversationId) -> GroupId {
    successor(GroupId::first(conversation), restore / IN_A_MILLISECOND)
}

/// The groups that a restored hub still has to begin anew, each with its conversation's type, at most so many.
pub(crate) fn groups_to_renew(
    connection: &Connection,
    most: usize,
) -> Result<Vec<(ConversationType, GroupId)>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.id, c.type, c.generation FROM groups_to_renew r JOIN conversations c ON c.id = r.conversation
         ORDER BY c.id LIMIT ?1",
    )?;
    let found = statement.query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| {
        let generation = row.get::<i64>(2)?.cast_unsigned();
        Ok((row.domain(1)?, GroupId { conversation: row.domain(0)?, generation }))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Notes that a group was begun anew.
pub(crate) fn renewed(tx: &WriteTx<'_>, conversation: ConversationId) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM groups_to_renew WHERE conversation = ?1")?.execute([Sql(conversation)])?;
    Ok(())
}

/// The group that takes the place of one from before a restore: its id cannot be that of any that was lost, since its
/// generation is the time, in milliseconds since 1970.
pub(crate) fn successor(group: GroupId, now: i64) -> GroupId {
    let by_time = u64::try_from(now).unwrap_or_default();
    GroupId { generation: by_time.max(group.generation + 1), ..group }
}
