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
//! | [`disable_history_sharing`](crate::ConversationGuard::disable_history_sharing), or its removal | removed | |
//!
//! The price is forward secrecy: as long as anybody keeps the secret of a span, the ciphertexts of that span can be opened
//! with it. The members see that history is on, for the history client is in the roster.

mod frame;
mod keep;
mod observe;
mod plan;
mod reader;
mod secret;

pub(crate) use self::{
    frame::{LABEL, unframe},
    plan::{HistoryChange, HistoryPlan, keep_with_pending},
};
pub use self::{keep::HistorySpan, observe::HistoryObserver, reader::HistoryClient, secret::HistorySecret};
use crate::{
    CommitOptions, CommitSummary, ConversationGuard, ConversationId, EngineError, Result, Session,
    overlay::{Overlay, RecordKind},
};

/// Most spans that are kept per conversation, the newest.
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
    /// begin earlier. [`EngineError::HistoryNotHeld`] when there is none.
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

    /// A message that gives history to all members of this epoch, for those who came without: by external commit, or
    /// when nobody held it. To be sent like an application message, which it is to the hub.
    pub fn encrypt_history(&mut self, sharing: HistorySharing) -> Result<Vec<u8>> {
        let spans = self.shared_spans(sharing)?;
        if spans.is_empty() {
            let epoch = self.epoch()?;
            return Err(EngineError::HistoryNotHeld { epoch });
        }
        let payload = frame::frame(&spans, None)?;
        self.encrypt(&payload, LABEL)
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

/// Deletes all history of a conversation.
pub(crate) fn wipe(overlay: &Overlay, id: &ConversationId) -> Result<()> {
    overlay.delete_records(RecordKind::History, id.as_bytes())?;
    overlay.delete_record(RecordKind::PendingHistory.of(id.as_bytes(), b""));
    Ok(())
}
