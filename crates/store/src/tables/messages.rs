//! Messages that were decrypted.

use super::{Expiry, HistoryMark, all, execute, first, history::mark, number, stored, to_sql, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use rusqlite::Row;
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
    /// What of it is shown; none for what is not shown, and empty for what is and is not a text.
    pub text: Option<String>,
    /// When it is to be deleted by itself, if it is.
    pub expires: Option<Expiry>,
}

impl fmt::Debug for NewMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewMessage")
            .field("conversation", &self.conversation.short())
            .field("sequence", &self.sequence.get())
            .finish_non_exhaustive()
    }
}

/// A text that can be shown, or something else that an application shows.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Its place in the order in which messages came into this home. Below 0 for those from shared history, in no order.
    pub arrival: i64,
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
    /// The text.
    pub text: String,
    /// The MIMI content, where there is no text.
    pub content: Option<Vec<u8>>,
    /// Its MIMI message id.
    pub message_id: [u8; 32],
    /// When it is deleted, milliseconds since 1970, if that is known.
    pub expires_at: Option<i64>,
    /// Set if it was read from shared history.
    pub history: Option<HistoryMark>,
}

impl fmt::Debug for MessageRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRow").field("sequence", &self.sequence.get()).finish_non_exhaustive()
    }
}

/// What was decrypted, whether or not it is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentRow {
    /// Its place in the order in which messages came into this home.
    pub arrival: i64,
    /// Its number in the conversation's log.
    pub sequence: Sequence,
    /// Its author.
    pub sender: UserId,
    /// The device that sent it.
    pub sender_device: DeviceId,
    /// When the hub accepted it, milliseconds since 1970.
    pub sent_at: i64,
    /// The MIMI content.
    pub content: Vec<u8>,
}

impl fmt::Debug for ContentRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentRow").field("sequence", &self.sequence.get()).finish_non_exhaustive()
    }
}

const CONTENT: &str = "SELECT arrival, sequence, sender, sender_device, sent_at, content FROM messages";

fn content(row: &Row<'_>) -> rusqlite::Result<ContentRow> {
    Ok(ContentRow {
        arrival: row.get(0)?,
        sequence: Sequence::new(number(row, 1)?),
        sender: uuid(row, 2)?,
        sender_device: DeviceId::new(row.get::<_, i64>(3)?.cast_unsigned()),
        sent_at: row.get(4)?,
        content: row.get(5)?,
    })
}

const TEXT: &str = "SELECT arrival, conversation, sequence, sender, sender_device, sent_at, text, message_id, expires_at, \
                    history_span, history_verified, shared_by, iif(text = '', content, NULL) FROM messages";

fn text(row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        arrival: row.get(0)?,
        conversation: uuid(row, 1)?,
        sequence: Sequence::new(number(row, 2)?),
        sender: uuid(row, 3)?,
        sender_device: DeviceId::new(row.get::<_, i64>(4)?.cast_unsigned()),
        sent_at: row.get(5)?,
        text: row.get(6)?,
        message_id: row.get(7)?,
        expires_at: row.get(8)?,
        history: mark(row, 9)?,
        content: row.get(12)?,
    })
}

