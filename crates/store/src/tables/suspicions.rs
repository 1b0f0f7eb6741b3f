//! What looked as if the hub did not do as it should.

use super::{all, execute, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use tertulia_domain::ConversationId;

/// Most that are kept: the newest.
const KEPT: u32 = 1000;

/// Something that was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspicionRecord {
    /// Rises from one to the next.
    pub id: i64,
    /// The conversation.
    pub conversation: ConversationId,
    /// When it was noticed, milliseconds since 1970.
    pub noticed_at: i64,
    /// What, JSON of the SDK.
    pub what: String,
}

impl ReadTx<'_> {
    /// What was noticed after the one with this id, oldest first.
    pub fn suspicions_after(&self, id: i64) -> Result<Vec<SuspicionRecord>, StoreError> {
        let sql = "SELECT id, conversation, noticed_at, what FROM suspicions WHERE id > ?1 ORDER BY id";
        all(&self.tx, sql, [id], |row| {
            Ok(SuspicionRecord {
                id: row.get(0)?,
                conversation: uuid(row, 1)?,
                noticed_at: row.get(2)?,
                what: row.get(3)?,
            })
        })
    }
}

impl WriteTx<'_> {
    /// Notes something. Of very many, the oldest are forgotten.
    pub fn insert_suspicion(
        &mut self,
        conversation: ConversationId,
        noticed_at: i64,
        what: &str,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO suspicions (conversation, noticed_at, what) VALUES (?1, ?2, ?3)";
        execute(&self.tx, sql, (conversation.as_uuid(), noticed_at, what))?;
        let sql = "DELETE FROM suspicions WHERE id <= (SELECT max(id) FROM suspicions) - ?1";
        execute(&self.tx, sql, [KEPT]).map(drop)
    }

    /// Notes whether this device keeps out of the conversation's group.
    pub fn set_distrusted(&mut self, id: ConversationId, distrusted: bool) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET distrusted = ?2 WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), distrusted)).map(drop)
    }
}
