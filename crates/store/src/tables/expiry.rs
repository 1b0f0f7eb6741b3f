//! Messages that are deleted by themselves.

use super::{all, execute, first, to_sql};
use crate::{ReadTx, StoreError, WriteTx};
use tertulia_domain::{ConversationId, Sequence};

/// When a message is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// At this time, milliseconds since 1970, read or not.
    At(i64),
    /// So many milliseconds after it was read.
    AfterReading(i64),
}

impl Expiry {
    /// The time, if it is known.
    pub const fn at(self) -> Option<i64> {
        match self {
            Self::At(at) => Some(at),
            Self::AfterReading(_) => None,
        }
    }

    pub(super) const fn after(self) -> Option<i64> {
        match self {
            Self::At(_) => None,
            Self::AfterReading(after) => Some(after),
        }
    }
}

impl ReadTx<'_> {
    /// Whether there are messages to be deleted at this time, milliseconds since 1970.
    pub fn has_expired(&self, now: i64) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM messages WHERE expires_at <= ?1 LIMIT 1";
        Ok(first(&self.tx, sql, [now], |_| Ok(()))?.is_some())
    }

    /// The texts of others that are read with the one of this number, and were not before, by their MIMI ids.
    pub fn to_be_read(
        &self,
        conversation: ConversationId,
        up_to: Sequence,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        let sql = "SELECT message_id FROM messages m WHERE conversation = ?1 AND text IS NOT NULL \
                   AND arrival > (SELECT last_read FROM conversations WHERE id = ?1) \
                   AND arrival <= (SELECT max(arrival) FROM messages WHERE conversation = ?1 AND sequence <= ?2) \
                   AND sender <> (SELECT unhex(replace(value, '-', '')) FROM settings WHERE name = 'user') \
                   ORDER BY arrival";
        all(&self.tx, sql, (conversation.as_uuid(), to_sql(up_to.get())), |row| row.get(0))
    }
}

impl WriteTx<'_> {
    /// Begins the time of messages that stay for a while after they were read: those up to this number were read at `now`,
    /// milliseconds since 1970. The time of one that was read before goes on.
    pub fn start_expiry(
        &mut self,
        conversation: ConversationId,
        up_to: Sequence,
        now: i64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE messages SET expires_at = ?3 + expires_after WHERE conversation = ?1 AND sequence <= ?2 \
                   AND expires_at IS NULL AND expires_after IS NOT NULL";
        execute(&self.tx, sql, (conversation.as_uuid(), to_sql(up_to.get()), now)).map(drop)
    }

    /// Deletes for good the messages whose time is over at `now`, with what was told of them, and says how many.
    pub fn delete_expired(&mut self, now: i64) -> Result<usize, StoreError> {
        let sql = "DELETE FROM receipts WHERE EXISTS (SELECT 1 FROM messages m WHERE m.expires_at <= ?1 \
                   AND m.conversation = receipts.conversation AND m.message_id = receipts.message_id)";
        execute(&self.tx, sql, [now])?;
        execute(&self.tx, "DELETE FROM messages WHERE expires_at <= ?1", [now])
    }
}
