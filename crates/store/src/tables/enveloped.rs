//! Conversations that travel in envelopes: what their types keep of them, and their hints.

use super::{all, execute, first, number, stored, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use rusqlite::Row;
use std::fmt;
use tertulia_domain::{ConversationId, Sequence};
use zeroize::Zeroizing;

/// A conversation that travels in envelopes.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvelopedRecord {
    /// Its id.
    pub conversation: ConversationId,
    /// The number of its type.
    pub conversation_type: u16,
    /// What its id comes from.
    pub creation_secret: Zeroizing<[u8; 32]>,
    /// Whether its topic is read.
    pub listening: bool,
    /// The names of the carriers that it travels by; all of the home if there is none.
    pub carriers: Vec<String>,
    /// What its type keeps of it.
    pub state: Zeroizing<Vec<u8>>,
    /// When its type has something to do, milliseconds since 1970.
    pub due_at: Option<i64>,
    /// The conversation that shows what is said in this one, which goes on with it.
    pub continues: Option<ConversationId>,
}

impl fmt::Debug for EnvelopedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvelopedRecord")
            .field("conversation", &self.conversation.short())
            .field("type", &self.conversation_type)
            .finish_non_exhaustive()
    }
}

/// The hints of a conversation, as they were written last.
#[derive(Clone, PartialEq, Eq)]
pub struct HintsRecord {
    /// The conversation.
    pub conversation: ConversationId,
    /// Larger than that of all records that were written before.
    pub version: u64,
    /// The hints; none once the conversation was forgotten.
    pub record: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for HintsRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HintsRecord").field("version", &self.version).finish_non_exhaustive()
    }
}

const ENVELOPED: &str = "SELECT conversation, type, creation_secret, listening, carriers, state, due_at, continues FROM enveloped";

fn enveloped(row: &Row<'_>) -> rusqlite::Result<EnvelopedRecord> {
    let carriers: String = row.get(4)?;
    Ok(EnvelopedRecord {
        conversation: uuid(row, 0)?,
        conversation_type: row.get(1)?,
        creation_secret: Zeroizing::new(row.get(2)?),
        listening: row.get(3)?,
        carriers: serde_json::from_str(&carriers).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(error))
        })?,
        state: Zeroizing::new(row.get(5)?),
        due_at: row.get(6)?,
        continues: row.get::<_, Option<uuid::Uuid>>(7)?.map(Into::into),
    })
}

impl ReadTx<'_> {
    /// A conversation that travels in envelopes; none for one that a hub carries.
    pub fn enveloped(&self, id: ConversationId) -> Result<Option<EnvelopedRecord>, StoreError> {
        first(&self.tx, &format!("{ENVELOPED} WHERE conversation = ?1"), [id.as_uuid()], enveloped)
    }

    /// The conversations that go on with this one.
    pub fn continuing(&self, id: ConversationId) -> Result<Vec<EnvelopedRecord>, StoreError> {
        let sql = format!("{ENVELOPED} WHERE continues = ?1 ORDER BY conversation");
        all(&self.tx, &sql, [id.as_uuid()], enveloped)
    }

    /// The conversation that shows what is said in this one; itself, unless it goes on with another.
    pub fn shown_as(&self, id: ConversationId) -> Result<ConversationId, StoreError> {
        let sql = "SELECT continues FROM enveloped WHERE conversation = ?1 AND continues IS NOT NULL";
        Ok(first(&self.tx, sql, [id.as_uuid()], |row| uuid(row, 0))?.unwrap_or(id))
    }

    /// The conversations whose topics are read, each with the names of its carriers.
    pub fn listening(&self) -> Result<Vec<EnvelopedRecord>, StoreError> {
        all(&self.tx, &format!("{ENVELOPED} WHERE listening ORDER BY conversation"), [], enveloped)
    }

    /// The conversations whose type has something to do by now, the most urgent first.
    pub fn enveloped_due(&self, now: i64) -> Result<Vec<ConversationId>, StoreError> {
        let sql = "SELECT conversation FROM enveloped WHERE due_at <= ?1 ORDER BY due_at";
        all(&self.tx, sql, [now], |row| uuid(row, 0))
    }

    /// When the next of them has.
    pub fn next_due(&self) -> Result<Option<i64>, StoreError> {
        Ok(first(&self.tx, "SELECT min(due_at) FROM enveloped", [], |row| row.get(0))?.flatten())
    }

    /// The hints that were written after this version by others than `writer`, in that order, and the version of all.
    pub fn hints_after(&self, version: u64, writer: u64) -> Result<(u64, Vec<HintsRecord>), StoreError> {
        let sql = "SELECT conversation, version, record FROM hints WHERE version > ?1 AND writer <> ?2 ORDER BY version";
        let params = (stored(version, "a version")?, writer.cast_signed());
        let records = all(&self.tx, sql, params, |row| {
            let record: Vec<u8> = row.get(2)?;
            Ok(HintsRecord {
                conversation: uuid(row, 0)?,
                version: number(row, 1)?,
                record: (!record.is_empty()).then_some(Zeroizing::new(record)),
            })
        })?;
        let latest =
            first(&self.tx, "SELECT coalesce(max(version), 0) FROM hints", [], |row| number(row, 0))?;
        Ok((latest.unwrap_or_default(), records))
    }

    /// The number of the next message of a conversation in which nobody else counts them.
    pub fn next_sequence(&self, id: ConversationId) -> Result<Sequence, StoreError> {
        Ok(self.last_content(id)?.map_or(Sequence::new(1), |(last, _)| last.next()))
    }
}

