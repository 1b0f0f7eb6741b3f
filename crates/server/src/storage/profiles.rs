//! What users say of themselves, and how they are found. Deleted users are not.

use super::sql::{self, Connection, OptionalExtension as _, Row, params};
use super::{RowExt as _, Sql, WriteTx};
use crate::error::ApiError;
use tertulia_api::account::User;
use tertulia_domain::{DisplayName, Handle, Locale, UserId};

const COLUMNS: &str = "SELECT id, handle, name, locale, kind FROM users WHERE deleted_at IS NULL AND";

/// A user by id, with the locale, which is not for everybody.
pub(crate) fn user(connection: &Connection, user: UserId) -> Result<Option<User>, ApiError> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} id = ?1"))?;
    Ok(statement.query_row([Sql(user)], read).optional()?)
}

/// A user by handle, with the locale, which is not for everybody.
pub(crate) fn user_by_handle(connection: &Connection, handle: &Handle) -> Result<Option<User>, ApiError> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} handle = ?1"))?;
    Ok(statement.query_row([handle.as_str()], read).optional()?)
}

/// The first users by handle whose handles begin so, without their locales. Guests are not among them.
pub(crate) fn search(
    connection: &Connection,
    beginning: &Handle,
    most: usize,
) -> Result<Vec<User>, ApiError> {
    // No character of a handle comes after the tilde.
    let mut statement = connection.prepare_cached(&format!(
        "{COLUMNS} kind <> 'guest' AND handle BETWEEN ?1 AND ?1 || '~' ORDER BY handle LIMIT ?2"
    ))?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let found = statement.query_map(params![beginning.as_str(), most], read)?;
    found.map(|user| Ok(User { locale: None, ..user? })).collect()
}

/// Replaces what a user says of themselves.
pub(crate) fn set(
    tx: &WriteTx<'_>,
    user: UserId,
    name: Option<&DisplayName>,
    locale: Option<&Locale>,
) -> Result<(), ApiError> {
    tx.prepare_cached("UPDATE users SET name = ?2, locale = ?3 WHERE id = ?1 AND deleted_at IS NULL")?
        .execute(params![Sql(user), name.map(DisplayName::as_str), locale.map(Locale::as_str)])?;
    Ok(())
}

fn read(row: &Row<'_>) -> sql::Result<User> {
    Ok(User {
        user: row.domain(0)?,
        handle: row.get(1)?,
        name: row.get(2)?,
        locale: row.get(3)?,
        kind: row.domain(4)?,
    })
}
