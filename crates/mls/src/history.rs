//! History sharing: letting newcomers read what was said before them, from a point that the members allowed.
//!
//! A **history client** is a member that no device is behind: `history-client:<uuid>`. Whoever enables history makes its
//! keys, adds it to the group by a commit, and sends its keys, the [`HistorySecret`], to all members of the new epoch in
//! the message that goes with that commit. Whoever holds the secret can replay the log as that member: from the epoch that
//! added the history client (the *first* of the span) to the one that its removal ends (the *last*), and nothing else.
//!
//! | commit | history client | sent with the commit |
//! |---|---|---|
//! | [`enable_history_sharing`](crate::ConversationGuard::enable_history_sharing) | added | the new secret, to all |
//! | adds members, while enabled | stays | the held secret, to all, which the newcomers need ([`HistorySharing`]) |
//! | removes somebody, while enabled | replaced | the new secret, to those who stay |
//! | any, when its leaf is about to expire | replaced | the new secret, to all |
//! | any, when another's commit has removed somebody and left it | replaced | the new secret, to all |
//! | [`rotate_history`](crate::ConversationGuard::rotate_history) | replaced | the new secret, to all |
//! | [`disable_history_sharing`](crate::ConversationGuard::disable_history_sharing), or its removal | removed | |
//!
//! What a member sends is checked against what this device has seen itself: [`HistorySpan::is_verified`].
//!
//! The price is forward secrecy: as long as anybody keeps the secret of a span, the ciphertexts of that span can be opened
//! with it. The members see that history is on, for the history client is in the roster.

mod frame;
mod keep;
mod observe;
mod plan;
mod reader;
mod receive;
mod secret;
mod seen;

use self::keep::Spans;
pub use self::{
    frame::MAX_SHARED_SPANS, keep::HistorySpan, observe::HistoryObserver, reader::HistoryClient,
    secret::HistorySecret,
};
pub(crate) use self::{
    frame::{LABEL, unframe},
    plan::{HistoryChange, HistoryPlan, keep_with_pending},
    seen::joined,
};
use crate::{
    CommitOptions, CommitSummary, ConversationGuard, ConversationId, EngineError, Result, Session,
    overlay::{Overlay, RecordKind},
};

/// Most spans that are kept per conversation: the newest, and verified ones before others.
pub const MAX_HISTORY_SPANS: usize = 64;

/// Which of the history that this device holds goes to whom a commit adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum HistorySharing {
    /// The span that is open, if history is enabled and its secret is held here.
    #[default]
    Current,
    /// Nothing of the past. A secret that the commit itself begins still goes to all members.
    Nothing,
    /// Every span that is held here and reaches this epoch or a later one. Spans are shared whole: the first of them may
    /// begin earlier. [`EngineError::HistoryNotHeld`] when there is none, and [`EngineError::TooMany`] when there are more
    /// than go with a commit ([`MAX_SHARED_SPANS`]): then share them by
    /// [`encrypt_history`](ConversationGuard::encrypt_history), which takes several messages.
    Since(u64),
}

