//! Connections: a pair of users has two rows, one each way, or none.

use super::sql::{self, Connection as Database, OptionalExtension as _, Row, params};
use super::{RowExt as _, Sql, WriteTx};
use crate::error::ApiError;
use tertulia_api::connection::Connection;
use tertulia_domain::{ConversationId, UserId, connection::Status};

/// The status of `user`'s row on `other`.
pub(crate) fn status(database: &Database, user: UserId, other: UserId) -> Result<Option<Status>, ApiError> {
    let status = database
        .prepare_cached("SELECT status FROM connections WHERE user_id = ?1 AND other = ?2")?
        .query_row(params![Sql(user), Sql(other)], |row| row.domain(0))
        .optional()?;
    Ok(status)
}

/// Gives `user`'s row on `other` a status, and creates it if there is none.
pub(crate) fn set_status(
    tx: &WriteTx<'_>,
    user: UserId,
    other: UserId,
    status: Status,
    conversation: ConversationId,
    now: i64,
) -> Result<(), ApiError> {
    tx.prepare_cached(
        "INSERT INTO connections (user_id, other, status, conversation, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (user_id, other) DO UPDATE SET status = excluded.status, updated_at = excluded.updated_at",
    )?
    .execute(params![Sql(user), Sql(other), Sql(status), Sql(conversation), now])?;
    Ok(())
}

/// How many rows of `user` count towards the limit.
pub(crate) fn counted(database: &Database, user: UserId) -> Result<usize, ApiError> {
    let mut statement = database.prepare_cached("SELECT status FROM connections WHERE user_id = ?1")?;
    let statuses = statement.query_map([Sql(user)], |row| row.domain::<Status>(0))?;
    let mut counted = 0;
    for status in statuses {
        counted += usize::from(status?.counts_towards_limit());
    }
    Ok(counted)
}

const COLUMNS: &str = "SELECT c.other, u.handle, c.status, c.conversation, c.updated_at
     FROM connections c JOIN users u ON u.id = c.other WHERE c.user_id = ?1";

/// `user`'s side of the connection with `other`.
pub(crate) fn show(database: &Database, user: UserId, other: UserId) -> Result<Option<Connection>, ApiError> {
    let connection = database
        .prepare_cached(&format!("{COLUMNS} AND c.other = ?2"))?
        .query_row(params![Sql(user), Sql(other)], read)
        .optional()?;
    Ok(connection)
}

/// `user`'s side of every connection, by the others' handles.
pub(crate) fn list(database: &Database, user: UserId) -> Result<Vec<Connection>, ApiError> {
    let mut statement = database.prepare_cached(&format!("{COLUMNS} ORDER BY u.handle"))?;
    let connections = statement.query_map([Sql(user)], read)?;
    Ok(connections.collect::<Result<_, _>>()?)
}

/// All pairs that a user is in: the other, the other's row on the user, and the 1:1 of the two.
pub(crate) fn pairs(
    database: &Database,
    user: UserId,
) -> Result<Vec<(UserId, Status, ConversationId)>, ApiError> {
    let mut statement =
        database.prepare_cached("SELECT user_id, status, conversation FROM connections WHERE other = ?1")?;
    let pairs =
        statement.query_map([Sql(user)], |row| Ok((row.domain(0)?, row.domain(1)?, row.domain(2)?)))?;
    Ok(pairs.collect::<Result<_, _>>()?)
}

/// Deletes both rows of a pair.
pub(crate) fn delete(tx: &WriteTx<'_>, a: UserId, b: UserId) -> Result<(), ApiError> {
    tx.prepare_cached(
        "DELETE FROM connections WHERE (user_id = ?1 AND other = ?2) OR (user_id = ?2 AND other = ?1)",
    )?
    .execute(params![Sql(a), Sql(b)])?;
    Ok(())
}

fn read(row: &Row<'_>) -> sql::Result<Connection> {
    Ok(Connection {
        user: row.domain(0)?,
        handle: row.get(1)?,
        status: row.domain(2)?,
        conversation: row.domain(3)?,
        updated_at: row.get(4)?,
    })
}
