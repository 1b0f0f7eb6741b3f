//! Users and their sessions.

use super::sql::{self, Connection, OptionalExtension as _, params};
use super::{RowExt as _, Sql, WriteTx};
use crate::error::ApiError;
use rusqlite::ToSql;
use tertulia_api::{Code, UserDevice};
use tertulia_domain::{AccountKind, DeviceId, DisplayName, Handle, UserId};

/// Most sessions of a user: several for each device, and bounded, since nobody is made to log out.
const MAX_SESSIONS: i64 = 100;

/// For so long, in milliseconds, a removed device is told that it was: 90 days.
pub(super) const REMEMBERED: i64 = 90 * 24 * 60 * 60 * 1000;

/// SHA-256 of a session token.
pub(crate) type TokenHash = [u8; 32];

/// A session, with what every request asks of it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) user: UserId,
    pub(crate) handle: Handle,
    pub(crate) device: Option<DeviceId>,
    pub(crate) kind: AccountKind,
    /// When it was last used, to the day, in milliseconds since 1970; none if that is not known.
    pub(crate) used_at: Option<i64>,
    /// Since when its token is used, in milliseconds since 1970.
    pub(crate) token_at: i64,
    /// Whether the token is one that is used for the first time, and that another has to make way for.
    pub(crate) is_next: bool,
}

/// Creates a user; `handle-taken` if there is one of this handle. `password` is a PHC string.
pub(crate) fn create(
    tx: &WriteTx<'_>,
    user: UserId,
    (handle, kind): (&Handle, AccountKind),
    password: &str,
    now: i64,
) -> Result<(), ApiError> {
    let inserted = tx
        .prepare_cached(
            "INSERT INTO users (id, handle, kind, password, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (handle) DO NOTHING",
        )?
        .execute(params![Sql(user), handle.as_str(), Sql(kind), password, now])?;
    if inserted == 0 { Err(Code::HandleTaken.into()) } else { Ok(()) }
}

/// Creates a guest, whose account ends by itself and has no password.
pub(crate) fn create_guest(
    tx: &WriteTx<'_>,
    user: UserId,
    (handle, name): (&Handle, &DisplayName),
    expires_at: i64,
    now: i64,
) -> Result<(), ApiError> {
    create(tx, user, (handle, AccountKind::Guest), "", now)?;
    tx.prepare_cached("UPDATE users SET name = ?2, expires_at = ?3 WHERE id = ?1")?.execute(params![
        Sql(user),
        name.as_str(),
        expires_at
    ])?;
    Ok(())
}

/// The guests whose time is over, the earliest first, at most so many.
pub(crate) fn expired(connection: &Connection, now: i64, most: usize) -> Result<Vec<UserId>, ApiError> {
    let mut statement = connection
        .prepare_cached("SELECT id FROM users WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2")?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let users = statement.query_map([now, most], |row| row.domain(0))?;
    Ok(users.collect::<Result<_, _>>()?)
}

/// When the time of the next guest is over.
pub(crate) fn next_expiry(connection: &Connection) -> Result<Option<i64>, ApiError> {
    let next = connection
        .prepare_cached("SELECT min(expires_at) FROM users WHERE expires_at IS NOT NULL")?
        .query_row((), |row| row.get(0))?;
    Ok(next)
}

/// Of a guest, when the account ends.
pub(crate) fn expiry(connection: &Connection, user: UserId) -> Result<Option<i64>, ApiError> {
    let expiry = connection
        .prepare_cached("SELECT expires_at FROM users WHERE id = ?1")?
        .query_row([Sql(user)], |row| row.get(0))
        .optional()?;
    Ok(expiry.flatten())
}

/// Puts off the end of all guests' time by so long, in milliseconds, though not beyond the latest.
pub(super) fn put_off(tx: &WriteTx<'_>, by: i64, latest: i64) -> Result<(), ApiError> {
    tx.prepare_cached(
        "UPDATE users SET expires_at = CASE WHEN expires_at + ?1 < ?2 THEN expires_at + ?1 ELSE ?2 END
         WHERE expires_at < ?2",
    )?
    .execute([by, latest])?;
    Ok(())
}

