//! What operators see and change: accounts, their sessions, numbers, and what can be forgotten.

use super::sql::{self, Connection, OptionalExtension as _, Row, params};
use super::{RowExt as _, Sql, WriteTx, accounts, key_packages};
use crate::{
    admin::{AccountInfo, Numbers, Pruned, SessionInfo},
    error::ApiError,
};
use tertulia_domain::{Handle, UserId};

const ACCOUNT: &str = "SELECT u.id, u.handle, u.kind, u.created_at, u.expires_at, u.locked_at, u.deleted_at,
     (SELECT count(*) FROM devices d WHERE d.user_id = u.id),
     (SELECT count(*) FROM sessions s WHERE s.user_id = u.id),
     (SELECT count(*) FROM members m WHERE m.user_id = u.id AND m.left_position IS NULL)
     FROM users u";

/// The accounts whose handles come after this one, in alphabetical order, at most so many.
pub(crate) fn accounts(
    connection: &Connection,
    after: Option<&Handle>,
    most: usize,
) -> Result<Vec<AccountInfo>, ApiError> {
    let mut statement =
        connection.prepare_cached(&format!("{ACCOUNT} WHERE u.handle > ?1 ORDER BY u.handle LIMIT ?2"))?;
    let after = after.map_or("", Handle::as_str);
    let found = statement.query_map(params![after, i64::try_from(most).unwrap_or(i64::MAX)], account)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The account of this handle, deleted or not.
pub(crate) fn account_of(connection: &Connection, handle: &Handle) -> Result<Option<AccountInfo>, ApiError> {
    let found = connection
        .prepare_cached(&format!("{ACCOUNT} WHERE u.handle = ?1"))?
        .query_row([handle.as_str()], account)
        .optional()?;
    Ok(found)
}

fn account(row: &Row<'_>) -> sql::Result<AccountInfo> {
    Ok(AccountInfo {
        user: row.domain(0)?,
        handle: row.domain(1)?,
        kind: row.domain(2)?,
        created_at: row.get(3)?,
        expires_at: row.get(4)?,
        locked_at: row.get(5)?,
        deleted_at: row.get(6)?,
        devices: count(row, 7)?,
        sessions: count(row, 8)?,
        conversations: count(row, 9)?,
    })
}

fn count(row: &Row<'_>, column: usize) -> sql::Result<u64> {
    row.get::<i64>(column).map(i64::cast_unsigned)
}

/// Locks an account, or opens it again: nobody logs in to one that is locked.
pub(crate) fn set_locked(tx: &WriteTx<'_>, user: UserId, locked_at: Option<i64>) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE users SET locked_at = ?2 WHERE id = ?1")?
        .execute(params![Sql(user), locked_at])?;
    Ok(())
}

/// The sessions of a user, the oldest first.
pub(crate) fn sessions(connection: &Connection, user: UserId) -> Result<Vec<SessionInfo>, ApiError> {
    let mut statement = connection.prepare_cached(
        "SELECT token_hash, device, created_at, used_at FROM sessions WHERE user_id = ?1 ORDER BY created_at, token_hash",
    )?;
    let found = statement.query_map([Sql(user)], |row| {
        let hash: accounts::TokenHash = row.get(0)?;
        Ok(SessionInfo {
            session: name(&hash),
            device: row.optional(1)?,
            created_at: row.get(2)?,
            used_at: row.get(3)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// What operators call a session: the beginning of its token's hash, of which the token cannot be made.
pub(crate) fn name(hash: &accounts::TokenHash) -> String {
    hex::encode(&hash[..8])
}

/// Ends a session, or all sessions, of a user. How many there were.
pub(crate) fn end_sessions(tx: &WriteTx<'_>, user: UserId, session: Option<&str>) -> Result<u64, ApiError> {
    let mut statement = tx.prepare_cached("SELECT token_hash FROM sessions WHERE user_id = ?1")?;
    let hashes: Vec<accounts::TokenHash> =
        statement.query_map([Sql(user)], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut ended = 0;
    for hash in hashes.iter().filter(|hash| session.is_none_or(|session| name(hash) == session)) {
        accounts::close_session(tx, hash, user)?;
        ended += 1;
    }
    Ok(ended)
}

/// How many there are of everything.
pub(crate) fn numbers(connection: &Connection) -> Result<Numbers, ApiError> {
    let one = |sql: &str| connection.prepare_cached(sql)?.query_row((), |row| count(row, 0));
    let conversations = |kind: &str| {
        let sql = "SELECT count(*) FROM conversations WHERE type = ?1 AND ended_at IS NULL";
        connection.prepare_cached(sql)?.query_row([kind], |row| count(row, 0))
    };
    Ok(Numbers {
        accounts: one("SELECT count(*) FROM users WHERE deleted_at IS NULL AND kind <> 'guest'")?,
        guests: one("SELECT count(*) FROM users WHERE deleted_at IS NULL AND kind = 'guest'")?,
        locked: one("SELECT count(*) FROM users WHERE locked_at IS NOT NULL")?,
        deleted: one("SELECT count(*) FROM users WHERE deleted_at IS NOT NULL")?,
        devices: one("SELECT count(*) FROM devices")?,
        sessions: one("SELECT count(*) FROM sessions")?,
        teams: one("SELECT count(*) FROM teams")?,
        one_to_ones: conversations("one_to_one")?,
        groups: conversations("group")?,
        channels: conversations("channel")?,
        log_entries: one("SELECT count(*) FROM log")?,
        events: one("SELECT count(*) FROM user_events")?,
        bytes: 0,
    })
}

/// Deletes what has run out: nothing of it could be used any more. The conversations that have ended, and what was kept for long enough,
/// are not for one transaction.
pub(crate) fn prune(tx: &WriteTx<'_>, now: i64) -> Result<Pruned, ApiError> {
    let delete = |sql: &str, before: i64| tx.prepare_cached(sql)?.execute([before]).map(|rows| rows as u64);
    let key_packages = key_packages::forget_all_expired(tx, now)?;
    let invitations = delete("DELETE FROM team_invitations WHERE expires_at <= ?1", now)?;
    let links = delete("DELETE FROM join_links WHERE expires_at <= ?1", now)?;
    let forgotten = now.saturating_sub(accounts::REMEMBERED);
    let tokens = delete("DELETE FROM removed_sessions WHERE removed_at < ?1", forgotten)?;
    Ok(Pruned { key_packages, invitations, links, tokens, conversations: 0, log_entries: 0, events: 0 })
}
