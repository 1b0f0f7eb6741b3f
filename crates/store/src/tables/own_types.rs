//! Conversations of types of the application's own.

use super::{execute, first, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use rusqlite::Row;
use std::fmt;
use tertulia_domain::ConversationId;
use zeroize::Zeroizing;

/// Of which type of the application's own a conversation is.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnTypeRecord {
    /// The conversation.
    pub conversation: ConversationId,
    /// The number of its type.
    pub conversation_type: u16,
    /// What its id comes from, with the type.
    pub creation_secret: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for OwnTypeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnTypeRecord")
            .field("conversation", &self.conversation.short())
            .field("type", &self.conversation_type)
            .finish_non_exhaustive()
    }
}

fn own_type(row: &Row<'_>) -> rusqlite::Result<OwnTypeRecord> {
    Ok(OwnTypeRecord {
        conversation: uuid(row, 0)?,
        conversation_type: row.get(1)?,
        creation_secret: Zeroizing::new(row.get(2)?),
    })
}

impl ReadTx<'_> {
    /// Of which type of the application's own a conversation is, if it is of one.
    pub fn own_type(&self, id: ConversationId) -> Result<Option<OwnTypeRecord>, StoreError> {
        let sql = "SELECT conversation, type, creation_secret FROM own_types WHERE conversation = ?1";
        first(&self.tx, sql, [id.as_uuid()], own_type)
    }
}

impl WriteTx<'_> {
    /// Notes of which type of the application's own a conversation is, which is so for good.
    pub fn put_own_type(&mut self, record: &OwnTypeRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO own_types (conversation, type, creation_secret) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO NOTHING";
        let OwnTypeRecord { conversation, conversation_type, creation_secret } = record;
        execute(&self.tx, sql, (conversation.as_uuid(), conversation_type, creation_secret.as_slice()))
            .map(drop)
    }
}
