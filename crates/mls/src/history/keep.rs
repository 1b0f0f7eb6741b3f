//! What a device keeps of history, and what it takes from others.

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;

use super::{HistoryClient, HistorySecret, MAX_HISTORY_SPANS, frame::SharedSpan};
use crate::{
    ClientId, ConversationGuard, ConversationId, EngineError, Result,
    events::Event,
    overlay::{Overlay, RecordKind},
    provider::MlsGroup,
    record::{decode, encode, known_version},
};

const VERSION: u16 = 1;

/// A span of history whose secret is held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistorySpan {
    /// The first epoch that can be read.
    pub first_epoch: u64,
    /// The last epoch that can be read. None while the span is open. A device that was not there when it ended may have a
    /// later one here than is true.
    pub last_epoch: Option<u64>,
    /// What opens it.
    pub secret: HistorySecret,
}

/// A span in the store.
#[derive(PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
struct HistoryRecord {
    version: u16,
    last_epoch: Option<u64>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    secret: Zeroizing<Vec<u8>>,
}

const WHAT: &str = "history";

impl HistoryRecord {
    fn of(span: &HistorySpan) -> Self {
        Self {
            version: VERSION,
            last_epoch: span.last_epoch,
            secret: Zeroizing::new(span.secret.as_bytes().to_vec()),
        }
    }

    fn into_span(self) -> Result<HistorySpan> {
        known_version(self.version, VERSION, WHAT)?;
        let secret = HistorySecret::from_secret(self.secret)
            .map_err(|error| EngineError::DamagedState { what: WHAT, source: Some(Box::new(error)) })?;
        Ok(HistorySpan { first_epoch: secret.first_epoch(), last_epoch: self.last_epoch, secret })
    }
}

/// The spans that are held, the oldest first.
pub(super) fn spans(overlay: &Overlay, id: &ConversationId) -> Result<Vec<HistorySpan>> {
    let records = overlay.records(RecordKind::History, id.as_bytes())?;
    records.iter().map(|(_, bytes)| decode::<HistoryRecord>(bytes, WHAT)?.into_span()).collect()
}

/// The spans that are held and can be read. A damaged one must not keep the conversation from going on.
pub(super) fn readable_spans(overlay: &Overlay, id: &ConversationId) -> Result<Vec<HistorySpan>> {
    let records = overlay.records(RecordKind::History, id.as_bytes())?;
    let mut spans = Vec::with_capacity(records.len());
    for (_, bytes) in &records {
        match decode::<HistoryRecord>(bytes, WHAT).and_then(HistoryRecord::into_span) {
            Ok(span) => spans.push(span),
            Err(error) => tracing::warn!(conversation = %id, %error, "a history secret cannot be read"),
        }
    }
    Ok(spans)
}

/// Keeps a span, and at most so many of them, the newest.
fn keep(overlay: &Overlay, id: &ConversationId, span: &HistorySpan) -> Result<()> {
    let bytes = encode(&HistoryRecord::of(span), WHAT)?;
    overlay.put_record(RecordKind::History.of(id.as_bytes(), &span.first_epoch.to_be_bytes()), bytes);
    let held = overlay.records(RecordKind::History, id.as_bytes())?;
    let too_many = held.len().saturating_sub(MAX_HISTORY_SPANS);
    for (key, _) in held.iter().take(too_many) {
        overlay.delete_record(RecordKind::History.of(id.as_bytes(), key));
    }
    Ok(())
}

/// Keeps the secret that a commit begins, until the commit is settled.
pub(super) fn keep_pending(overlay: &Overlay, id: &ConversationId, secret: &HistorySecret) -> Result<()> {
    let span = HistorySpan { first_epoch: secret.first_epoch(), last_epoch: None, secret: secret.clone() };
    let bytes = encode(&HistoryRecord::of(&span), WHAT)?;
    overlay.put_record(RecordKind::PendingHistory.of(id.as_bytes(), b""), bytes);
    Ok(())
}

