//! What members have told of messages.

use super::{all, execute, named, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use tertulia_domain::{ConversationId, ReceiptStatus, UserId};

/// What a member has told of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptRow {
    /// The member.
    pub user: UserId,
    /// What was told.
    pub status: ReceiptStatus,
    /// When the hub accepted it, milliseconds since 1970.
    pub told_at: i64,
}

impl ReadTx<'_> {
    /// What members have told of a message, who told it first before the others.
    pub fn receipts(
        &self,
        conversation: ConversationId,
        message_id: &[u8; 32],
    ) -> Result<Vec<ReceiptRow>, StoreError> {
        let sql = "SELECT user, status, told_at FROM receipts WHERE conversation = ?1 AND message_id = ?2 \
                   ORDER BY told_at, user";
        all(&self.tx, sql, (conversation.as_uuid(), message_id), |row| {
            Ok(ReceiptRow { user: uuid(row, 0)?, status: named(row, 1)?, told_at: row.get(2)? })
        })
    }
}

impl WriteTx<'_> {
    /// Notes what a member tells of a message of somebody else that is here. Who has read it has read it, whatever another
    /// device of theirs says later.
    pub fn put_receipt(
        &mut self,
        conversation: ConversationId,
        message_id: &[u8; 32],
        receipt: &ReceiptRow,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO receipts (conversation, message_id, user, status, told_at) \
                   SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS \
                       (SELECT 1 FROM messages WHERE conversation = ?1 AND message_id = ?2 AND sender <> ?3) \
                   ON CONFLICT DO UPDATE SET status = excluded.status, told_at = excluded.told_at \
                   WHERE status <> ?6 AND status <> excluded.status";
        let ReceiptRow { user, status, told_at } = *receipt;
        let read = ReceiptStatus::Read.as_str();
        let key = (conversation.as_uuid(), message_id, user.as_uuid());
        execute(&self.tx, sql, (key.0, key.1, key.2, status.as_str(), told_at, read)).map(drop)
    }
}
