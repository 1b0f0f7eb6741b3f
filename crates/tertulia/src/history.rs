//! Shared history: what those who come later may read, and giving them what opens it (decision 19).

mod replay;

use crate::{
    Client, Conversation, Error, Result, SyncReport,
    client::now,
    groups::Upkeep,
    sync::tolerate,
    todo::{Sharing, Todo},
};
use tertulia_api::{Code, setting::Setting};
use tertulia_domain::{ConversationId, History};
use tertulia_mls::{EngineError, HistorySharing, HistorySpan, MAX_SHARED_SPANS};
use tertulia_store::{NewOutboxMessage, OutboxKind, OutboxMessage};

/// Most bytes of keys that go with the commit that adds somebody; more go afterwards.
const MOST_WITH_COMMIT: usize = 1 << 20;

impl Client {
    /// Sets what those who come to a group or channel later may read of the messages from before: nothing, those of a certain age, or
    /// all from now on. What was sent before it is shared at all, nobody reads who comes later.
    ///
    /// It is for admins, where there is an MLS group. It takes a request to the hub and a commit; if this device is interrupted in
    /// between, the next [`sync`](Self::sync) does the rest. The members see that history is shared. As long as it is, whoever gets
    /// hold of a device and of the hub's log can read back to where it began.
    ///
    /// # Errors
    ///
    /// [`Error::NotAGroup`], and what the hub refuses: `action-denied`, `wrong-protocol`.
    pub async fn set_history(&self, id: ConversationId, history: History) -> Result<Conversation> {
        self.check_group(id)?;
        self.catch_up(&mut SyncReport::default()).await?;
        let before = self.inner().store.read(|r| r.conversation_settings(id))?.history;
        // Where less is shared, or again after nothing was, who comes later must not be given what opens all from before.
        let wish = Sharing { history, rotate: history < before || !before.is_shared() };
        self.note_sharing(id, Some(wish)).await?;
        match self.share(id, wish).await {
            Err(error) if is_refused(&error) => {
                self.note_sharing(id, None).await?;
                return Err(error);
            }
            done => done?,
        }
        self.note_sharing(id, None).await?;
        self.caught_up(id).await
    }

    async fn note_sharing(&self, id: ConversationId, wish: Option<Sharing>) -> Result<()> {
        let mut tx = self.inner().session.new_transaction().await?;
        let mut todo = Todo::of(&tx)?;
        match wish {
            Some(wish) => todo.sharing.insert(id, wish),
            None => todo.sharing.remove(&id),
        };
        todo.write(&mut tx)?;
        Ok(tx.finish().await?)
    }

    /// The hub first: from then on it gives what is to be given, and nothing else. Then the commit, which begins, renews or ends the
    /// keys. Each can be done again.
    async fn share(&self, id: ConversationId, wish: Sharing) -> Result<()> {
        self.hub()?.set(id, Setting::History(wish.history)).await?;
        self.catch_up(&mut SyncReport::default()).await?;
        self.ready(id).await?;
        self.upkeep(id, Upkeep::Sharing(wish)).await
    }

    /// Does what is to be done about history.
    pub(crate) async fn see_to_history(&self, todo: &mut Todo, report: &mut SyncReport) -> Result<()> {
        for (conversation, wish) in std::mem::take(&mut todo.sharing) {
            let shared = match self.share(conversation, wish).await {
                // Somebody else has other rights meanwhile, or there is nothing left to be shared.
                Err(error) if is_refused(&error) => Ok(()),
                shared => shared,
            };
            // What cannot be done now stays to be done.
            if tolerate(shared)?.is_some() {
                todo.sharing.insert(conversation, wish);
            }
        }
        for conversation in std::mem::take(&mut todo.share) {
            // What cannot be done now stays to be done.
            if tolerate(self.give_history(conversation).await)?.is_some() {
                todo.share.insert(conversation);
            }
        }
        for conversation in std::mem::take(&mut todo.replay) {
            // What cannot be done now stays to be done.
            if let Some(read) = tolerate(self.replay(conversation).await)? {
                report.history += read.messages;
                report.suspicious += read.suspicious;
                todo.replay.insert(conversation);
            }
        }
        Ok(())
    }

    /// Which of the spans that this device holds go to whom a commit adds, and whether these are all that they may have.
    pub(crate) fn sharing(
        &self,
        id: ConversationId,
        spans: &[HistorySpan],
    ) -> Result<(HistorySharing, bool)> {
        let Some(since) = self.shared_since(id)? else { return Ok((HistorySharing::Nothing, true)) };
        let reach = |span: &&HistorySpan| span.last_epoch.is_none_or(|last| last >= since);
        let bytes = spans.iter().filter(reach).map(|span| span.secret.as_bytes().len()).sum::<usize>();
        Ok(match spans.iter().filter(reach).count() {
            0 => (HistorySharing::Nothing, true),
            1..=MAX_SHARED_SPANS if bytes <= MOST_WITH_COMMIT => (HistorySharing::Since(since), true),
            _ => (HistorySharing::Current, false),
        })
    }

    /// The epoch back to which history is given, as far as this device knows how old its epochs are. None if nothing is shared.
    fn shared_since(&self, id: ConversationId) -> Result<Option<u64>> {
        let history = self.inner().store.read(|r| r.conversation_settings(id))?.history;
        let Some(reach) = history.reach(now()) else { return Ok(None) };
        let (since, of_age) =
            self.inner().store.read(|r| Ok::<_, Error>((r.history_since(id)?, r.epoch_at(id, reach)?)))?;
        Ok(Some(since.max(of_age.unwrap_or_default())))
    }

    /// Puts what opens shared history into the outbox, for those who came without.
    async fn give_history(&self, id: ConversationId) -> Result<()> {
        let Some(since) = self.shared_since(id)? else { return Ok(()) };
        if self.keeps_out(id)? {
            return Ok(()); // who is out holds nothing to give
        }
        self.ready(id).await?;
        let group = self.group_of(id)?;
        let mut tx = self.inner().session.new_transaction().await?;
        let messages = match tx.conversation(&group).await?.encrypt_history(HistorySharing::Since(since)) {
            Err(EngineError::HistoryNotHeld { .. }) => return Ok(()),
            messages => messages?,
        };
        tx.store_write(move |w| {
            for ciphertext in &messages {
                let kind = OutboxKind::History;
                let message =
                    NewOutboxMessage { conversation: id, kind, content: Vec::new(), created_at: now() };
                let number = w.put_into_outbox(&message)?;
                w.set_ciphertext(number, ciphertext)?;
            }
            Ok(())
        })?;
        Ok(tx.finish().await?)
    }

    /// The hub has not taken such a message, because the group has moved on: all of them are made anew by the next synchronisation.
    pub(crate) async fn give_history_anew(&self, message: &OutboxMessage) -> Result<()> {
        let id = message.id;
        let mut tx = self.inner().session.new_transaction().await?;
        let mut todo = Todo::of(&tx)?;
        todo.share.insert(message.conversation);
        todo.write(&mut tx)?;
        tx.store_write(move |w| w.remove_from_outbox(id))?;
        Ok(tx.finish().await?)
    }
}

/// Whether the hub will not have it, or there is nothing that it could be of: doing it again later is of no use.
fn is_refused(error: &Error) -> bool {
    let of_the_hub = matches!(
        error.hub_code(),
        Some(Code::ActionDenied | Code::InvalidOperation | Code::WrongProtocol | Code::NoConversation)
    );
    of_the_hub || matches!(error, Error::NotAMember { .. } | Error::NotAllowed { .. })
}
