//! Copies of the database, and what a copy has to be changed in when a hub goes on with it.

use super::{
    Connection, DatabaseUrl, Position, RowExt as _, Sql, StorageError, WriteTx, copy,
    sql::{OptionalExtension as _, configure_file, migrate_file, params, version_of_server},
};
use crate::error::ApiError;
use rusqlite::{Connection as File, OpenFlags};
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
    drop(rows);
    drop(snapshots);
    count(&Connection::of_file(connection), unreadable_groups)
}

/// The same of a database on a server, which looks at its pages itself.
fn check_on_server(
    connection: &Connection,
    is_readable: impl Fn(&[u8]) -> bool,
) -> Result<Contents, StorageError> {
    connection.run("BEGIN; DECLARE kept NO SCROLL CURSOR FOR SELECT snapshot FROM groups")?;
    let mut unreadable_groups = 0;
    loop {
        // One of a thousand members has some hundred KiB.
        let page = connection.fetch("FETCH 20 FROM kept", |row| {
            Ok(is_readable(row.get_ref(0)?.as_blob().unwrap_or_default()))
        })?;
        if page.is_empty() {
            break;
        }
        unreadable_groups += page.iter().filter(|is_readable| !**is_readable).count() as u64;
    }
    connection.run("COMMIT")?;
    count(connection, unreadable_groups)
}

fn count(connection: &Connection, unreadable_groups: u64) -> Result<Contents, StorageError> {
    let number = |sql: &str| connection.prepare_cached(sql)?.query_row((), |row| row.get::<i64>(0));
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
    let mut file = File::open(path)?;
    configure_file(&file)?;
    file.pragma_update(None, "synchronous", "FULL")?;
    file.pragma_update(None, "foreign_keys", true)?;
    migrate_file(&mut file)?;
    pass_over(&Connection::of_file(file), now)
}

/// The same of a database on a server that was brought back to an earlier state, in place. What it holds; none if there is no
/// hub's data. Nobody else may use it, and nobody can meanwhile.
pub(crate) fn begin_again_on_server(
    url: &DatabaseUrl,
    now: i64,
    is_readable: impl Fn(&[u8]) -> bool,
) -> Result<Option<Contents>, StorageError> {
    let connection = Connection::postgres_alone(url)?;
    if copy::is_unfinished(&connection)? {
        return Err(StorageError::CopyUnfinished);
    }
    if version_of_server(&connection)?.found == 0 {
        return Ok(None);
    }
    connection.migrate_server()?;
    if !connection.prepare_cached("SELECT 1 FROM hub")?.exists(())? {
        return Ok(None);
    }
    let contents = check_on_server(&connection, is_readable)?;
    pass_over(&connection, now)?;
    Ok(Some(contents))
}

/// Notes that the hub goes another way from here on, in one transaction.
fn pass_over(connection: &Connection, now: i64) -> Result<(), StorageError> {
    connection.begin_writing()?;
    let position: Position =
        connection.prepare_cached("SELECT position FROM hub")?.query_row((), |row| row.get(0))?;
    let by_time = now.saturating_mul(IN_A_MILLISECOND);
    let until = by_time.max(position + PASSED_OVER);
    connection
        .prepare_cached("INSERT INTO restores (after, until, at) VALUES (?1, ?2, ?3)")?
        .execute(params![position, until, now])?;
    connection
        .prepare_cached(
            "UPDATE conversations SET last_sequence =
                 CASE WHEN last_sequence + ?1 < ?2 THEN ?2 ELSE last_sequence + ?1 END",
        )?
        .execute([PASSED_OVER, by_time])?;
    let changes = [
        // Also where there was no commit yet, or no group: there may have been one since.
        "INSERT INTO groups_to_renew (conversation) SELECT id FROM conversations
         WHERE ended_at IS NULL ON CONFLICT (conversation) DO NOTHING",
        // Some of these were handed out since; their devices make new ones. Those of last resort may be used again.
        "INSERT INTO spent_key_packages (hash, expires_at, user_id, device)
         SELECT hash, expires_at, user_id, device FROM key_packages WHERE NOT last_resort
         ON CONFLICT (hash) DO NOTHING",
        "UPDATE users SET stored_bytes = stored_bytes - (
             SELECT coalesce(sum(length(k.key_package)), 0) FROM key_packages k
             WHERE k.user_id = users.id AND NOT k.last_resort)",
        "UPDATE users SET stored_bytes = 0 WHERE stored_bytes < 0",
        "DELETE FROM key_packages WHERE NOT last_resort",
        "DELETE FROM pairwise_keys",
        // The relay's positions are given out a second time: who reads it is to notice.
        "DELETE FROM relay_log",
    ];
    for sql in changes {
        connection.prepare_cached(sql)?.execute(())?;
    }
    Ok(connection.commit(Some(until))?)
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

/// The conversations whose groups a restored hub still has to begin anew, at most so many.
pub(crate) fn groups_to_renew(connection: &Connection, most: usize) -> Result<Vec<ConversationId>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.id FROM groups_to_renew r JOIN conversations c ON c.id = r.conversation ORDER BY c.id LIMIT ?1",
    )?;
    let found = statement.query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| row.domain(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Strikes a conversation out whose group is begun anew, and gives its type and present group; none if it was struck out before, by
/// another node that has started at the same time.
pub(crate) fn take_to_renew(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
) -> Result<Option<(ConversationType, GroupId)>, ApiError> {
    let struck = tx
        .prepare_cached("DELETE FROM groups_to_renew WHERE conversation = ?1")?
        .execute([Sql(conversation)])?;
    if struck == 0 {
        return Ok(None);
    }
    let found = tx.prepare_cached("SELECT type, generation FROM conversations WHERE id = ?1")?.query_row(
        [Sql(conversation)],
        |row| {
            let generation = row.get::<i64>(1)?.cast_unsigned();
            Ok((row.domain(0)?, GroupId { conversation, generation }))
        },
    )?;
    Ok(Some(found))
}

/// The group that takes the place of one from before a restore: its id cannot be that of any that was lost, since its
/// generation is the time, in milliseconds since 1970.
pub(crate) fn successor(group: GroupId, now: i64) -> GroupId {
    let by_time = u64::try_from(now).unwrap_or_default();
    GroupId { generation: by_time.max(group.generation + 1), ..group }
}