impl ConversationGuard<'_> {
    /// Begins to share history: from the epoch that this commit begins, it can be given to whoever comes later.
    ///
    /// A history client is added by a commit, with which its secret goes to all members. It costs as much as adding a
    /// member to a group of this size, and a message of that size. Pending proposals go with the commit.
    pub async fn enable_history_sharing(&mut self) -> Result<CommitSummary> {
        self.commit_history(HistoryChange::Enable).await
    }

    /// Ends history sharing: what is sent after this commit is in no span. What is held stays held, also by others.
    pub async fn disable_history_sharing(&mut self) -> Result<CommitSummary> {
        self.commit_history(HistoryChange::Disable).await
    }

    /// Whether history is shared: a history client is a member.
    pub fn is_history_enabled(&mut self) -> Result<bool> {
        Ok(self.client_ids()?.iter().any(crate::ClientId::is_history_client))
    }

    /// The spans whose secrets this device holds, the oldest first.
    pub fn history_spans(&self) -> Result<Vec<HistorySpan>> {
        keep::spans(self.overlay()?, &self.id)
    }

    /// Begins another span with another history client: what is sent from this commit on cannot be read with the secret of
    /// the span before. To be called when [`needs_history_rotation`](Self::needs_history_rotation) says so, or to have a
    /// point from which to share.
    pub async fn rotate_history(&mut self) -> Result<CommitSummary> {
        self.commit_history(HistoryChange::Rotate).await
    }

    /// Whether somebody who was removed holds the secret of the open span, because the commit that removed them, of another
    /// implementation, has left the history client in its place. The next commit of this device replaces it, whatever its
    /// purpose; so that it does not wait for one, call [`rotate_history`](Self::rotate_history) after the
    /// [`delay`](crate::MlsConversationDecryptMessage::delay) that came with the removal. A device that joined after the
    /// removal does not know of it.
    pub fn needs_history_rotation(&self) -> Result<bool> {
        is_stale(self.overlay()?, &self.id)
    }

    /// Marks the reader's span as [verified](HistorySpan::is_verified), if it is this conversation's: pass it a reader that
    /// has read the log up to this device's epoch. So a newcomer makes sure of the open span. False, and nothing changes, if
    /// the reader is in another epoch, what it has read is not what this device is in, or the span is not held.
    pub fn confirm_history(&mut self, reader: &HistoryClient) -> Result<bool> {
        let group = &self.loaded()?.group;
        let own = group.epoch_authenticator().map_err(|error| EngineError::Library(Box::new(error)))?;
        // It depends on all commits of the conversation (RFC 9420, section 8.2): those in the span are the same.
        let is_same =
            reader.epoch() == group.current_epoch() && own.as_bytes() == reader.epoch_authenticator()?;
        if !is_same || reader.last_epoch().is_some() || *reader.conversation_id() != self.id {
            return Ok(false);
        }
        let mut spans = Spans::readable(self.overlay()?, &self.id)?;
        let checksum = reader.secret().checksum()?;
        let Some(held) = spans.iter().find(|held| held.checksum == checksum).cloned() else {
            return Ok(false);
        };
        let mut confirmed = keep::Held::new(reader.secret().clone(), None)?;
        confirmed.shared_by = held.shared_by;
        spans.keep_verified(confirmed)
    }

    /// Forgets a span whose secret has turned out to be made up or damaged, so that another can take its place. Whether it was
    /// held.
    pub fn forget_history(&mut self, secret: &HistorySecret) -> Result<bool> {
        Spans::readable(self.overlay()?, &self.id)?.forget(secret)
    }

    /// Messages that give history to all members of this epoch, for those who came without: by external commit, or when
    /// nobody held it. There are several if it is more than [`MAX_SHARED_SPANS`], or more than 128 KiB; the newest spans are in the last.
    /// To be sent like application messages, which they are to the hub.
    pub fn encrypt_history(&mut self, sharing: HistorySharing) -> Result<Vec<Vec<u8>>> {
        let spans = self.shared_spans(sharing)?;
        if spans.is_empty() {
            let epoch = self.epoch()?;
            return Err(EngineError::HistoryNotHeld { epoch });
        }
        let mut messages = Vec::new();
        let mut rest = &spans[..];
        while !rest.is_empty() {
            let (now, later) =
                rest.split_at(frame::fits(rest, frame::HANDY_BYTES, |span| span.secret.as_bytes().len()));
            messages.push(self.encrypt(&frame::frame(now, None)?, LABEL)?);
            rest = later;
        }
        Ok(messages)
    }

    async fn commit_history(&mut self, change: HistoryChange) -> Result<CommitSummary> {
        let record = self.stage(&[], &[], CommitOptions::default(), change)?;
        self.publish(record).await
    }
}

impl Session {
    /// The spans of a conversation whose secrets this device holds, the oldest first.
    pub fn history_spans(&self, id: &ConversationId) -> Result<Vec<HistorySpan>> {
        keep::spans(&Overlay::new(self.store().clone()), id)
    }

    /// Opens a span to be read, in memory. See [`HistoryClient`].
    pub fn open_history(&self, secret: &HistorySecret) -> Result<HistoryClient> {
        HistoryClient::open(secret, self.config())
    }
}

/// Whether somebody who is gone holds the secret of the open span.
pub(crate) fn is_stale(overlay: &Overlay, id: &ConversationId) -> Result<bool> {
    Ok(seen::Seen::load(overlay, id)?.is_stale())
}

/// Deletes all history of a conversation.
pub(crate) fn wipe(overlay: &Overlay, id: &ConversationId) -> Result<()> {
    for kind in [RecordKind::History, RecordKind::HistorySecret, RecordKind::HistorySeen] {
        overlay.delete_records(kind, id.as_bytes())?;
    }
    overlay.delete_record(RecordKind::PendingHistory.of(id.as_bytes(), b""));
    Ok(())
}
