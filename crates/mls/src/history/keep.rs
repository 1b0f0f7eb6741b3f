//! What a device keeps of history, and what has to give way.
//!
//! Of each span there is a small record, and the secret in another: a Welcome is in it, which grows with the group, and most
//! of the time only the small one is looked at. A span that this device has checked stands alone for its first epoch.
//! Unchecked ones stand side by side, a bounded number of each member, for one of them may be made up.

mod held;

use tertulia_store::RecordKey;
use zeroize::Zeroizing;

pub(super) use self::held::Held;
use self::held::{WHOLE_VERSION, WholeRecord};
use super::{HistorySecret, MAX_HISTORY_SPANS, seen::ClientDigest};
use crate::{
    ClientId, ConversationId, EngineError, Result,
    overlay::{Overlay, RecordKind},
    record::{decode, encode},
};

const WHAT: &str = "history";

/// Most spans with the same first epoch that are kept as long as none of them is verified.
const MAX_RIVALS: usize = 8;

/// Most of them from one member, who may give on what it could not check either.
pub(super) const MAX_RIVALS_OF_ONE: usize = 4;

/// A span of history whose secret is held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistorySpan {
    /// The first epoch that can be read.
    pub first_epoch: u64,
    /// The last epoch that can be read. None while the span is open. A device that was not there when it ended may have
    /// another one here than is true: what a member has told it.
    pub last_epoch: Option<u64>,
    /// What opens it.
    pub secret: HistorySecret,
    /// Whether this device knows that the secret is that of this conversation: it has made it, or it was a member when the
    /// span began and has compared the epoch authenticator, or it has
    /// [confirmed](crate::ConversationGuard::confirm_history) it.
    ///
    /// A newcomer cannot check what came before it. What an unverified span opens is to be shown as *said by a member to
    /// be history*, [`shared_by`](Self::shared_by). There can be several with the same first epoch:
    /// one with which the log cannot be read is made up or damaged; drop it
    /// ([`forget_history`](crate::ConversationGuard::forget_history)) and read with the next.
    pub is_verified: bool,
    /// The member who sent it. None for what this device has made itself, or an older version received.
    pub shared_by: Option<ClientId>,
}

/// Where there is room for a span.
enum Place {
    Free,
    /// In the place of the span with this key.
    Of(Vec<u8>),
    None,
}

/// The spans of a conversation that are held, the oldest first.
pub(super) struct Spans<'a> {
    overlay: &'a Overlay,
    id: &'a ConversationId,
    held: Vec<Held>,
}

impl<'a> Spans<'a> {
    /// Those that can be read. A damaged one must not keep the conversation from going on.
    pub(super) fn readable(overlay: &'a Overlay, id: &'a ConversationId) -> Result<Self> {
        let mut held = Vec::new();
        for (key, bytes) in overlay.records(RecordKind::History, id.as_bytes())? {
            match Held::from_record(&key, &bytes) {
                Ok(span) => held.push(span),
                Err(error) => tracing::warn!(conversation = %id, %error, "a history secret cannot be read"),
            }
        }
        Ok(Self { overlay, id, held })
    }

    /// All of them, or an error.
    pub(super) fn all(overlay: &'a Overlay, id: &'a ConversationId) -> Result<Self> {
        let records = overlay.records(RecordKind::History, id.as_bytes())?;
        let held = records.iter().map(|(key, bytes)| Held::from_record(key, bytes));
        Ok(Self { overlay, id, held: held.collect::<Result<_>>()? })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.iter()
    }

    /// A span with its secret.
    pub(super) fn span(&self, held: &Held) -> Result<HistorySpan> {
        let secret = match &held.secret {
            Some(secret) => secret.clone(),
            None => self.stored_secret(held)?,
        };
        Ok(HistorySpan {
            first_epoch: held.first_epoch,
            last_epoch: held.last_epoch,
            secret,
            is_verified: held.is_verified,
            shared_by: held.shared_by.clone(),
        })
    }

    fn stored_secret(&self, held: &Held) -> Result<HistorySecret> {
        let lost = EngineError::DamagedState { what: WHAT, source: None };
        let Some(bytes) = self.overlay.record(&self.key(RecordKind::HistorySecret, held))? else {
            return Err(lost);
        };
        let secret = HistorySecret::from_secret(bytes).map_err(damaged)?;
        let is_its_own = secret.first_epoch() == held.first_epoch && secret.checksum()? == held.checksum;
        if is_its_own { Ok(secret) } else { Err(lost) }
    }

    /// Keeps a verified span, in the place of all unverified ones of its first epoch. If there are too many, the oldest
    /// unverified one has to go, or else the oldest. Whether it is kept: not if it is that.
    pub(super) fn keep_verified(&mut self, mut span: Held) -> Result<bool> {
        span.is_verified = true;
        span.key = span.first_epoch.to_be_bytes().to_vec();
        let key = span.key.clone();
        let rivals: Vec<Vec<u8>> = self
            .iter()
            .filter(|held| held.first_epoch == span.first_epoch)
            .map(|held| held.key.clone())
            .collect();
        for rival in &rivals {
            self.remove(rival);
        }
        self.insert(span)?;
        while self.held.len() > MAX_HISTORY_SPANS {
            let goes = self.iter().find(|held| !held.is_verified).or(self.held.first());
            let Some(goes) = goes.map(|held| held.key.clone()) else { break };
            self.remove(&goes);
        }
        Ok(self.iter().any(|held| held.key == key))
    }

