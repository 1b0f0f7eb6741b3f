//! Receiving messages.
//!
//! What the header tells is decided before the group is touched; the rest by the library. After an error the group is as
//! before: a corrupted message costs nothing but time. What cannot be processed yet is buffered, and replayed when it can.

mod buffer;
pub(crate) mod join;
mod proposal;
mod replay;

use mls_rs::{
    MlsMessage, MlsMessageDescription,
    error::MlsError,
    group::{
        ApplicationMessageDescription, CommitEffect, CommitMessageDescription, ContentType, ReceivedMessage,
        proposal::Proposal,
    },
    mls_rules::ProposalRef,
};

use crate::{
    ConversationGuard, ConversationId, EngineError, MlsConversationDecryptMessage, Outcome, Result,
    WireIdentity,
    commit::changes,
    events::Event,
    history,
    identity::Judge,
    overlay::Overlay,
    proposals::{
        Intent,
        renewal::{left_out, own_proposals},
    },
    provider::MlsGroup,
    record::{PendingHead, sha256},
    rules::refusal,
    wire,
};

/// What the unauthenticated header of a message says.
pub(crate) struct Header {
    pub(crate) epoch: u64,
    pub(crate) content: ContentType,
    is_encrypted: bool,
}

impl ConversationGuard<'_> {
    /// Processes a message of this conversation: application messages, proposals and commits, the own ones too.
    ///
    /// Messages come in the order of the hub's log, or in any order: those of a future epoch, and commits that refer to
    /// proposals that have not come, are [buffered](Outcome::Buffered). With the message that makes it possible they are
    /// processed and returned in [`buffered_messages`](MlsConversationDecryptMessage::buffered_messages). One that is
    /// refused then is dropped, reported there, and changes nothing.
    ///
    /// # Errors
    ///
    /// The conversation stands as before after an error. Errors of the kind [`Peer`](crate::ErrorKind::Peer) mean that the
    /// message can be dropped; [`BufferFull`](EngineError::BufferFull) that commits are missing;
    /// [`OwnCommitLost`](EngineError::OwnCommitLost) that this device has to join again. If the store fails while buffered
    /// messages are processed, the transaction is aborted.
    pub fn decrypt_message(&mut self, message: impl AsRef<[u8]>) -> Result<MlsConversationDecryptMessage> {
        let mut left_out = Vec::new();
        let mut result = self.receive(message.as_ref(), &mut left_out)?;
        // What a transaction did with buffered messages after its own commit is undone if it was not finished.
        let is_due = self.loaded_if_joined()?.is_some_and(|loaded| !loaded.has_replayed);
        let frees = matches!(result.outcome, Outcome::Commit | Outcome::OwnCommitMerged | Outcome::Proposal);
        if frees || is_due {
            let mut replayed = self.replay(left_out)?;
            result.is_active &= replayed.messages.iter().all(|message| message.is_active);
            result.proposals = std::mem::take(&mut replayed.renewed);
            result.buffered_messages = replayed.into_messages();
        }
        if (frees || is_due) && self.is_joined()? {
            result.needs_history_rotation = self.needs_history_rotation()?;
        }
        result.delay = self.commit_delay(result.needs_history_rotation)?;
        Ok(result)
    }

    /// Processes one message. What its commit leaves out of this device's proposals is added to `left_out`.
    fn receive(&mut self, bytes: &[u8], left_out: &mut Vec<Intent>) -> Result<MlsConversationDecryptMessage> {
        let message = wire::message(bytes)?;
        let header = header(&message, &self.id)?;
        let pending = self.pending()?;
        if let Some(pending) = &pending {
            if header.content == ContentType::Commit && pending.sha256 == sha256(bytes) {
                return self.merge_echo();
            }
            if pending.is_join()
                && let Some(outcome) = self.competes_with_join(pending, &header, &message)?
            {
                return Ok(outcome);
            }
        }
        let id = self.id.clone();
        let Some(loaded) = self.loaded_if_joined()? else {
            return match pending {
                Some(pending) if header.epoch > pending.epoch => self.buffer(bytes, &header, pending.epoch),
                // Sent before this device joined.
                Some(pending) => Ok(MlsConversationDecryptMessage::new(Outcome::StaleEpoch, pending.epoch)),
                None => Err(EngineError::ConversationNotFound(id)),
            };
        };
        let current = loaded.group.current_epoch();
        if header.epoch > current {
            return self.buffer(bytes, &header, current);
        }
        if header.epoch < current && header.content != ContentType::Application {
            let known = header.content == ContentType::Commit && loaded.meta.is_own_commit(&sha256(bytes));
            let outcome = if known { Outcome::OwnCommitKnown } else { Outcome::StaleEpoch };
            return Ok(MlsConversationDecryptMessage::new(outcome, current));
        }
        let group = &self.loaded()?.group;
        let known = match header.content {
            ContentType::Proposal => group.get_cached_proposals(),
            _ => Vec::new(),
        };
        let known: Vec<ProposalRef> = known.iter().map(|cached| cached.proposal_ref().clone()).collect();
        let own = match header.content {
            ContentType::Commit => own_proposals(group),
            _ => Vec::new(),
        };
        let processed = self.loaded()?.process(message);
        fail_point!(RECEIVED);
        match processed {
            Ok(ReceivedMessage::ApplicationMessage(description)) => {
                self.received_application(header.epoch, &description)
            }
            Ok(ReceivedMessage::Commit(description)) => {
                self.received_commit(pending.as_ref(), &description, own, left_out)
            }
            Ok(ReceivedMessage::Proposal(description)) => {
                self.received_proposal(&description, known.contains(&description.proposal_ref))
            }
            // The header has excluded them.
            Ok(ReceivedMessage::GroupInfo(_) | ReceivedMessage::Welcome | ReceivedMessage::KeyPackage(_)) => {
                self.restore()?;
                Err(EngineError::UnexpectedMessage)
            }
            Err(error) => self.refused(bytes, &header, current, error),
        }
    }

    /// The message is this device's pending commit.
    fn merge_echo(&mut self) -> Result<MlsConversationDecryptMessage> {
        let pending = self.pending_record()?;
        let summary = self.merge(&pending)?;
        let mut result = MlsConversationDecryptMessage::new(Outcome::OwnCommitMerged, summary.epoch);
        result.note_new_epoch();
        result.external_join = pending.head.is_join();
        result.added = summary.added;
        result.removed = summary.removed;
        result.crl_new_distribution_points = summary.crl_new_distribution_points;
        let overlay = self.overlay()?.clone();
        let group = &self.loaded()?.group;
        result.identity = member_identity(&overlay, group, group.current_member_index())?;
        Ok(result)
    }

    fn received_application(
        &mut self,
        epoch: u64,
        description: &ApplicationMessageDescription,
    ) -> Result<MlsConversationDecryptMessage> {
        let overlay = self.overlay()?.clone();
        let loaded = self.loaded()?;
        // The library has checked that the leaf still signs with the key that it had when it sent.
        let leaf = description.sender_index;
        // The library always tells it of what was encrypted.
        let generation = description.unauthenticated_key_generation.unwrap_or_default();
        let (app_msg, spans) = if description.authenticated_data == history::LABEL {
            let (spans, app_msg) = history::unframe(description.data()).unwrap_or_default();
            (app_msg, spans)
        } else {
            (Some(description.data().to_vec()), Vec::new())
        };
        let noted = member_identity(&overlay, &loaded.group, leaf).and_then(|sender| {
            refuse_listener(sender.as_ref())?;
            self.loaded()?.check_generation(epoch, leaf, generation)?;
            let shared_by = sender.as_ref().map(|sender| &sender.client_id);
            self.receive_history(epoch, shared_by, spans)?;
            self.loaded()?.note_received(&overlay, epoch, leaf, generation)?;
            Ok(sender)
        });
        let sender = match noted {
            Ok(sender) => sender,
            Err(error) => {
                self.restore()?;
                return Err(error);
            }
        };
        let outcome = if app_msg.is_some() { Outcome::Application } else { Outcome::History };
        let mut result = MlsConversationDecryptMessage::new(outcome, epoch);
        result.app_msg = app_msg;
        result.sender_client_id = sender.as_ref().map(|identity| identity.client_id.clone());
        result.identity = sender;
        Ok(result)
    }

    fn received_commit(
        &mut self,
        pending: Option<&PendingHead>,
        commit: &CommitMessageDescription,
        own: Vec<Proposal>,
        left: &mut Vec<Intent>,
    ) -> Result<MlsConversationDecryptMessage> {
        if let CommitEffect::ReInit(_) = &commit.effect {
            self.restore()?;
            return Err(EngineError::InvalidMessage("groups are not reinitialised".into()));
        }
        let config = self.config();
        let overlay = self.overlay()?.clone();
        let loaded = self.loaded()?;
        let mut judge = Judge::new(&overlay, &config);
        // Who commits stays a member and in its place, so that it is found after the commit as before.
        let judged = member_identity(&overlay, &loaded.group, commit.committer).and_then(|committer| {
            refuse_listener(committer.as_ref())?;
            judge.commit(&loaded.group, commit)?;
            Ok(committer)
        });
        let identity = match judged {
            Ok(identity) => identity,
            Err(error) => {
                self.restore()?;
                return Err(error);
            }
        };
        let loaded = self.loaded()?;
        let epoch = loaded.group.current_epoch();
        let (added, removed) = changes(&loaded.group, commit);
        let mut result = MlsConversationDecryptMessage::new(Outcome::Commit, epoch);
        result.note_new_epoch();
        result.external_join = commit.is_external;
        result.identity = identity;
        result.crl_new_distribution_points = judge.new_points();
        result.added = added;
        result.removed = removed;
        if let CommitEffect::Removed { new_epoch, .. } = &commit.effect {
            result.epoch = new_epoch.epoch();
            result.is_active = false;
            result.dropped_pending = pending.is_some();
            self.wipe()?;
            return Ok(result);
        }
        if let Err(error) = self.follow_history(commit, &result.removed) {
            self.restore()?;
            return Err(error);
        }
        let loaded = self.loaded()?;
        loaded.snapshot(&overlay)?;
        left.extend(left_out(&*config.client_id_policy, own, commit, &loaded.group));
        if pending.is_some() {
            overlay.delete_pending(self.id.as_bytes());
            result.dropped_pending = true;
        }
        self.note_epoch(epoch)?;
        Ok(result)
    }

    /// The observers are told of a new epoch once it is on disk.
    pub(crate) fn note_epoch(&mut self, epoch: u64) -> Result<()> {
        let conversation = self.id.clone();
        self.tx.writing_mut()?.note(Event::EpochChanged { conversation, epoch });
        Ok(())
    }

    /// A message of this epoch that names this device as its sender. If it is not known here, either somebody else wrote
    /// that name, or another copy of the store has sent it. Only the second is proven by this device's signature; what is not
    /// proven changes nothing.
    fn own_message(&mut self, bytes: &[u8]) -> Result<Outcome> {
        let overlay = self.overlay()?.clone();
        let loaded = self.loaded()?;
        if loaded.has_sent(bytes) || loaded.meta.incarnation.is_none() {
            return Ok(Outcome::OwnMessage);
        }
        if !loaded.is_of_a_copy(bytes) {
            tracing::warn!(conversation = %self.id, "a message in the name of this device, without proof, is ignored");
            return Ok(Outcome::OwnMessageUnproven);
        }
        tracing::warn!(conversation = %self.id, "a message of this device that it does not know: the store is an older copy");
        let loaded = self.loaded()?;
        loaded.meta.incarnation = None;
        loaded.snapshot(&overlay)?;
        Ok(Outcome::OwnMessageUnknown)
    }

    /// The library would not have the message: which of the outcomes or errors is it?
    fn refused(
        &mut self,
        bytes: &[u8],
        header: &Header,
        current: u64,
        error: MlsError,
    ) -> Result<MlsConversationDecryptMessage> {
        let is_application = header.content == ContentType::Application;
        // What is refused before any key is used up leaves the group as it was, and costs no restoring: above all the echo
        // of own messages, what was read before, and a commit that waits and is tried again with each proposal.
        let is_untouched = match error {
            MlsError::CantProcessMessageFromSelf
            | MlsError::KeyMissing(_)
            | MlsError::InvalidFutureGeneration(_)
            | MlsError::EpochNotFound => is_application,
            MlsError::ProposalNotFound => !header.is_encrypted,
            _ => false,
        };
        if !is_untouched {
            self.restore()?;
        }
        if let Some(failure) = self.overlay()?.take_failure() {
            return Err(failure);
        }
        let outcome = match error {
            // The claim of an encrypted message to be this device's is not authenticated: who sends none encrypted has not
            // sent it.
            MlsError::CantProcessMessageFromSelf
                if !is_application && header.is_encrypted && !self.loaded()?.meta.encrypts_handshake() =>
            {
                return Err(EngineError::InvalidMessage(Box::new(MlsError::CantProcessMessageFromSelf)));
            }
            MlsError::CantProcessMessageFromSelf if header.content == ContentType::Commit => {
                return Err(EngineError::OwnCommitLost);
            }
            // An encrypted proposal, which was cleared.
            MlsError::CantProcessMessageFromSelf if !is_application => Outcome::OwnProposal,
            MlsError::CantProcessMessageFromSelf if header.epoch == current => self.own_message(bytes)?,
            MlsError::CantProcessMessageFromSelf => Outcome::OwnMessage,
            MlsError::KeyMissing(_) => Outcome::Duplicate,
            MlsError::EpochNotFound | MlsError::InvalidEpoch if header.epoch < current => Outcome::StaleEpoch,
            MlsError::InvalidFutureGeneration(generation) => {
                let max = self.loaded()?.meta.maximum_forward_distance;
                return Err(EngineError::TooFarAhead { generation, max });
            }
            MlsError::ProposalNotFound => return self.buffer(bytes, header, current),
            MlsError::MissingRequiredPsk => return Err(EngineError::PskMissing),
            error => {
                return Err(match refusal(&error) {
                    Some(error) => error,
                    None => EngineError::InvalidMessage(Box::new(error)),
                });
            }
        };
        let epoch = if is_application { header.epoch } else { current };
        Ok(MlsConversationDecryptMessage::new(outcome, epoch))
    }
}

