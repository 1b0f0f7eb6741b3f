//! Envelopes on their way out and in: what each carrier has not taken yet, and how far topics were read.

use super::{all, execute, first, number, uuid};
use crate::{ReadTx, StoreError, WriteTx};
use rusqlite::Row;
use sha2::{Digest as _, Sha256};
use std::fmt;
use tertulia_domain::ConversationId;

/// Most envelopes that are kept for a later version to read, and most bytes of them.
const MOST_UNSUPPORTED: (u32, u32) = (1000, 16 << 20);
/// Most of one conversation, so that one does not push out those of all others.
const MOST_OF_ONE: (u32, u32) = (100, 4 << 20);

/// An envelope that is to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEnvelope {
    /// The conversation that it is of; of an invitation, the one that it is to.
    pub conversation: ConversationId,
    /// The content topic.
    pub topic: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The message of the outbox that is in it, if one is.
    pub outbox: Option<i64>,
    /// The names of the carriers that are to have it.
    pub carriers: Vec<String>,
    /// When it was made, milliseconds since 1970.
    pub created_at: i64,
}

impl fmt::Debug for NewEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEnvelope").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// An envelope that waits.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvelopeRow {
    /// Its number.
    pub id: i64,
    /// The conversation that it is of; of an invitation, the one that it is to.
    pub conversation: ConversationId,
    /// The content topic.
    pub topic: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The message of the outbox that is in it, if one is.
    pub outbox: Option<i64>,
    /// When it was made, milliseconds since 1970.
    pub created_at: i64,
}

impl fmt::Debug for EnvelopeRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvelopeRow").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An envelope that is kept for a later version to read.
#[derive(Clone, PartialEq, Eq)]
pub struct UnsupportedEnvelope {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The conversation that it is of, by its hint, if that was noted.
    pub conversation: Option<ConversationId>,
}

impl fmt::Debug for UnsupportedEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnsupportedEnvelope").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

const ENVELOPE: &str =
    "SELECT e.id, e.conversation, e.topic, e.bytes, e.outbox, e.created_at FROM envelopes e";

fn envelope(row: &Row<'_>) -> rusqlite::Result<EnvelopeRow> {
    Ok(EnvelopeRow {
        id: row.get(0)?,
        conversation: uuid(row, 1)?,
        topic: row.get(2)?,
        bytes: row.get(3)?,
        outbox: row.get(4)?,
        created_at: row.get(5)?,
    })
}

