//! Messages that were decrypted.

use super::{all, execute, from_sql, to_sql, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use std::fmt;
use tertulia_domain::{ConversationId, DeviceId, Sequence, UserId};

/// A message on its way into the store.
#[derive(Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its number in the conversation's log.
    pub sequence: Sequence,
    /// Its author.
    pub sender: UserId,
    /// The device that sent it.
    pub sender_device: DeviceId,
    /// When the hub accepted it, milliseconds since 1970.
    pub sent_at: i64,
    /// Its MIMI message id.
    pub message_id: [u8; 32],
    /// The MIMI content, as it was decrypted.
    pub content: Vec<u8>,
    /// What of it is shown; none for what is not a text.
    pub text: Option<String>,
}

impl fmt::Debug for NewMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewMessage")
            .field("conversation", &self.conversation.short())
            .field("sequence", &self.sequence.get())
            .finish_non_exhaustive()
    }
}

/// A text that can be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Its number in the conversation's log.
    pub sequence: Sequence,
    /// Its author.
    pub sender: UserId,
    /// The device that sent it.
    pub sender_device: DeviceId,
    /// When the hub accepted it, milliseconds since 1970.
    pub sent_at: i64,
    /// The text.
    pub text: String,
}

impl fmt::Debug for MessageRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRow").field("sequence", &self.sequence.get()).finish_non_exhaustive()
    }
}

impl ReadTx<'_> {
    /// The texts of a conversation, oldest first: those after `after`, of these the newest `limit`.
    pub fn messages(
        &self,
        conversation: ConversationId,
        after: Option<Sequence>,
        limit: Option<u32>,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let sql = "SELECT sequence, sender, sender_device, sent_at, text FROM messages \
                   WHERE conversation = ?1 AND sequence > ?2 AND text IS NOT NULL ORDER BY sequence DESC LIMIT ?3";
        let after = after.map_or(-1, |after| to_sql(after.get()));
        // A negative limit is none.
        let limit = limit.map_or(-1, i64::from);
        let mut rows = all(&self.tx, sql, (conversation.as_uuid(), after, limit), |row| {
            Ok(MessageRow {
                sequence: Sequence::new(from_sql(row.get(0)?)),
                sender: uuid(row, 1)?,
                sender_device: DeviceId::new(row.get::<_, i64>(2)?.cast_unsigned()),
                sent_at: row.get(3)?,
                text: row.get(4)?,
            })
        })?;
        rows.reverse();
        Ok(rows)
    }
}

impl WriteTx<'_> {
    /// Writes a message, and says whether it is new: one with this sequence number may be here already.
    pub fn insert_message(&mut self, message: &NewMessage) -> Result<bool, StoreError> {
        let sql = "INSERT OR IGNORE INTO messages \
                   (conversation, sequence, sender, sender_device, sent_at, message_id, content, text) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let params = (
            message.conversation.as_uuid(),
            to_sql(message.sequence.get()),
            message.sender.as_uuid(),
            message.sender_device.get().cast_signed(),
            message.sent_at,
            message.message_id,
            &message.content,
            &message.text,
        );
        Ok(execute(&self.tx, sql, params)? == 1)
    }
}
