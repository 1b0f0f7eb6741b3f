//! Messages from before this device came, and how far back others are given such.

use super::{Expiry, execute, first, number, stored, to_sql};
use crate::{NewMessage, ReadTx, StoreError, WriteTx};
use rusqlite::Row;
use tertulia_domain::{ConversationId, History, UserId};

/// That a message was read from shared history, and what is known of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryMark {
    /// The first epoch of the span that it was read in.
    pub span: u64,
    /// Whether this device has made sure that the span is the conversation's. Else it is what a member says.
    pub verified: bool,
    /// The user who gave the span; none if that is not known.
    pub shared_by: Option<UserId>,
}

/// The three columns from `column` on.
pub(super) fn mark(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<HistoryMark>> {
    if row.get::<_, Option<i64>>(column)?.is_none() {
        return Ok(None);
    }
    Ok(Some(HistoryMark {
        span: number(row, column)?,
        verified: row.get(column + 1)?,
        shared_by: row.get::<_, Option<uuid::Uuid>>(column + 2)?.map(Into::into),
    }))
}

impl ReadTx<'_> {
    /// The epoch from which on history is shared, as far as this device was there.
    pub fn history_since(&self, id: ConversationId) -> Result<u64, StoreError> {
        let sql = "SELECT history_since FROM conversations WHERE id = ?1";
        Ok(first(&self.tx, sql, [id.as_uuid()], |row| number(row, 0))?.unwrap_or_default())
    }

    /// When the hub accepted the commit that added this device, milliseconds since 1970; none if it came by itself.
    pub fn came_at(&self, id: ConversationId) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT came_at FROM conversations WHERE id = ?1";
        Ok(first(&self.tx, sql, [id.as_uuid()], |row| row.get(0))?.flatten())
    }

    /// The epoch that a conversation was in at this time, milliseconds since 1970, as far as it was noted.
    pub fn epoch_at(&self, id: ConversationId, time: i64) -> Result<Option<u64>, StoreError> {
        let sql =
            "SELECT epoch FROM epochs WHERE conversation = ?1 AND began_at <= ?2 ORDER BY epoch DESC LIMIT 1";
        first(&self.tx, sql, (id.as_uuid(), time), |row| number(row, 0))
    }
}

impl WriteTx<'_> {
    /// Notes what those who come later may read, and from which epoch on if that begins to be shared with this.
    pub fn set_history(
        &mut self,
        id: ConversationId,
        history: History,
        since: Option<u64>,
    ) -> Result<(), StoreError> {
        let since = since.map(|since| stored(since, "an epoch")).transpose()?;
        let sql = "UPDATE conversations SET history = ?2, \
                   history_since = iif(history = 'none' AND ?2 <> 'none', coalesce(?3, history_since), history_since) \
                   WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), history.to_string(), since)).map(drop)
    }

    /// Notes when the hub accepted the commit that added this device, milliseconds since 1970.
    pub fn set_came_at(&mut self, id: ConversationId, came_at: i64) -> Result<(), StoreError> {
        let sql = "UPDATE conversations SET came_at = ?2 WHERE id = ?1";
        execute(&self.tx, sql, (id.as_uuid(), came_at)).map(drop)
    }

    /// Notes when an epoch began, and forgets what was before the epoch of the time `reach`, milliseconds since 1970.
    pub fn note_epoch(
        &mut self,
        id: ConversationId,
        epoch: u64,
        began_at: i64,
        reach: i64,
    ) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO epochs (conversation, epoch, began_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        execute(&self.tx, sql, (id.as_uuid(), stored(epoch, "an epoch")?, began_at))?;
        let sql = "DELETE FROM epochs WHERE conversation = ?1 AND epoch < coalesce( \
                   (SELECT max(epoch) FROM epochs WHERE conversation = ?1 AND began_at <= ?2), 0)";
        execute(&self.tx, sql, (id.as_uuid(), reach)).map(drop)
    }

    /// Writes a message from shared history in its place, and says whether it is new: what is in this place, and the same
    /// message in another, stays.
    pub fn insert_history(&mut self, message: &NewMessage, mark: &HistoryMark) -> Result<bool, StoreError> {
        let sql = "INSERT INTO messages \
                   (arrival, conversation, sequence, sender, sender_device, sent_at, message_id, content, text, \
                    expires_at, expires_after, history_span, history_verified, shared_by) \
                   SELECT min(coalesce((SELECT min(arrival) FROM messages), 0), 0) - 1, \
                          ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13 \
                   WHERE NOT EXISTS (SELECT 1 FROM messages WHERE conversation = ?1 AND message_id = ?6) \
                   ON CONFLICT (conversation, sequence) DO NOTHING";
        let params = (
            message.conversation.as_uuid(),
            stored(message.sequence.get(), "a sequence number")?,
            message.sender.as_uuid(),
            message.sender_device.get().cast_signed(),
            message.sent_at,
            message.message_id,
            &message.content,
            &message.text,
            message.expires.and_then(Expiry::at),
            message.expires.and_then(Expiry::after),
            stored(mark.span, "an epoch")?,
            mark.verified,
            mark.shared_by.map(|user| user.as_uuid()),
        );
        Ok(execute(&self.tx, sql, params)? == 1)
    }

    /// Deletes what was read in a span that has turned out to be made up.
    pub fn drop_history(&mut self, id: ConversationId, mark: &HistoryMark) -> Result<(), StoreError> {
        let sql = "DELETE FROM messages WHERE conversation = ?1 AND history_span = ?2 AND NOT history_verified \
                   AND shared_by IS ?3";
        let by = mark.shared_by.map(|user| user.as_uuid());
        execute(&self.tx, sql, (id.as_uuid(), to_sql(mark.span), by)).map(drop)
    }

    /// Notes that the span with this first epoch is genuine, and so are the messages that were read in it.
    pub fn verify_history(&mut self, id: ConversationId, span: u64) -> Result<(), StoreError> {
        let sql = "UPDATE messages SET history_verified = 1 WHERE conversation = ?1 AND history_span = ?2";
        execute(&self.tx, sql, (id.as_uuid(), to_sql(span))).map(drop)
    }
}