impl WriteTx<'_> {
    /// Writes a conversation that travels in envelopes.
    pub fn put_enveloped(&mut self, record: &EnvelopedRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO enveloped (conversation, type, creation_secret, listening, carriers, state, due_at, continues) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET listening = excluded.listening, \
                   carriers = excluded.carriers, state = excluded.state, due_at = excluded.due_at";
        let EnvelopedRecord {
            conversation,
            conversation_type,
            creation_secret,
            listening,
            carriers,
            state,
            due_at,
            continues,
        } = record;
        let carriers = serde_json::to_string(carriers).expect("texts are always JSON");
        let (secret, state) = (creation_secret.as_slice(), state.as_slice());
        let continues = continues.map(|id| id.as_uuid());
        let params = (
            conversation.as_uuid(),
            conversation_type,
            secret,
            listening,
            carriers,
            state,
            due_at,
            continues,
        );
        execute(&self.tx, sql, params).map(drop)
    }

    /// Notes what its type keeps of a conversation, and when it has something to do.
    pub fn set_enveloped_state(
        &mut self,
        id: ConversationId,
        state: &[u8],
        due_at: Option<i64>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE enveloped SET state = ?2, due_at = ?3 WHERE conversation = ?1";
        execute(&self.tx, sql, (id.as_uuid(), state, due_at)).map(drop)
    }

    /// Notes that what a conversation's type has to do cannot be done before this time.
    pub fn postpone_enveloped(&mut self, id: ConversationId, due_at: i64) -> Result<(), StoreError> {
        let sql = "UPDATE enveloped SET due_at = ?2 WHERE conversation = ?1";
        execute(&self.tx, sql, (id.as_uuid(), due_at)).map(drop)
    }

    /// Notes whether the topic of a conversation is read.
    pub fn set_listening(&mut self, id: ConversationId, listening: bool) -> Result<(), StoreError> {
        let sql = "UPDATE enveloped SET listening = ?2 WHERE conversation = ?1";
        execute(&self.tx, sql, (id.as_uuid(), listening)).map(drop)
    }

    /// Forgets what carries a conversation, and with it its secret and its hints. Its messages stay.
    pub fn forget_enveloped(&mut self, id: ConversationId, writer: u64) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM enveloped WHERE conversation = ?1", [id.as_uuid()])?;
        execute(&self.tx, "DELETE FROM echoes WHERE conversation = ?1", [id.as_uuid()])?;
        self.put_hints(id, &[], writer)
    }

    /// Writes the hints of a conversation in the place of those before; nothing for one that is forgotten. `writer` is a number of
    /// this process.
    pub fn put_hints(&mut self, id: ConversationId, record: &[u8], writer: u64) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO hints (conversation, version, writer, record) \
                   VALUES (?1, (SELECT coalesce(max(version), 0) + 1 FROM hints), ?2, ?3)";
        execute(&self.tx, sql, (id.as_uuid(), writer.cast_signed(), record)).map(drop)
    }
}