pub(crate) fn header(message: &MlsMessage, expected: &ConversationId) -> Result<Header> {
    use MlsMessageDescription::{PrivateProtocolMessage, PublicProtocolMessage};
    let (group_id, epoch, content, is_encrypted) = match message.description() {
        PrivateProtocolMessage { group_id, epoch_id, content_type } => {
            (group_id, epoch_id, content_type, true)
        }
        PublicProtocolMessage { group_id, epoch_id, content_type, .. } => {
            (group_id, epoch_id, content_type, false)
        }
        _ => return Err(EngineError::UnexpectedMessage),
    };
    if group_id != expected.as_bytes() {
        return Err(EngineError::WrongConversation(ConversationId::from(group_id)));
    }
    Ok(Header { epoch, content, is_encrypted })
}

/// Refuses what comes from a member that may only listen.
fn refuse_listener(sender: Option<&WireIdentity>) -> Result<()> {
    match sender {
        Some(sender) if sender.client_id.is_history_client() => {
            Err(EngineError::SenderOnlyListens(sender.client_id.clone()))
        }
        _ => Ok(()),
    }
}

/// Who a member is, if there is one at this leaf.
fn member_identity(overlay: &Overlay, group: &MlsGroup, index: u32) -> Result<Option<WireIdentity>> {
    let member = group.member_at_index(index);
    member.map(|member| WireIdentity::of(overlay, &member.signing_identity)).transpose()
}
