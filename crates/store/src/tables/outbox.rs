//! Messages on their way to the hub.

use super::{all, execute, first, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use rusqlite::Row;
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};
use tertulia_domain::ConversationId;

/// What a message is to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutboxKind {
    /// A message to the members.
    Message,
    /// A new name for the conversation, which the hub lets only those send who may rename it.
    Name,
    /// Keys of shared history. It has no content, and is made anew if its bytes cannot be sent.
    History,
}

impl OutboxKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Name => "name",
            Self::History => "history",
        }
    }
}

/// A kind that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of outgoing message")]
pub struct UnknownOutboxKind;

impl FromStr for OutboxKind {
    type Err = UnknownOutboxKind;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let kinds = [Self::Message, Self::Name, Self::History];
        kinds.into_iter().find(|kind| kind.as_str() == name).ok_or(UnknownOutboxKind)
    }
}

/// A message that is to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct NewOutboxMessage {
    /// The conversation.
    pub conversation: ConversationId,
    /// What it is to the hub.
    pub kind: OutboxKind,
    /// The MIMI content.
    pub content: Vec<u8>,
    /// When it was written, milliseconds since 1970.
    pub created_at: i64,
}

impl fmt::Debug for NewOutboxMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewOutboxMessage")
            .field("conversation", &self.conversation.short())
            .finish_non_exhaustive()
    }
}

/// A message that waits in the outbox.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxMessage {
    /// Its number in the outbox.
    pub id: i64,
    /// The conversation.
    pub conversation: ConversationId,
    /// What it is to the hub.
    pub kind: OutboxKind,
    /// The MIMI content.
    pub content: Vec<u8>,
    /// The bytes to send, once it was encrypted. The same bytes are sent until the hub accepts or refuses them.
    pub ciphertext: Option<Vec<u8>>,
    /// Whether these bytes are a pairwise message, or else of the MLS group.
    pub pairwise: bool,
}

impl fmt::Debug for OutboxMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxMessage").field("id", &self.id).finish_non_exhaustive()
    }
}

const MESSAGE: &str = "SELECT id, conversation, kind, content, ciphertext, pairwise FROM outbox";

fn message(row: &Row<'_>) -> rusqlite::Result<OutboxMessage> {
    Ok(OutboxMessage {
        id: row.get(0)?,
        conversation: uuid(row, 1)?,
        kind: super::named(row, 2)?,
        content: row.get(3)?,
        ciphertext: row.get(4)?,
        pairwise: row.get(5)?,
    })
}

impl ReadTx<'_> {
    /// A message of the outbox.
    pub fn outbox_message(&self, id: i64) -> Result<Option<OutboxMessage>, StoreError> {
        first(&self.tx, &format!("{MESSAGE} WHERE id = ?1"), [id], message)
    }

    /// The message that was encrypted to these bytes.
    pub fn outbox_by_ciphertext(&self, ciphertext: &[u8]) -> Result<Option<OutboxMessage>, StoreError> {
        first(&self.tx, &format!("{MESSAGE} WHERE digest = ?1"), [digest(ciphertext)], message)
    }

    /// The messages of a conversation that wait, the oldest first.
    pub fn outbox_of(&self, conversation: ConversationId) -> Result<Vec<OutboxMessage>, StoreError> {
        all(
            &self.tx,
            &format!("{MESSAGE} WHERE conversation = ?1 ORDER BY id"),
            [conversation.as_uuid()],
            message,
        )
    }

    /// The conversations in which messages wait.
    pub fn outbox_conversations(&self) -> Result<Vec<ConversationId>, StoreError> {
        let sql = "SELECT conversation FROM outbox GROUP BY conversation ORDER BY min(id)";
        all(&self.tx, sql, [], |row| uuid(row, 0))
    }
}

impl WriteTx<'_> {
    /// Puts a message into the outbox, and gives its number there.
    pub fn put_into_outbox(&mut self, message: &NewOutboxMessage) -> Result<i64, StoreError> {
        let sql = "INSERT INTO outbox (conversation, kind, content, created_at) VALUES (?1, ?2, ?3, ?4)";
        let NewOutboxMessage { conversation, kind, content, created_at } = message;
        execute(&self.tx, sql, (conversation.as_uuid(), kind.as_str(), content, created_at))?;
        Ok(self.tx.last_insert_rowid())
    }

    /// Keeps the bytes that a message was encrypted to in its conversation's group.
    pub fn set_ciphertext(&mut self, id: i64, ciphertext: &[u8]) -> Result<(), StoreError> {
        self.put_ciphertext(id, ciphertext, false)
    }

    /// Keeps the bytes that a message was encrypted to for each device.
    pub fn set_pairwise_ciphertext(&mut self, id: i64, ciphertext: &[u8]) -> Result<(), StoreError> {
        self.put_ciphertext(id, ciphertext, true)
    }

    fn put_ciphertext(&mut self, id: i64, ciphertext: &[u8], pairwise: bool) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET ciphertext = ?2, digest = ?3, pairwise = ?4 WHERE id = ?1";
        execute(&self.tx, sql, (id, ciphertext, digest(ciphertext), pairwise)).map(drop)
    }

    /// Drops these bytes, which the hub refused because of their epoch or protocol, so that the message is encrypted anew. Other bytes, made
    /// meanwhile, stay.
    pub fn clear_ciphertext(&mut self, ciphertext: &[u8]) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET ciphertext = NULL, digest = NULL WHERE digest = ?1";
        execute(&self.tx, sql, [digest(ciphertext)]).map(drop)
    }

    /// Takes a message out of the outbox.
    pub fn remove_from_outbox(&mut self, id: i64) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM outbox WHERE id = ?1", [id]).map(drop)
    }
}

fn digest(ciphertext: &[u8]) -> [u8; 32] {
    Sha256::digest(ciphertext).into()
}