/// Has all guests' time end at the latest then: a clock that was ahead would keep them for longer otherwise.
pub(super) fn bring_forward(tx: &WriteTx<'_>, latest: i64) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE users SET expires_at = ?1 WHERE expires_at > ?1")?.execute([latest])?;
    Ok(())
}

/// What a user's account is.
pub(crate) fn kind(connection: &Connection, user: UserId) -> Result<AccountKind, ApiError> {
    let kind = connection
        .prepare_cached("SELECT kind FROM users WHERE id = ?1")?
        .query_row([Sql(user)], |row| row.domain(0))
        .optional()?;
    Ok(kind.unwrap_or_default())
}

/// The user of this handle, the hash of the password, and what the account is. Nobody logs in as a guest, nor to an account
/// that is locked.
pub(crate) fn credentials(
    connection: &Connection,
    handle: &Handle,
) -> Result<Option<(UserId, String, AccountKind)>, ApiError> {
    let found = connection
        .prepare_cached(
            "SELECT id, password, kind FROM users
             WHERE handle = ?1 AND deleted_at IS NULL AND locked_at IS NULL AND kind <> 'guest'",
        )?
        .query_row([handle.as_str()], |row| Ok((row.domain(0)?, row.get(1)?, row.domain(2)?)))
        .optional()?;
    Ok(found)
}

/// The hash of a user's password.
pub(crate) fn password(connection: &Connection, user: UserId) -> Result<Option<String>, ApiError> {
    let password = connection
        .prepare_cached("SELECT password FROM users WHERE id = ?1 AND deleted_at IS NULL")?
        .query_row([Sql(user)], |row| row.get(0))
        .optional()?;
    Ok(password)
}

/// Checks that the password is still the one of this hash, and the account open: it was verified before the transaction, and
/// either may have changed since.
pub(crate) fn check_password_is(connection: &Connection, user: UserId, hash: &str) -> Result<(), ApiError> {
    let is_so = connection
        .prepare_cached(
            "SELECT 1 FROM users WHERE id = ?1 AND password = ?2 AND deleted_at IS NULL AND locked_at IS NULL",
        )?
        .exists(params![Sql(user), hash])?;
    if is_so { Ok(()) } else { Err(Code::InvalidCredentials.into()) }
}

/// Gives the user another password and ends all sessions but that of `token`. `hash` is a PHC string.
pub(crate) fn change_password(
    tx: &WriteTx<'_>,
    user: UserId,
    hash: &str,
    token: &TokenHash,
) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE users SET password = ?2 WHERE id = ?1")?.execute(params![Sql(user), hash])?;
    tx.prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND token_hash <> ?2")?
        .execute(params![Sql(user), token])?;
    tx.wake(user);
    Ok(())
}

/// Opens a session. Of a user who has as many as are kept, the oldest ends, one without a device before one with.
pub(crate) fn open_session(
    tx: &WriteTx<'_>,
    token: &TokenHash,
    user: UserId,
    now: i64,
) -> Result<(), ApiError> {
    let ended = tx
        .prepare_cached(
            "DELETE FROM sessions WHERE user_id = ?1 AND token_hash NOT IN (
             SELECT token_hash FROM sessions WHERE user_id = ?1
             ORDER BY device IS NULL, created_at DESC LIMIT ?2)",
        )?
        .execute(params![Sql(user), MAX_SESSIONS - 1])?;
    if ended > 0 {
        tx.wake(user);
    }
    tx.prepare_cached(
        "INSERT INTO sessions (token_hash, user_id, created_at, used_at) VALUES (?1, ?2, ?3, ?3)",
    )?
    .execute(params![token, Sql(user), now])?;
    Ok(())
}

/// Gives a session another token, which takes the place of the present one when it is first used. One that was given before and
/// never used is void: its answer was lost.
pub(crate) fn give_next_token(tx: &WriteTx<'_>, token: &TokenHash, next: &TokenHash) -> Result<(), ApiError> {
    let given = tx
        .prepare_cached("UPDATE sessions SET next_hash = ?2 WHERE token_hash = ?1")?
        .execute(params![token, next])?;
    if given == 0 { Err(Code::Unauthenticated.into()) } else { Ok(()) } // it ended meanwhile
}