impl ConversationGuard<'_> {
    /// After an own commit is merged: ends the spans that it ended, and keeps the secret that it begins. To be called
    /// before what is pending is deleted.
    pub(crate) fn merge_history(&mut self) -> Result<()> {
        let overlay = self.overlay()?.clone();
        self.close_history()?;
        if let Some(bytes) = overlay.record(&RecordKind::PendingHistory.of(self.id.as_bytes(), b""))? {
            let span = decode::<HistoryRecord>(&bytes, WHAT)?.into_span()?;
            keep(&overlay, &self.id, &span)?;
            self.tell_history(&span.secret)?;
        }
        Ok(())
    }

    /// Ends the open spans whose history client is not a member any more.
    pub(crate) fn close_history(&mut self) -> Result<()> {
        let overlay = self.overlay()?.clone();
        let id = self.id.clone();
        let mut open = readable_spans(&overlay, &id)?;
        open.retain(|span| span.last_epoch.is_none());
        if open.is_empty() {
            return Ok(());
        }
        let group = &self.loaded()?.group;
        let before = group.current_epoch().saturating_sub(1);
        for mut span in open {
            if !is_member(group, &span.secret) {
                span.last_epoch = Some(before.max(span.first_epoch));
                keep(&overlay, &id, &span)?;
            }
        }
        Ok(())
    }

    /// The same after another's commit, if that may have removed the history client. When it fails, so does the commit.
    pub(crate) fn close_history_after(&mut self, is_external: bool, removed: &[ClientId]) -> Result<()> {
        if !is_external && !removed.iter().any(ClientId::is_history_client) {
            return Ok(());
        }
        let closed = self.close_history();
        if closed.is_err() {
            self.restore()?;
        }
        closed
    }

    /// Keeps what is new and true of the spans that came in a message of `epoch`. What is not is dropped: the message may
    /// be a member's bad joke.
    pub(crate) fn receive_history(&mut self, epoch: u64, shared: Vec<SharedSpan>) -> Result<()> {
        let overlay = self.overlay()?.clone();
        for span in shared {
            // What a member sends never pushes out what is held: it may be made up.
            if overlay.records(RecordKind::History, self.id.as_bytes())?.len() >= MAX_HISTORY_SPANS {
                tracing::warn!(conversation = %self.id, "a history secret was dropped: too many are held");
                break;
            }
            let secret = match HistorySecret::from_secret(span.secret) {
                Ok(secret) => secret,
                Err(error) => {
                    tracing::warn!(conversation = %self.id, %error, "a history secret was dropped");
                    continue;
                }
            };
            let first = secret.first_epoch().to_be_bytes();
            if overlay.record(&RecordKind::History.of(self.id.as_bytes(), &first))?.is_some() {
                continue;
            }
            match self.checked_span(epoch, secret, span.last_epoch) {
                Ok(span) => {
                    keep(&overlay, &self.id, &span)?;
                    self.tell_history(&span.secret)?;
                }
                Err(EngineError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(conversation = %self.id, %error, "a history secret was dropped");
                }
            }
        }
        Ok(())
    }

    /// A received span, as far as this device can check it: it opens, is of this conversation, and ends where it can.
    fn checked_span(
        &mut self,
        epoch: u64,
        secret: HistorySecret,
        last_epoch: Option<u64>,
    ) -> Result<HistorySpan> {
        let refused = || EngineError::InvalidHistorySecret(None);
        let first_epoch = secret.first_epoch();
        let is_history = secret.content()?.credential()?.client_id.is_history_client();
        if !is_history || *secret.conversation_id() != self.id || first_epoch > epoch {
            return Err(refused());
        }
        if last_epoch.is_some_and(|last| last < first_epoch || last >= epoch) {
            return Err(refused());
        }
        let config = self.config();
        let client = HistoryClient::open(&secret, &config)?;
        let loaded = self.loaded()?;
        let current = loaded.group.current_epoch();
        let last_epoch = match last_epoch {
            Some(last) => Some(last),
            None if is_member(&loaded.group, &secret) => None,
            // It came late: the span has ended meanwhile, at the latest with the epoch before this one.
            None if epoch < current => Some(current - 1),
            None => return Err(refused()),
        };
        if first_epoch == current {
            // Both are in the same epoch, and so must be in the same group.
            let own = loaded.group.epoch_authenticator().map_err(|_| refused())?;
            if own.as_bytes() != client.epoch_authenticator()? {
                return Err(refused());
            }
        }
        Ok(HistorySpan { first_epoch, last_epoch, secret })
    }

    /// Lets the observers know of a secret, once it is on disk.
    fn tell_history(&mut self, secret: &HistorySecret) -> Result<()> {
        tracing::debug!(conversation = %self.id, epoch = secret.first_epoch(), "a history secret is held");
        let event = Event::HistoryClientCreated { conversation: self.id.clone(), secret: secret.clone() };
        self.tx.writing_mut()?.note(event);
        Ok(())
    }
}

/// Whether the secret's client is in the group, with the secret's key.
fn is_member(group: &MlsGroup, secret: &HistorySecret) -> bool {
    let Ok(credential) = secret.content().and_then(|content| content.credential()) else { return false };
    let identity = credential.signing_identity();
    group.roster().members_iter().any(|member| member.signing_identity == identity)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_format_of_a_span_is_the_released_one() {
        let record =
            HistoryRecord { version: VERSION, last_epoch: Some(3), secret: Zeroizing::new(vec![1, 2]) };
        let bytes = encode(&record, WHAT).unwrap();
        assert_eq!(hex::encode(&bytes[..]), "0001010000000000000003020102");
        assert!(decode::<HistoryRecord>(&bytes, WHAT).unwrap() == record);
    }
}
