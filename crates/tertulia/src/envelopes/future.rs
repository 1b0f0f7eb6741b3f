//! Envelopes of this home's conversations that only a later version can read: kept within bounds, and taken again by that version.
//!
//! Only what a hint says to be of one of this home's conversations is kept. Who has seen a hint before this home has could put something under it, so the bounds
//! are tight, and what is kept says nothing until a version has read it that checks who has written it.

use super::{
    Work,
    taking::{Sight, count},
    types::At,
};
use crate::{Client, Result, SyncReport, apply::Applied};
use std::collections::BTreeSet;
use tertulia_conversation::{topic::ContentTopic, wire::Envelope};
use tertulia_domain::ConversationId;
use tertulia_store::UnsupportedEnvelope;
use tertulia_transport::Position;

/// What this version can read, as a number: to be raised whenever it reads something of an envelope that the one before could not.
const READS: u32 = 1;

impl Client {
    /// How many envelopes of this home's conversations wait for a later version of this program, which takes them when it first synchronises; and how many were dropped
    /// because others came.
    ///
    /// # Errors
    ///
    /// Those of the store.
    #[allow(clippy::unused_async)] // like its neighbours
    pub async fn unsupported_envelopes(&self) -> Result<(u64, u64)> {
        Ok(self.inner().store.read(|r| r.unsupported_envelopes())?)
    }

    /// What an envelope is whose outer shape this version does not know.
    pub(super) async fn sight_of_future(&self, bytes: &[u8]) -> Sight {
        let Some((hint, salt)) = Envelope::hint_of_unsupported(bytes) else { return Sight::Others };
        let hints = self.inner().hints.lock().await;
        match hints.table().conversation_of(&hint, salt) {
            Some(conversation) => Sight::Unsupported(conversation),
            None => Sight::Others,
        }
    }

    /// Keeps an envelope for a later version.
    pub(super) async fn keep_for_later(
        &self,
        bytes: Vec<u8>,
        conversation: ConversationId,
    ) -> Result<Applied> {
        tracing::info!(conversation = %conversation.short(), "an envelope is kept for a later version of this program");
        let mut work = Work::begin(self).await?;
        let now = work.now;
        let kept = UnsupportedEnvelope { bytes, conversation: Some(conversation) };
        work.applied.unsupported += 1;
        work.write(move |w| w.keep_unsupported(&kept, READS, now))?;
        work.finish().await
    }

    /// Takes what earlier versions have kept. What it is to be ordered by the carrier has too, so the topics are read again.
    pub(super) async fn take_kept(&self, report: &mut SyncReport) -> Result<()> {
        let kept = self.inner().store.read(|r| r.unread_before(READS))?;
        let Some(carrier) = self.carriers().iter().next().cloned().filter(|_| !kept.is_empty()) else {
            return Ok(());
        };
        self.inner().hints.lock().await.refresh(&self.inner().store)?;
        let mut conversations = BTreeSet::new();
        for UnsupportedEnvelope { bytes, conversation } in kept {
            conversations.extend(conversation);
            match self.sight(&bytes, false).await? {
                Sight::Ours(envelope) => {
                    let at = At { carrier: &*carrier, position: Position(0), again: true };
                    let applied = self.take_envelope(&envelope, at).await?;
                    let is_kept = applied.unsupported > 0;
                    count(report, &applied);
                    if is_kept {
                        continue;
                    }
                }
                Sight::Unsupported(conversation) => {
                    self.keep_for_later(bytes, conversation).await?;
                    continue;
                }
                _ => {}
            }
            let mut tx = self.inner().session.new_transaction().await?;
            tx.store_write(move |w| w.remove_unsupported(&bytes))?;
            tx.finish().await?;
        }
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            let topics = conversations.iter().map(|id| ContentTopic::of_conversation(id).to_string());
            topics.collect::<Vec<_>>().iter().try_for_each(|topic| w.reread_topic(topic))
        })?;
        Ok(tx.finish().await?)
    }
}

#[cfg(test)]
mod tests;