impl ReadTx<'_> {
    /// The texts of a conversation, oldest first: those after `after`, of these the newest `limit`.
    pub fn messages(
        &self,
        conversation: ConversationId,
        after: Option<Sequence>,
        limit: Option<u32>,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let sql = format!(
            "{TEXT} WHERE conversation = ?1 AND sequence > ?2 AND text IS NOT NULL ORDER BY sequence DESC LIMIT ?3"
        );
        let after = after.map_or(-1, |after| to_sql(after.get()));
        // A negative limit is none.
        let limit = limit.map_or(-1, i64::from);
        let mut rows = all(&self.tx, &sql, (conversation.as_uuid(), after, limit), text)?;
        rows.reverse();
        Ok(rows)
    }

    /// The text with this number in a conversation's log.
    pub fn message(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
    ) -> Result<Option<MessageRow>, StoreError> {
        let sql = format!("{TEXT} WHERE conversation = ?1 AND sequence = ?2 AND text IS NOT NULL");
        first(&self.tx, &sql, (conversation.as_uuid(), to_sql(sequence.get())), text)
    }

    /// Where the message with this MIMI id stands in a conversation's log, and when the hub accepted it.
    pub fn place_of(
        &self,
        conversation: ConversationId,
        message_id: &[u8; 32],
    ) -> Result<Option<(Sequence, i64)>, StoreError> {
        let sql = "SELECT sequence, sent_at FROM messages WHERE conversation = ?1 AND message_id = ?2";
        first(&self.tx, sql, (conversation.as_uuid(), message_id), |row| {
            Ok((Sequence::new(number(row, 0)?), row.get(1)?))
        })
    }

    /// The number and the time (milliseconds since 1970) of the last content of a conversation.
    pub fn last_content(&self, conversation: ConversationId) -> Result<Option<(Sequence, i64)>, StoreError> {
        let sql =
            "SELECT sequence, sent_at FROM messages WHERE conversation = ?1 ORDER BY sequence DESC LIMIT 1";
        first(&self.tx, sql, [conversation.as_uuid()], |row| {
            Ok((Sequence::new(number(row, 0)?), row.get(1)?))
        })
    }

    /// The last arrival.
    pub fn last_arrival(&self) -> Result<i64, StoreError> {
        let last =
            first(&self.tx, "SELECT max(arrival) FROM messages", [], |row| row.get::<_, Option<i64>>(0))?;
        Ok(last.flatten().unwrap_or_default())
    }

    /// The contents of a conversation after the one with this number, oldest first.
    pub fn contents(
        &self,
        conversation: ConversationId,
        after: Sequence,
    ) -> Result<Vec<ContentRow>, StoreError> {
        let sql = format!("{CONTENT} WHERE conversation = ?1 AND sequence > ?2 ORDER BY sequence");
        all(&self.tx, &sql, (conversation.as_uuid(), to_sql(after.get())), content)
    }

    /// The contents of a conversation that came into this home after `arrival`, at most `limit`, in that order.
    pub fn contents_arrived_after(
        &self,
        conversation: ConversationId,
        arrival: i64,
        limit: u32,
    ) -> Result<Vec<ContentRow>, StoreError> {
        let sql = format!("{CONTENT} WHERE conversation = ?1 AND arrival > ?2 ORDER BY arrival LIMIT ?3");
        all(&self.tx, &sql, (conversation.as_uuid(), arrival, limit), content)
    }

    /// The texts that came into this home after `arrival`, at most `limit`, in that order.
    pub fn arrived_after(&self, arrival: i64, limit: u32) -> Result<Vec<MessageRow>, StoreError> {
        let sql = format!("{TEXT} WHERE arrival > ?1 AND text IS NOT NULL ORDER BY arrival LIMIT ?2");
        all(&self.tx, &sql, (arrival, limit), text)
    }
}

impl WriteTx<'_> {
    /// Whether a message with this MIMI id is here.
    pub fn has_message(
        &self,
        conversation: ConversationId,
        message_id: &[u8; 32],
    ) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM messages WHERE conversation = ?1 AND message_id = ?2 LIMIT 1";
        Ok(first(&self.tx, sql, (conversation.as_uuid(), message_id), |_| Ok(()))?.is_some())
    }

    /// Writes a message, and says whether it is new: one with this sequence number may be here already.
    pub fn insert_message(&mut self, message: &NewMessage) -> Result<bool, StoreError> {
        let sql = "INSERT INTO messages \
                   (conversation, sequence, sender, sender_device, sent_at, message_id, content, text, \
                    expires_at, expires_after) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (conversation, sequence) DO NOTHING";
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
        );
        Ok(execute(&self.tx, sql, params)? == 1)
    }
}