impl ReadTx<'_> {
    /// How far a topic was read at a carrier.
    pub fn topic_cursor(&self, carrier: &str, topic: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT cursor FROM topic_cursors WHERE carrier = ?1 AND topic = ?2";
        first(&self.tx, sql, [carrier, topic], |row| row.get(0))
    }

    /// The envelope with a message of the outbox.
    pub fn envelope_of(&self, outbox: i64) -> Result<Option<EnvelopeRow>, StoreError> {
        first(&self.tx, &format!("{ENVELOPE} WHERE e.outbox = ?1"), [outbox], envelope)
    }

    /// The carriers that have not taken an envelope yet.
    pub fn postings_of(&self, envelope: i64) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT carrier FROM postings WHERE envelope = ?1";
        all(&self.tx, sql, [envelope], |row| row.get(0))
    }

    /// The envelopes that a carrier has not taken yet, after this number, the oldest first.
    pub fn to_post(&self, carrier: &str, after: i64, limit: u32) -> Result<Vec<EnvelopeRow>, StoreError> {
        let sql = format!(
            "{ENVELOPE} JOIN postings p ON p.envelope = e.id WHERE p.carrier = ?1 AND e.id > ?2 ORDER BY e.id LIMIT ?3"
        );
        all(&self.tx, &sql, (carrier, after, limit), envelope)
    }

    /// The envelopes that a carrier has not taken yet and that are before this one in its conversation and topic, save those with messages of the outbox: the oldest first.
    pub fn to_post_before(&self, carrier: &str, of: &EnvelopeRow) -> Result<Vec<EnvelopeRow>, StoreError> {
        let sql = format!(
            "{ENVELOPE} JOIN postings p ON p.envelope = e.id \
             WHERE p.carrier = ?1 AND e.conversation = ?2 AND e.topic = ?3 AND e.id < ?4 AND e.outbox IS NULL ORDER BY e.id"
        );
        all(&self.tx, &sql, (carrier, of.conversation.as_uuid(), &of.topic, of.id), envelope)
    }

    /// The conversation of this device's own envelope with these bytes, if it waits to see its place.
    pub fn echo(&self, bytes: &[u8]) -> Result<Option<ConversationId>, StoreError> {
        let sql = "SELECT conversation FROM echoes WHERE digest = ?1";
        first(&self.tx, sql, [digest(bytes)], |row| uuid(row, 0))
    }

    /// Whether any own envelope waits to see its place.
    pub fn awaits_echoes(&self) -> Result<bool, StoreError> {
        Ok(first(&self.tx, "SELECT 1 FROM echoes LIMIT 1", [], |_| Ok(()))?.is_some())
    }

    /// The envelopes that no version up to before this one could read, as they came.
    pub fn unread_before(&self, version: u32) -> Result<Vec<UnsupportedEnvelope>, StoreError> {
        let sql =
            "SELECT bytes, conversation FROM unsupported_envelopes WHERE unread_by < ?1 ORDER BY received_at";
        all(&self.tx, sql, [version], |row| {
            let conversation = row.get::<_, Option<uuid::Uuid>>(1)?.map(Into::into);
            Ok(UnsupportedEnvelope { bytes: row.get(0)?, conversation })
        })
    }

    /// How many envelopes are kept for a later version, and how many were dropped because others came.
    pub fn unsupported_envelopes(&self) -> Result<(u64, u64), StoreError> {
        let kept = first(&self.tx, "SELECT count(*) FROM unsupported_envelopes", [], |row| number(row, 0))?;
        let dropped = first(&self.tx, "SELECT count FROM unsupported_dropped", [], |row| number(row, 0))?;
        Ok((kept.unwrap_or_default(), dropped.unwrap_or_default()))
    }
}

