//! Join links that were made here, and conversations that the user waits to be let into.

use super::{all, execute, first, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use tertulia_domain::ConversationId;
use zeroize::Zeroizing;

/// A conversation that the user waits to be let into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinRecord {
    /// The conversation.
    pub conversation: ConversationId,
    /// When the user asked, milliseconds since 1970.
    pub asked_at: i64,
}

impl ReadTx<'_> {
    /// The join link into a conversation that was made here last, as text. Whoever has it can use it.
    pub fn own_link(&self, id: ConversationId) -> Result<Option<Zeroizing<String>>, StoreError> {
        let sql = "SELECT link FROM own_links WHERE conversation = ?1";
        first(&self.tx, sql, [id.as_uuid()], |row| row.get(0).map(Zeroizing::new))
    }

    /// The conversations that the user waits to be let into, the oldest request first.
    pub fn joins(&self) -> Result<Vec<JoinRecord>, StoreError> {
        let sql = "SELECT conversation, asked_at FROM joins ORDER BY asked_at, conversation";
        all(&self.tx, sql, [], |row| Ok(JoinRecord { conversation: uuid(row, 0)?, asked_at: row.get(1)? }))
    }
}

impl WriteTx<'_> {
    /// Keeps a join link that was made here, in the place of the one before.
    pub fn put_own_link(&mut self, id: ConversationId, link: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO own_links (conversation, link) VALUES (?1, ?2) \
                   ON CONFLICT DO UPDATE SET link = excluded.link";
        execute(&self.tx, sql, (id.as_uuid(), link)).map(drop)
    }

    /// Forgets the join link that was made here.
    pub fn remove_own_link(&mut self, id: ConversationId) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM own_links WHERE conversation = ?1", [id.as_uuid()]).map(drop)
    }

    /// Notes that the user waits to be let into a conversation.
    pub fn put_join(&mut self, join: JoinRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO joins (conversation, asked_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        execute(&self.tx, sql, (join.conversation.as_uuid(), join.asked_at)).map(drop)
    }

    /// Notes that the user does not wait any more, and says whether they did.
    pub fn remove_join(&mut self, id: ConversationId) -> Result<bool, StoreError> {
        Ok(execute(&self.tx, "DELETE FROM joins WHERE conversation = ?1", [id.as_uuid()])? == 1)
    }
}
