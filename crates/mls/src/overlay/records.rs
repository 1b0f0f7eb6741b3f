//! What the engine keeps beside groups, credentials and key packages.

use tertulia_store::RecordKey;

use super::{Overlay, Secret};
use crate::Result;

/// The sorts of records, with what owns them and what they are found by. The numbers are stored: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum RecordKind {
    /// A message that waits for its epoch or its proposals. Of a conversation, by its number as eight bytes, big-endian.
    /// What else there is by other keys, `receive/buffer.rs` says.
    Buffered = 1,
    /// The parent of a conversation. Of the child, by nothing.
    Parent = 2,
    /// A child of a conversation, empty. Of the parent, by the child's id.
    Child = 3,
    /// A certificate revocation list. Of nobody, by a digest of its distribution point, its issuer and the issuer's key; in
    /// version 1 by its distribution point.
    Crl = 4,
    /// A certificate that is trusted, or helps to build chains. Of nobody, by its SHA-256.
    Certificate = 5,
    /// A pre-shared key. Of nobody, by its id.
    Psk = 6,
    /// A span of history. Of a conversation, by its first epoch as eight bytes, big-endian; an unverified one by a ninth, its
    /// place among those with the same epoch.
    History = 7,
    /// When the own leaf's keys are due to be rotated. Of nobody, by the conversation's id.
    Rotation = 8,
    /// The history secret that a pending commit begins. Of a conversation, by nothing.
    PendingHistory = 9,
    /// What opens a span of history. As the span.
    HistorySecret = 10,
    /// A history client that this device has seen. Of a conversation, by the epoch as eight bytes, big-endian, and a digest.
    /// By nothing: since when.
    HistorySeen = 11,
    /// What tells one state of the certificates and lists from another. Of nobody, by nothing.
    TrustState = 16,
    /// The group info that a pending join was made with. Of a conversation, by nothing.
    PendingJoin = 17,
}

impl RecordKind {
    /// The record of this kind with this owner and key.
    pub(crate) fn of(self, owner: &[u8], key: &[u8]) -> RecordKey {
        RecordKey { kind: self as u16, owner: owner.to_vec(), key: key.to_vec() }
    }
}

impl Overlay {
    pub(crate) fn record(&self, key: &RecordKey) -> Result<Option<Secret>> {
        if let Some(change) = self.changes().records.get(key) {
            return Ok(change.clone());
        }
        self.stored(|tx| tx.record(key))
    }

    /// All records of a kind and an owner, in the order of their keys.
    pub(crate) fn records(&self, kind: RecordKind, owner: &[u8]) -> Result<Vec<(Vec<u8>, Secret)>> {
        let mut records = self.stored(|tx| tx.records(kind as u16, owner))?;
        for (key, change) in &self.changes().records {
            if key.kind != kind as u16 || key.owner != owner {
                continue;
            }
            let place = records.binary_search_by(|(other, _)| other.cmp(&key.key));
            match (place, change) {
                (Ok(at), Some(value)) => records[at].1.clone_from(value),
                (Ok(at), None) => drop(records.remove(at)),
                (Err(at), Some(value)) => records.insert(at, (key.key.clone(), value.clone())),
                (Err(_), None) => {}
            }
        }
        Ok(records)
    }

    pub(crate) fn put_record(&self, key: RecordKey, value: Secret) {
        self.changes().records.insert(key, Some(value));
    }

    pub(crate) fn delete_record(&self, key: RecordKey) {
        self.changes().records.insert(key, None);
    }

    /// Deletes all records of a kind and an owner.
    pub(crate) fn delete_records(&self, kind: RecordKind, owner: &[u8]) -> Result<()> {
        for (key, _) in self.records(kind, owner)? {
            self.delete_record(kind.of(owner, &key));
        }
        Ok(())
    }
}
