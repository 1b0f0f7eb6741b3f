//! The commits that wait for their outcome.

use super::{Overlay, RecordKind};
use crate::{
    ConversationId, Result,
    long_secret::LongSecret,
    record::{PendingHead, PendingRecord},
};

/// A pending commit as it is stored.
#[derive(Clone)]
pub(super) struct PendingChange {
    pub(super) head: Vec<u8>,
    pub(super) body: LongSecret,
}

impl Overlay {
    /// What tells the commit that waits for its outcome from others.
    pub(crate) fn pending(&self, id: &[u8]) -> Result<Option<PendingHead>> {
        let changed =
            self.changes().pending.get(id).map(|change| change.as_ref().map(|change| change.head.clone()));
        if let Some(head) = changed {
            return head.map(|head| PendingHead::from_bytes(&head)).transpose();
        }
        if let Some(known) = self.changes().stored_pending.get(id) {
            return Ok(known.clone());
        }
        let pending = self.read_pending(id)?;
        // Nobody else changes it before the transaction ends.
        if self.writer().strong_count() > 0 {
            self.changes().stored_pending.insert(id.to_vec(), pending.clone());
        }
        Ok(pending)
    }

    fn read_pending(&self, id: &[u8]) -> Result<Option<PendingHead>> {
        let (head, body) = self.stored(|tx| {
            let head = tx.pending_head(id)?;
            // Of the first version, which is all in one.
            let is_first = head.as_ref().is_some_and(Vec::is_empty);
            Ok((head, if is_first { tx.pending_body(id)? } else { None }))
        })?;
        match (head, body) {
            (_, Some(body)) => Ok(Some(PendingRecord::from_version_1(&body)?.head)),
            (Some(head), None) => PendingHead::from_bytes(&head).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The two parts of the commit that waits for its outcome, as they are stored.
    pub(crate) fn pending_parts(&self, id: &[u8]) -> Result<Option<(Vec<u8>, LongSecret)>> {
        let changed = self.changes().pending.get(id).cloned();
        match changed {
            Some(change) => Ok(change.map(|change| (change.head, change.body))),
            None => {
                self.stored(|tx| Ok(tx.pending_head(id)?.zip(tx.pending_body(id)?.map(LongSecret::from))))
            }
        }
    }

    pub(crate) fn pending_ids(&self) -> Result<Vec<ConversationId>> {
        let mut ids = self.stored(|tx| tx.pending_commit_ids())?;
        for (id, change) in &self.changes().pending {
            ids.retain(|stored| stored != id);
            if change.is_some() {
                ids.push(id.clone());
            }
        }
        Ok(ids.into_iter().map(ConversationId::from).collect())
    }

    /// Keeps a commit until its outcome is known. `tree` as [`PendingRecord`]'s body has it.
    pub(crate) fn set_pending(&self, id: &[u8], record: &PendingRecord, tree: &[u8]) -> Result<()> {
        let (head, body) = (record.head.to_bytes()?.to_vec(), record.body.to_bytes(tree)?);
        let change = PendingChange { head, body };
        self.changes().pending.insert(id.to_vec(), Some(change));
        Ok(())
    }

    pub(crate) fn delete_pending(&self, id: &[u8]) {
        self.changes().pending.insert(id.to_vec(), None);
        self.delete_record(RecordKind::PendingHistory.of(id, b""));
        self.delete_record(RecordKind::PendingJoin.of(id, b""));
    }
}