    /// Whether there is a place for an unverified span of this member: who has sent much does not take the others' places,
    /// and nobody takes that of a verified one.
    pub(super) fn has_place(&self, first_epoch: u64, sender: Option<&ClientId>) -> bool {
        let rivals = || self.iter().filter(|held| held.first_epoch == first_epoch);
        let theirs = rivals().filter(|held| held.shared_by.as_ref() == sender);
        rivals().all(|held| !held.is_verified)
            && rivals().count() < MAX_RIVALS
            && theirs.count() < MAX_RIVALS_OF_ONE
            && !matches!(self.place(sender), Place::None)
    }

    /// Keeps an unverified span, for which there is a [place](Self::has_place).
    pub(super) fn keep_unverified(&mut self, mut span: Held) -> Result<()> {
        if let Place::Of(other) = self.place(span.shared_by.as_ref()) {
            self.remove(&other);
        }
        let key = |place: u8| [&span.first_epoch.to_be_bytes()[..], &[place]].concat();
        let free = (0..u8::MAX).map(key).find(|key| self.iter().all(|held| held.key != *key));
        let Some(free) = free else { return Ok(()) };
        span.is_verified = false;
        span.key = free;
        self.insert(span)
    }

    /// The place for an unverified span of this member.
    fn place(&self, sender: Option<&ClientId>) -> Place {
        if self.held.len() < MAX_HISTORY_SPANS {
            return Place::Free;
        }
        let unverified = || self.iter().filter(|held| !held.is_verified);
        let count = |of: Option<&ClientId>| unverified().filter(|held| held.shared_by.as_ref() == of).count();
        let Some(one) = unverified().max_by_key(|held| count(held.shared_by.as_ref())) else {
            return Place::None;
        };
        let most = one.shared_by.as_ref();
        if count(most) <= count(sender) + 1 {
            return Place::None;
        }
        let oldest = unverified().find(|held| held.shared_by.as_ref() == most);
        oldest.map_or(Place::None, |held| Place::Of(held.key.clone()))
    }

    /// Ends the open spans whose history client is not among those that are `here`, with this epoch.
    pub(super) fn close(&mut self, here: &[ClientDigest], epoch: u64) -> Result<()> {
        for at in 0..self.held.len() {
            if self.held[at].last_epoch.is_none() && !here.contains(&self.held[at].client) {
                let mut span = self.held[at].clone();
                span.last_epoch = Some(epoch.max(span.first_epoch));
                self.insert(span)?;
            }
        }
        Ok(())
    }

    /// Forgets the spans with this secret. Whether there were any.
    pub(super) fn forget(&mut self, secret: &HistorySecret) -> Result<bool> {
        let checksum = secret.checksum()?;
        let gone: Vec<_> =
            self.iter().filter(|held| held.checksum == checksum).map(|held| held.key.clone()).collect();
        for key in &gone {
            self.remove(key);
        }
        Ok(!gone.is_empty())
    }

    /// Writes a span in its place.
    fn insert(&mut self, mut span: Held) -> Result<()> {
        self.overlay.put_record(self.key(RecordKind::History, &span), span.to_record()?);
        if let Some(secret) = span.secret.take() {
            let bytes = Zeroizing::new(secret.as_bytes().to_vec());
            self.overlay.put_record(self.key(RecordKind::HistorySecret, &span), bytes);
        }
        match self.held.binary_search_by(|held| held.key.cmp(&span.key)) {
            Ok(at) => self.held[at] = span,
            Err(at) => self.held.insert(at, span),
        }
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) {
        self.overlay.delete_record(RecordKind::History.of(self.id.as_bytes(), key));
        self.overlay.delete_record(RecordKind::HistorySecret.of(self.id.as_bytes(), key));
        self.held.retain(|held| held.key != key);
    }

    fn key(&self, kind: RecordKind, held: &Held) -> RecordKey {
        kind.of(self.id.as_bytes(), &held.key)
    }
}

/// The spans with their secrets, the oldest first.
pub(super) fn spans(overlay: &Overlay, id: &ConversationId) -> Result<Vec<HistorySpan>> {
    let spans = Spans::all(overlay, id)?;
    spans.iter().map(|held| spans.span(held)).collect()
}

/// Keeps the secret that a commit begins, until the commit is settled.
pub(super) fn keep_pending(overlay: &Overlay, id: &ConversationId, secret: &HistorySecret) -> Result<()> {
    let secret = Zeroizing::new(secret.as_bytes().to_vec());
    let bytes = encode(&WholeRecord { version: WHOLE_VERSION, last_epoch: None, secret }, WHAT)?;
    overlay.put_record(RecordKind::PendingHistory.of(id.as_bytes(), b""), bytes);
    Ok(())
}

/// The secret that the pending commit begins.
pub(super) fn pending(overlay: &Overlay, id: &ConversationId) -> Result<Option<HistorySecret>> {
    let bytes = overlay.record(&RecordKind::PendingHistory.of(id.as_bytes(), b""))?;
    bytes.map(|bytes| decode::<WholeRecord>(&bytes, WHAT)?.into_secret()).transpose()
}

fn damaged(error: EngineError) -> EngineError {
    EngineError::DamagedState { what: WHAT, source: Some(Box::new(error)) }
}

#[cfg(test)]
mod tests;
