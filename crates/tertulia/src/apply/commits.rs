//! Commits, Welcomes and proposals, as the engine takes them.

use super::Page;
use crate::{Result, Suspicion};
use tertulia_api::{event::LogEntry, policy::decode};
use tertulia_domain::{ConversationId, DeviceAddress, UserId, policy::Policy};
use tertulia_mls::{ClientId, EngineError, MlsConversationDecryptMessage, Outcome, Proposer};

impl Page<'_> {
    pub(super) async fn commit(
        &mut self,
        entry: &LogEntry,
        epoch: u64,
        commit: &[u8],
        welcome: Option<Vec<u8>>,
    ) -> Result<()> {
        let conversation = entry.conversation;
        let foreign = entry.sender != Some(self.client.own_device());
        if foreign && epoch == 1 && self.is_only_begun(conversation).await? {
            // Somebody else made the group first; what this device began is void.
            self.wipe(conversation)?;
        }
        let (was_in, told) = (foreign && self.in_group(conversation)?, self.noticed.len());
        let done = self.decrypt(conversation, commit).await?;
        // Why it is given up may have been said already.
        if was_in && self.noticed.len() == told {
            self.check_fitness(conversation, entry.sender.map(|sender| sender.user), done.as_ref())?;
        }
        if let Some(done) = &done {
            self.note_new_device(conversation, done);
            self.note_who_lacks_history(conversation, done).await?;
            self.note_further_devices(conversation, done).await?;
            if done.outcome == Outcome::StaleEpoch && self.is_replayed(conversation, epoch).await? {
                self.suspect(conversation, Suspicion::Replayed { epoch })?;
            }
        }
        if !self.in_group(conversation)? {
            self.welcome(entry, welcome).await?;
        } else if done
            .as_ref()
            .is_some_and(|done| done.outcome == Outcome::OwnCommitMerged && done.external_join)
        {
            // Who has signed what it was joined with is not known any more.
            self.compare(conversation, None).await?;
        }
        self.note_policy(conversation, done.as_ref()).await?;
        // What this device has verified counts; the hub's word only where there is nothing else.
        let group = self.group_of(conversation)?;
        let reached = if self.tx.conversation_exists(&group)? {
            self.tx.conversation(&group).await?.epoch()?
        } else {
            epoch
        };
        self.tx.store_write(move |w| w.set_epoch(conversation, reached))?;
        self.note_epoch(entry, reached)?;
        let joined = self.in_group(conversation)?;
        let removed = done.is_some_and(|done| !done.is_active);
        Ok(self.tx.store_write(move |w| {
            if joined || removed {
                // Who was removed and comes back is a member again.
                w.set_active(conversation, joined)?;
            }
            w.set_joined(conversation, joined)
        })?)
    }

    /// The hub has taken this commit and gone on. It cannot check all of it: not the membership tag, nor what the path encrypts, and of
    /// an encrypted one nothing. If this device cannot follow it, it joins again where the hub has the group now, as everybody else
    /// must; `Client::to_join` bounds how often.
    fn check_fitness(
        &mut self,
        conversation: ConversationId,
        by: Option<UserId>,
        done: Option<&MlsConversationDecryptMessage>,
    ) -> Result<()> {
        // An encrypted one can pass for one that was read before.
        let is_applied = done.is_some_and(|done| done.outcome != Outcome::Duplicate);
        // Who keeps out has said why.
        if is_applied || self.is_distrusted(conversation)? {
            return Ok(());
        }
        // An honest hub says whose each commit is.
        let told = by.map_or(Suspicion::Withheld, |user| Suspicion::UnfitCommit { user });
        self.suspect(conversation, told)?;
        // An encrypted one that says to be this device's own has had the group given up already.
        if self.in_group(conversation)? { self.rejoin(conversation) } else { Ok(()) }
    }

    /// Joins by the Welcome that came with a commit. If that is not possible, it is done by external commit later.
    async fn welcome(&mut self, entry: &LogEntry, welcome: Option<Vec<u8>>) -> Result<()> {
        let Some(welcome) = welcome else { return Ok(()) };
        let (conversation, came_at) = (entry.conversation, entry.sent_at);
        // Somebody has used up one of this device's key packages.
        self.applied.todo.key_packages = true;
        match self.tx.process_welcome(&welcome) {
            Ok(joined)
                if joined.id == self.group_of(conversation)?
                    || self.is_later(conversation, &joined.id)? =>
            {
                // Whoever comes back was not told of resets meanwhile.
                if joined.id != self.group_of(conversation)? {
                    self.follow_to(conversation, &joined.id, None)?;
                }
                if self.compare(conversation, Some(&joined.signed_by)).await? {
                    self.came(conversation, joined.epoch, came_at)?;
                }
                Ok(())
            }
            Ok(joined) => {
                tracing::warn!(conversation = %conversation.short(), "a Welcome for another group was dropped");
                Ok(self.tx.wipe_conversation(&joined.id)?)
            }
            Err(EngineError::Store(error)) => Err(error.into()),
            Err(EngineError::RulesBroken(violation)) => {
                let reason = violation.to_string();
                self.distrust(conversation)?;
                self.suspect(conversation, Suspicion::ForbiddenGroup { reason })
            }
            Err(error) => {
                tracing::warn!(conversation = %conversation.short(), %error, "a Welcome could not be used");
                Ok(())
            }
        }
    }

    /// A further device of this user that joined by itself is to be told the conversation's name.
    fn note_new_device(&mut self, conversation: ConversationId, done: &MlsConversationDecryptMessage) {
        let me = self.client.me().user;
        let is_own =
            |id: &ClientId| DeviceAddress::from_identity(id.as_bytes()).is_ok_and(|new| new.user == me);
        if done.outcome == Outcome::Commit && done.external_join && done.added.iter().any(is_own) {
            self.applied.todo.announce.insert(conversation);
        }
    }

    pub(super) async fn proposal(&mut self, entry: &LogEntry, proposal: &[u8]) -> Result<()> {
        let conversation = entry.conversation;
        let done = self.decrypt(conversation, proposal).await?;
        let Some(done) = done.filter(|done| done.outcome == Outcome::Proposal) else { return Ok(()) };
        self.applied.todo.proposals.insert(conversation);
        let Some(added) = &done.proposed else { return Ok(()) };
        let by = match done.identity {
            Some(identity) => Proposer::Client(identity.client_id),
            None => Proposer::ExternalSender(0),
        };
        let group = self.group_of(conversation)?;
        let data = self.tx.conversation(&group).await?.group_data()?;
        if let Err(refusal) = self.client.rules().check_wish(&group, data.as_deref(), added, &by) {
            let reason = refusal.to_string();
            self.suspect(conversation, Suspicion::ForbiddenProposal { reason })?;
        }
        Ok(())
    }

    /// The proposals of the epoch wait no longer. Those that can still be committed come again.
    pub(super) async fn proposals_withdrawn(&mut self, conversation: ConversationId) -> Result<()> {
        let group = self.group_of(conversation)?;
        let opened = self.tx.conversation(&group).await;
        match opened.and_then(|mut guard| guard.withdraw_pending_proposals()) {
            // Decrypting says what is wrong, and heals it.
            Ok(()) | Err(EngineError::ConversationNotFound(_) | EngineError::DamagedState { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives an MLS message to the engine. `None` when this device is not in the group, or the message is of no use; a device
    /// that turns out to be out of step gives up its state and joins again.
    pub(super) async fn decrypt(
        &mut self,
        conversation: ConversationId,
        bytes: &[u8],
    ) -> Result<Option<MlsConversationDecryptMessage>> {
        let group = self.group_of(conversation)?;
        let opened = self.tx.conversation(&group).await;
        match opened.and_then(|mut guard| guard.decrypt_message(bytes)) {
            // The log is ordered: what has to wait means that a commit or a proposal before it could not be applied here.
            Ok(done) if done.outcome == Outcome::Buffered => {
                self.applied.undecryptable += 1;
                // What follows a commit that was refused cannot be read, which was said already.
                if !self.is_distrusted(conversation)? {
                    self.suspect(conversation, Suspicion::Withheld)?;
                    self.rejoin(conversation)?;
                }
                Ok(None)
            }
            Ok(done) => {
                if done.needs_history_rotation {
                    self.applied.todo.history.insert(conversation);
                }
                Ok(Some(done))
            }
            Err(EngineError::ConversationNotFound(_)) => Ok(None),
            Err(EngineError::Store(error)) => Err(error.into()),
            Err(error @ (EngineError::RulesBroken(_) | EngineError::ContextChanged)) => {
                let reason = match &error {
                    EngineError::RulesBroken(violation) => violation.to_string(),
                    error => error.to_string(),
                };
                self.applied.undecryptable += 1;
                self.distrust(conversation)?;
                self.suspect(conversation, Suspicion::ForbiddenCommit { reason })?;
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(conversation = %conversation.short(), %error, "an MLS message was refused");
                self.applied.undecryptable += 1;
                if out_of_step(&error) {
                    self.rejoin(conversation)?;
                }
                Ok(None)
            }
        }
    }

    /// The policy of the group as this device has it.
    pub(super) async fn policy(&mut self, conversation: ConversationId) -> Result<Option<Policy>> {
        let group = self.group_of(conversation)?;
        if !self.tx.conversation_exists(&group)? {
            return Ok(None);
        }
        let data = self.tx.conversation(&group).await?.group_data()?;
        // The rules let no other in.
        Ok(data.and_then(|data| decode(Some(&data)).ok()))
    }

    /// Whether this device has begun the group and the hub has not taken it, or not said so. A device that needs the group
    /// at once joins it before it hears of the commit that made it: that one is in it.
    pub(super) async fn is_only_begun(&mut self, conversation: ConversationId) -> Result<bool> {
        let group = self.group_of(conversation)?;
        match self.tx.conversation(&group).await.and_then(|mut guard| guard.epoch()) {
            Ok(epoch) => Ok(epoch == 0),
            // Decrypting says what is wrong, and heals it.
            Err(EngineError::ConversationNotFound(_) | EngineError::DamagedState { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives up the group's state, so that this device joins again.
    pub(super) fn rejoin(&mut self, conversation: ConversationId) -> Result<()> {
        self.wipe(conversation)?;
        Ok(self.tx.store_write(move |w| w.set_joined(conversation, false))?)
    }
}

/// Whether the hub's log has gone where this device cannot follow, so that it must join anew.
fn out_of_step(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::BufferFull { .. } | EngineError::OwnCommitLost | EngineError::DamagedState { .. }
    )
}