/// Notes that a session's next token is used: the one before it is void, and what is open with it closes.
pub(crate) fn take_next_token(
    tx: &WriteTx<'_>,
    next: &TokenHash,
    user: UserId,
    now: i64,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "UPDATE sessions SET token_hash = next_hash, next_hash = NULL, token_at = ?2 WHERE next_hash = ?1",
    )?
    .execute(params![next, now])?;
    tx.wake(user);
    Ok(())
}

/// Ends all sessions of a user but that of `token`. How many there were.
pub(crate) fn close_other_sessions(
    tx: &WriteTx<'_>,
    user: UserId,
    token: &TokenHash,
) -> Result<usize, ApiError> {
    let ended = tx
        .prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND token_hash <> ?2")?
        .execute(params![Sql(user), token])?;
    tx.wake(user);
    Ok(ended)
}

/// Notes that a session is used.
pub(crate) fn note_use(tx: &WriteTx<'_>, token: &TokenHash, now: i64) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE sessions SET used_at = ?2 WHERE token_hash = ?1")?
        .execute(params![token, now])?;
    Ok(())
}

/// Ends a session, if there is one. Its user is woken, so that sockets of the session close.
pub(crate) fn close_session(tx: &WriteTx<'_>, token: &TokenHash, user: UserId) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM sessions WHERE token_hash = ?1")?.execute([token])?;
    tx.wake(user);
    Ok(())
}

/// Ends the sessions of a device. For [`REMEMBERED`] their tokens are known as those of a removed device.
pub(crate) fn close_sessions_of(
    tx: &WriteTx<'_>,
    UserDevice { user, device }: UserDevice,
    now: i64,
) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM removed_sessions WHERE removed_at < ?1")?
        .execute([now.saturating_sub(REMEMBERED)])?;
    tx.prepare_cached(
        "INSERT INTO removed_sessions (token_hash, removed_at)
         SELECT token_hash, CAST(?3 AS BIGINT) FROM sessions WHERE user_id = ?1 AND device = ?2
         UNION ALL SELECT next_hash, CAST(?3 AS BIGINT) FROM sessions WHERE user_id = ?1 AND device = ?2 AND next_hash IS NOT NULL",
    )?
    .execute(params![Sql(user), Sql(device), now])?;
    tx.prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND device = ?2")?
        .execute(params![Sql(user), Sql(device)])?;
    tx.wake(user);
    Ok(())
}

/// The session of a token. Without one the error is `device-removed` or `unauthenticated`.
pub(crate) fn authenticate(connection: &Connection, token: &TokenHash) -> Result<Session, ApiError> {
    let found = match session(connection, token)? {
        Some(session) => Some(session),
        None => session_of_next(connection, token)?,
    };
    if let Some(session) = found {
        return Ok(session);
    }
    let removed =
        connection.prepare_cached("SELECT 1 FROM removed_sessions WHERE token_hash = ?1")?.exists([token])?;
    Err(if removed { Code::DeviceRemoved.into() } else { Code::Unauthenticated.into() })
}

/// Whose a session is, and which device it has registered.
pub(crate) type Whose = (UserId, Option<DeviceId>);

/// The users and devices of these sessions, where there are any.
pub(crate) fn devices_of_sessions(
    connection: &Connection,
    tokens: impl IntoIterator<Item = TokenHash>,
) -> Result<Vec<Option<Whose>>, ApiError> {
    let tokens: Vec<TokenHash> = tokens.into_iter().collect();
    let found = connection
        .prepare_cached("SELECT user_id, device FROM sessions WHERE token_hash = ?1")?
        .query_each(tokens.iter().map(|token| [token as &dyn ToSql]), |row| {
            Ok((row.domain(0)?, row.optional(1)?))
        })?;
    Ok(found)
}

fn session(connection: &Connection, token: &TokenHash) -> Result<Option<Session>, ApiError> {
    let sql =
        "SELECT s.user_id, u.handle, s.device, u.kind, s.used_at, coalesce(s.token_at, s.created_at), FALSE
               FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.token_hash = ?1";
    read_session(connection, sql, token)
}

