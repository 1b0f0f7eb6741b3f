//! Receiving messages.
//!
//! What the header tells is decided before the group is touched; the rest by the library. After an error the group is as
//! before: a corrupted message costs nothing but time.

use mls_rs::{
    MlsMessage, MlsMessageDescription,
    error::MlsError,
    group::{
        ApplicationMessageDescription, CommitEffect, CommitMessageDescription, ContentType,
        ProposalMessageDescription, ProposalSender, ReceivedMessage,
    },
};

use crate::{
    ClientId, ConversationGuard, ConversationId, EngineError, MlsConversationDecryptMessage, Outcome, Result,
    WireIdentity,
    commit::{changes, client_id_error},
    conversation::is_to_be_removed,
    history,
    identity::Judge,
    overlay::Overlay,
    provider::MlsGroup,
    record::{PendingRecord, sha256},
    wire,
};

/// What the unauthenticated header of a message says.
pub(crate) struct Header {
    pub(crate) epoch: u64,
    pub(crate) content: ContentType,
}

impl ConversationGuard<'_> {
    /// Processes a message of this conversation, in the order of the hub's log: application messages, proposals and
    /// commits, the own ones too.
    ///
    /// # Errors
    ///
    /// The conversation stands as before after an error. [`FutureEpoch`](EngineError::FutureEpoch) means that commits are
    /// missing; errors of the kind [`Peer`](crate::ErrorKind::Peer) mean that the message can be dropped;
    /// [`OwnCommitLost`](EngineError::OwnCommitLost) means that this device has to join again.
    pub fn decrypt_message(&mut self, message: impl AsRef<[u8]>) -> Result<MlsConversationDecryptMessage> {
        let bytes = message.as_ref();
        let message = wire::message(bytes)?;
        let header = header(&message, &self.id)?;
        let pending = self.pending()?;
        if let Some(pending) = &pending {
            if pending.commit == bytes {
                return self.merge_echo(pending);
            }
            if pending.is_join()
                && let Some(outcome) = self.competes_with_join(pending, &header)?
            {
                return Ok(outcome);
            }
        }
        let id = self.id.clone();
        let Some(loaded) = self.loaded_if_joined()? else {
            return match pending {
                Some(pending) if header.epoch > pending.epoch => {
                    Err(EngineError::FutureEpoch { epoch: header.epoch, current: pending.epoch })
                }
                // Sent before this device joined.
                Some(pending) => Ok(MlsConversationDecryptMessage::new(Outcome::StaleEpoch, pending.epoch)),
                None => Err(EngineError::ConversationNotFound(id)),
            };
        };
        let current = loaded.group.current_epoch();
        if header.epoch > current {
            return Err(EngineError::FutureEpoch { epoch: header.epoch, current });
        }
        if header.epoch < current && header.content != ContentType::Application {
            let known = header.content == ContentType::Commit && loaded.meta.is_own_commit(&sha256(bytes));
            let outcome = if known { Outcome::OwnCommitKnown } else { Outcome::StaleEpoch };
            return Ok(MlsConversationDecryptMessage::new(outcome, current));
        }
        match self.loaded()?.process(message) {
            Ok(ReceivedMessage::ApplicationMessage(description)) => {
                self.received_application(header.epoch, &description)
            }
            Ok(ReceivedMessage::Commit(description)) => self.received_commit(pending.as_ref(), &description),
            Ok(ReceivedMessage::Proposal(description)) => self.received_proposal(&description),
            // The header has excluded them.
            Ok(ReceivedMessage::GroupInfo(_) | ReceivedMessage::Welcome | ReceivedMessage::KeyPackage(_)) => {
                self.restore()?;
                Err(EngineError::UnexpectedMessage)
            }
            Err(error) => self.refused(bytes, &header, current, error),
        }
    }

    /// The message is this device's pending commit.
    fn merge_echo(&mut self, pending: &PendingRecord) -> Result<MlsConversationDecryptMessage> {
        let summary = self.merge(pending)?;
        let mut result = MlsConversationDecryptMessage::new(Outcome::OwnCommitMerged, summary.epoch);
        result.has_epoch_changed = true;
        result.external_join = pending.is_join();
        result.added = summary.added;
        result.removed = summary.removed;
        result.crl_new_distribution_points = summary.crl_new_distribution_points;
        let overlay = self.overlay()?.clone();
        let group = &self.loaded()?.group;
        result.identity = member_identity(&overlay, group, group.current_member_index())?;
        Ok(result)
    }

    /// Whether the message is the commit that was taken instead of this device's external one, and the old state, if there
    /// is one, cannot follow it. Then there is nothing to check it with: the hub's order counts.
    fn competes_with_join(
        &mut self,
        pending: &PendingRecord,
        header: &Header,
    ) -> Result<Option<MlsConversationDecryptMessage>> {
        if header.content != ContentType::Commit || header.epoch != pending.epoch {
            return Ok(None);
        }
        if self.loaded_if_joined()?.is_some_and(|loaded| loaded.group.current_epoch() == header.epoch) {
            return Ok(None);
        }
        self.overlay()?.delete_pending(self.id.as_bytes());
        let mut result = MlsConversationDecryptMessage::new(Outcome::PendingJoinDropped, pending.epoch);
        result.dropped_pending = true;
        Ok(Some(result))
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
            self.loaded()?.check_generation(epoch, leaf, generation)?;
            self.receive_history(epoch, spans)?;
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
        pending: Option<&PendingRecord>,
        commit: &CommitMessageDescription,
    ) -> Result<MlsConversationDecryptMessage> {
        if let CommitEffect::ReInit(_) = &commit.effect {
            self.restore()?;
            return Err(EngineError::InvalidMessage("groups are not reinitialised".into()));
        }
        let config = self.config();
        let overlay = self.overlay()?.clone();
        let loaded = self.loaded()?;
        let mut judge = Judge::new(&overlay, &config);
        let judged = judge
            .commit(&loaded.group, commit)
            .and_then(|()| member_identity(&overlay, &loaded.group, commit.committer));
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
        result.has_epoch_changed = true;
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
        if commit.is_external || result.removed.iter().any(ClientId::is_history_client) {
            let closed = self.close_history();
            if closed.is_err() {
                self.restore()?;
            }
            closed?;
        }
        self.loaded()?.snapshot(&overlay)?;
        if pending.is_some() {
            overlay.delete_pending(self.id.as_bytes());
            result.dropped_pending = true;
        }
        Ok(result)
    }

    fn received_proposal(
        &mut self,
        proposal: &ProposalMessageDescription,
    ) -> Result<MlsConversationDecryptMessage> {
        let config = self.config();
        let overlay = self.overlay()?.clone();
        let loaded = self.loaded()?;
        let mut judge = Judge::new(&overlay, &config);
        let judged = judge.proposal(&loaded.group, proposal).and_then(|()| match proposal.sender {
            ProposalSender::Member(index) => member_identity(&overlay, &loaded.group, index),
            _ => Ok(None),
        });
        let identity = match judged {
            Ok(identity) => identity,
            Err(error) => {
                self.restore()?;
                return Err(error);
            }
        };
        let loaded = self.loaded()?;
        loaded.snapshot(&overlay)?;
        let mut result = MlsConversationDecryptMessage::new(Outcome::Proposal, loaded.group.current_epoch());
        result.identity = identity;
        result.crl_new_distribution_points = judge.new_points();
        // Nobody commits their own removal: another member does.
        result.delay = (!is_to_be_removed(&loaded.group)).then(|| loaded.commit_delay());
        Ok(result)
    }

    /// A message of this device and this epoch. If it is not known here, another copy of the store has sent it.
    fn own_message(&mut self, bytes: &[u8]) -> Result<Outcome> {
        let overlay = self.overlay()?.clone();
        let loaded = self.loaded()?;
        if loaded.has_sent(bytes) || loaded.meta.incarnation.is_none() {
            return Ok(Outcome::OwnMessage);
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
        // of own messages, and what was read before.
        let untouched = matches!(
            error,
            MlsError::CantProcessMessageFromSelf
                | MlsError::KeyMissing(_)
                | MlsError::InvalidFutureGeneration(_)
                | MlsError::EpochNotFound
        );
        if !(is_application && untouched) {
            self.restore()?;
        }
        if let Some(failure) = self.overlay()?.take_failure() {
            return Err(failure);
        }
        let outcome = match error {
            MlsError::CantProcessMessageFromSelf if header.content == ContentType::Commit => {
                return Err(EngineError::OwnCommitLost);
            }
            MlsError::CantProcessMessageFromSelf if header.epoch == current => self.own_message(bytes)?,
            MlsError::CantProcessMessageFromSelf => Outcome::OwnMessage,
            MlsError::KeyMissing(_) => Outcome::Duplicate,
            MlsError::EpochNotFound | MlsError::InvalidEpoch if header.epoch < current => Outcome::StaleEpoch,
            MlsError::InvalidFutureGeneration(generation) => {
                let max = self.loaded()?.meta.maximum_forward_distance;
                return Err(EngineError::TooFarAhead { generation, max });
            }
            MlsError::MissingRequiredPsk => return Err(EngineError::PskMissing),
            MlsError::ProposalNotFound => return Err(EngineError::ProposalMissing),
            error => {
                return Err(match client_id_error(&error) {
                    Some(error) => error.into(),
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
    let (PrivateProtocolMessage { group_id, epoch_id, content_type }
    | PublicProtocolMessage { group_id, epoch_id, content_type, .. }) = message.description()
    else {
        return Err(EngineError::UnexpectedMessage);
    };
    if group_id != expected.as_bytes() {
        return Err(EngineError::WrongConversation(ConversationId::from(group_id)));
    }
    Ok(Header { epoch: epoch_id, content: content_type })
}

/// Who a member is, if there is one at this leaf.
fn member_identity(overlay: &Overlay, group: &MlsGroup, index: u32) -> Result<Option<WireIdentity>> {
    let member = group.member_at_index(index);
    member.map(|member| WireIdentity::of(overlay, &member.signing_identity)).transpose()
}
