//! Users by id and handle, and the connections with them.

use super::{all, execute, first, named, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use tertulia_domain::{AccountKind, ConversationId, Handle, UserId, connection::Status};

/// The user's side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// The other user.
    pub user: UserId,
    /// How it stands.
    pub status: Status,
    /// The 1:1 of the two.
    pub conversation: ConversationId,
    /// When it last changed, milliseconds since 1970.
    pub updated_at: i64,
}

const CONNECTION: &str = "SELECT c.user, c.status, c.conversation, c.updated_at FROM connections c";

fn connection(row: &rusqlite::Row<'_>) -> rusqlite::Result<ConnectionRecord> {
    Ok(ConnectionRecord {
        user: uuid(row, 0)?,
        status: named(row, 1)?,
        conversation: uuid(row, 2)?,
        updated_at: row.get(3)?,
    })
}

impl ReadTx<'_> {
    /// A user's handle.
    pub fn handle(&self, user: UserId) -> Result<Option<Handle>, StoreError> {
        first(&self.tx, "SELECT handle FROM users WHERE id = ?1", [user.as_uuid()], |row| named(row, 0))
    }

    /// The user with this handle.
    pub fn user_by_handle(&self, handle: &Handle) -> Result<Option<UserId>, StoreError> {
        first(&self.tx, "SELECT id FROM users WHERE handle = ?1", [handle.as_str()], |row| uuid(row, 0))
    }

    /// What a user's account is, as far as is known here.
    pub fn account_kind(&self, user: UserId) -> Result<AccountKind, StoreError> {
        let sql = "SELECT kind FROM users WHERE id = ?1";
        Ok(first(&self.tx, sql, [user.as_uuid()], |row| named(row, 0))?.unwrap_or_default())
    }

    /// All connections, ordered by handle.
    pub fn connections(&self) -> Result<Vec<ConnectionRecord>, StoreError> {
        let sql = format!("{CONNECTION} LEFT JOIN users u ON u.id = c.user ORDER BY u.handle");
        all(&self.tx, &sql, [], connection)
    }

    /// The connection with a user.
    pub fn connection(&self, user: UserId) -> Result<Option<ConnectionRecord>, StoreError> {
        first(&self.tx, &format!("{CONNECTION} WHERE c.user = ?1"), [user.as_uuid()], connection)
    }

    /// The connection whose 1:1 this conversation is.
    pub fn connection_of(
        &self,
        conversation: ConversationId,
    ) -> Result<Option<ConnectionRecord>, StoreError> {
        let sql = format!("{CONNECTION} WHERE c.conversation = ?1");
        first(&self.tx, &sql, [conversation.as_uuid()], connection)
    }
}

impl WriteTx<'_> {
    /// Writes a user's handle.
    pub fn put_user(&mut self, user: UserId, handle: &Handle) -> Result<(), StoreError> {
        let sql = "INSERT INTO users (id, handle) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET handle = excluded.handle";
        execute(&self.tx, sql, (user.as_uuid(), handle.as_str())).map(drop)
    }

    /// Writes what the account of a user is whose handle is here.
    pub fn set_account_kind(&mut self, user: UserId, kind: AccountKind) -> Result<(), StoreError> {
        let sql = "UPDATE users SET kind = ?2 WHERE id = ?1";
        execute(&self.tx, sql, (user.as_uuid(), kind.as_str())).map(drop)
    }

    /// Writes a connection.
    pub fn put_connection(&mut self, connection: &ConnectionRecord) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO connections (user, status, conversation, updated_at) VALUES (?1, ?2, ?3, ?4)";
        let ConnectionRecord { user, status, conversation, updated_at } = connection;
        execute(&self.tx, sql, (user.as_uuid(), status.as_str(), conversation.as_uuid(), updated_at))
            .map(drop)
    }

    /// Removes a connection.
    pub fn remove_connection(&mut self, user: UserId) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM connections WHERE user = ?1", [user.as_uuid()]).map(drop)
    }
}