fn session_of_next(connection: &Connection, token: &TokenHash) -> Result<Option<Session>, ApiError> {
    let sql =
        "SELECT s.user_id, u.handle, s.device, u.kind, s.used_at, coalesce(s.token_at, s.created_at), TRUE
               FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.next_hash = ?1";
    read_session(connection, sql, token)
}

fn read_session(connection: &Connection, sql: &str, token: &TokenHash) -> Result<Option<Session>, ApiError> {
    let session = connection
        .prepare_cached(sql)?
        .query_row([token], |row| {
            Ok(Session {
                user: row.domain(0)?,
                handle: row.domain(1)?,
                device: row.optional(2)?,
                kind: row.domain(3)?,
                used_at: row.get(4)?,
                token_at: row.get(5)?,
                is_next: row.get(6)?,
            })
        })
        .optional()?;
    Ok(session)
}

/// Ends all sessions of a user.
pub(crate) fn close_all_sessions(tx: &WriteTx<'_>, user: UserId) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM sessions WHERE user_id = ?1")?.execute([Sql(user)])?;
    tx.wake(user);
    Ok(())
}

/// Deletes what the account itself holds. Its id and its handle stay taken, but for those of a guest of whom nothing is left.
pub(crate) fn delete(tx: &WriteTx<'_>, user: UserId, now: i64) -> Result<(), ApiError> {
    tx.prepare_cached("DELETE FROM user_events WHERE user_id = ?1")?.execute([Sql(user)])?;
    tx.prepare_cached("DELETE FROM removed_devices WHERE user_id = ?1")?.execute([Sql(user)])?;
    tx.prepare_cached(
        "UPDATE users SET password = '', name = NULL, locale = NULL, expires_at = NULL, deleted_at = ?2
         WHERE id = ?1",
    )?
    .execute(params![Sql(user), now])?;
    Ok(forget_guest(tx, user)?)
}

/// Forgets a guest whose account has ended, once no conversation has anything of theirs. Nobody ever logs in by their handle, and the
/// hub makes another one at random for everybody who comes.
pub(super) fn forget_guest(connection: &Connection, user: UserId) -> sql::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM users WHERE id = ?1 AND kind = 'guest' AND deleted_at IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM members m WHERE m.user_id = ?1)
                 AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.creator = ?1)
                 AND NOT EXISTS (SELECT 1 FROM connections n WHERE n.user_id = ?1 OR n.other = ?1)",
        )?
        .execute([Sql(user)])?;
    Ok(())
}

/// Whether the account of this id was deleted.
pub(crate) fn is_deleted(connection: &Connection, user: UserId) -> Result<bool, ApiError> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM users WHERE id = ?1 AND deleted_at IS NOT NULL")?
        .exists([Sql(user)])?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{storage::testing, wake::Wake};

    #[tokio::test]
    async fn of_too_many_sessions_the_oldest_without_a_device_ends() {
        let dir = tempfile::tempdir().unwrap();
        let storage = testing::open(&testing::location(dir.path()), Wake::default(), |_| ());
        let open = |tx: &WriteTx<'_>, user, number: u8| {
            open_session(tx, &[number; 32], user, number.into())?;
            Ok::<_, ApiError>(())
        };
        let left = storage.write(move |tx| {
            let user = UserId::random();
            create(tx, user, (&"alice".parse().unwrap(), AccountKind::Person), "", 0)?;
            open(tx, user, 0)?;
            let device = "INSERT INTO devices (user_id, device, label, signature_key, created_at, registered, acknowledged)
                          VALUES (?1, 7, '', ?1, 0, 0, 0)";
            tx.prepare_cached(device)?.execute([Sql(user)])?;
            tx.prepare_cached("UPDATE sessions SET device = 7")?.execute(())?;
            for number in 1..=101 {
                open(tx, user, number)?;
            }
            let left = (0..=101).filter(|&number| session(tx, &[number; 32]).unwrap().is_some());
            Ok(left.collect::<Vec<_>>())
        });
        // The device's session 0 stays; 1 and 2 have ended.
        assert_eq!(left.await.unwrap(), [0].into_iter().chain(3..=101).collect::<Vec<_>>());
    }
}