impl WriteTx<'_> {
    /// Notes how far a topic was read at a carrier.
    pub fn set_topic_cursor(&mut self, carrier: &str, topic: &str, cursor: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO topic_cursors (carrier, topic, cursor) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET cursor = excluded.cursor";
        execute(&self.tx, sql, [carrier, topic, cursor]).map(drop)
    }

    /// Puts an envelope into line for its carriers, and gives its number.
    pub fn put_envelope(&mut self, new: &NewEnvelope) -> Result<i64, StoreError> {
        let NewEnvelope { conversation, topic, bytes, outbox, carriers, created_at } = new;
        let sql = "INSERT INTO envelopes (conversation, topic, bytes, outbox, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
        execute(&self.tx, sql, (conversation.as_uuid(), topic, bytes, outbox, created_at))?;
        let id = self.tx.last_insert_rowid();
        for carrier in carriers {
            let sql = "INSERT OR IGNORE INTO postings (envelope, carrier) VALUES (?1, ?2)";
            execute(&self.tx, sql, (id, carrier))?;
        }
        Ok(id)
    }

    /// Notes that a carrier has an envelope, or will never have it. It goes once all do.
    pub fn posted(&mut self, envelope: i64, carrier: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM postings WHERE envelope = ?1 AND carrier = ?2";
        execute(&self.tx, sql, (envelope, carrier))?;
        let sql =
            "DELETE FROM envelopes WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM postings WHERE envelope = ?1)";
        execute(&self.tx, sql, [envelope]).map(drop)
    }

    /// Drops the envelope with a message of the outbox.
    pub fn drop_envelope_of(&mut self, outbox: i64) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM envelopes WHERE outbox = ?1", [outbox]).map(drop)
    }

    /// Notes that a carrier has the envelope with these bytes.
    pub fn posted_as(&mut self, bytes: &[u8], carrier: &str) -> Result<(), StoreError> {
        let sql = "SELECT id FROM envelopes WHERE bytes = ?1";
        for id in all(&self.tx, sql, [bytes], |row| row.get(0))? {
            self.posted(id, carrier)?;
        }
        Ok(())
    }

    /// Drops the envelope with these bytes, which is not to be sent any more.
    pub fn withdraw_envelope(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM envelopes WHERE bytes = ?1", [bytes]).map(drop)
    }

    /// Drops the envelopes with messages of a conversation that are in the outbox still, so that they are sealed anew.
    pub fn drop_sealed_messages(&mut self, conversation: ConversationId) -> Result<(), StoreError> {
        let sql = "DELETE FROM envelopes WHERE conversation = ?1 AND outbox IS NOT NULL";
        execute(&self.tx, sql, [conversation.as_uuid()]).map(drop)
    }

    /// Has a topic read from its beginning again, at all carriers.
    pub fn reread_topic(&mut self, topic: &str) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM topic_cursors WHERE topic = ?1", [topic]).map(drop)
    }

    /// Drops the envelopes of a conversation that no carrier has taken yet.
    pub fn drop_envelopes_of(&mut self, conversation: ConversationId) -> Result<(), StoreError> {
        let sql = "DELETE FROM envelopes WHERE conversation = ?1";
        execute(&self.tx, sql, [conversation.as_uuid()]).map(drop)
    }

    /// Drops what was made before this time, milliseconds since 1970, and waits for carriers that never came back, or are none of the home's any more.
    /// What is in the outbox stays.
    pub fn drop_old_envelopes(&mut self, before: i64) -> Result<usize, StoreError> {
        execute(&self.tx, "DELETE FROM envelopes WHERE created_at < ?1 AND outbox IS NULL", [before])
    }

    /// Notes that the message of an envelope has left the outbox. Carriers that lack the envelope still get it.
    pub fn release_envelope(&mut self, envelope: i64) -> Result<(), StoreError> {
        execute(&self.tx, "UPDATE envelopes SET outbox = NULL WHERE id = ?1", [envelope]).map(drop)
    }

    /// Waits to see the place of an own envelope with these bytes.
    pub fn await_echo(&mut self, bytes: &[u8], conversation: ConversationId) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO echoes (digest, conversation) VALUES (?1, ?2)";
        execute(&self.tx, sql, (digest(bytes), conversation.as_uuid())).map(drop)
    }

    /// Waits for it no longer.
    pub fn echoed(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM echoes WHERE digest = ?1", [digest(bytes)]).map(drop)
    }

    /// Keeps an envelope for a version after this one to read. Of what is kept the oldest go, and are counted, where there is too much of a conversation or in all.
    pub fn keep_unsupported(
        &mut self,
        envelope: &UnsupportedEnvelope,
        unread_by: u32,
        received_at: i64,
    ) -> Result<(), StoreError> {
        let UnsupportedEnvelope { bytes, conversation } = envelope;
        let sql = "INSERT INTO unsupported_envelopes (digest, bytes, received_at, conversation, unread_by) \
                   VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET unread_by = excluded.unread_by";
        let conversation = conversation.map(|id| id.as_uuid());
        execute(&self.tx, sql, (digest(bytes), bytes, received_at, conversation, unread_by))?;
        let mut dropped = 0;
        for (part, (most, most_bytes)) in [("PARTITION BY conversation", MOST_OF_ONE), ("", MOST_UNSUPPORTED)]
        {
            let sql = format!(
                "DELETE FROM unsupported_envelopes WHERE digest IN (SELECT digest FROM \
                 (SELECT digest, row_number() OVER newest AS place, sum(length(bytes)) OVER newest AS total \
                 FROM unsupported_envelopes \
                 WINDOW newest AS ({part} ORDER BY received_at DESC, digest ROWS UNBOUNDED PRECEDING)) \
                 WHERE place > ?1 OR total > ?2)"
            );
            dropped += execute(&self.tx, &sql, (most, most_bytes))?;
        }
        if dropped > 0 {
            let sql = "INSERT INTO unsupported_dropped (id, count) VALUES (1, ?1) \
                       ON CONFLICT DO UPDATE SET count = count + excluded.count";
            execute(&self.tx, sql, [u32::try_from(dropped).unwrap_or(u32::MAX)])?;
        }
        Ok(())
    }

    /// Forgets an envelope that was kept for this version to read.
    pub fn remove_unsupported(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        execute(&self.tx, "DELETE FROM unsupported_envelopes WHERE digest = ?1", [digest(bytes)]).map(drop)
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
