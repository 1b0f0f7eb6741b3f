//! Sending a commit, and what follows from the answer.

use mls_rs::{
    error::MlsError,
    group::{CommitEffect, CommitMessageDescription, CommitSecrets, proposal::Proposal},
};

use crate::{
    CertificatePolicy, ClientId, CommitOutcome, CommitSummary, ConversationGuard, ConversationId,
    EngineError, NewCrlDistributionPoints, RejectReason, Result, SessionConfig, TransactionContext,
    events::Event,
    identity::{Judge, client_id_of},
    loaded::Loaded,
    overlay::Overlay,
    provider::{self, MlsGroup},
    record::{GroupRecord, PendingRecord, PendingState},
    rotation,
    sent::{ContentDigest, content_of_first},
    transaction::failure,
};

/// Persists a commit as pending, sends it without the lock, and settles it by the answer. `again` when it was sent before.
pub(super) async fn publish(
    tx: &mut TransactionContext,
    id: &ConversationId,
    record: PendingRecord,
    again: bool,
) -> Result<CommitSummary> {
    if !again {
        ConversationGuard::new(tx, id.clone()).keep_pending(&record)?;
    }
    fail_point!(STAGED);
    tx.persist()?;
    fail_point!(PENDING);
    tx.unlock();
    fail_point!(SEND);
    tracing::debug!(conversation = %id, epoch = record.head.epoch, again, "sending a commit");
    let outcome = tx.session.transport().send_commit_bundle(id, record.body.bundle()).await;
    tracing::debug!(conversation = %id, epoch = record.head.epoch, ?outcome, "the hub answered");
    fail_point!(ANSWERED);
    tx.lock().await?;
    fail_point!(SETTLE);

    let mut guard = ConversationGuard::new(tx, id.clone());
    if guard.pending()?.is_none_or(|pending| pending != record.head) {
        // Another process has received the log meanwhile and settled it.
        return settled_elsewhere(&mut guard, &record);
    }
    match outcome {
        CommitOutcome::Accepted => {
            let summary = guard.merge(&record)?;
            fail_point!(MERGED);
            tx.persist()?;
            fail_point!(SETTLED);
            Ok(summary)
        }
        CommitOutcome::Rejected(reason) => {
            // What the hub says of the second sending, it says when the first may be in its log already, or is still on its way:
            // that the epoch is over, or that this device is no member any more.
            if !again {
                tx.writing()?.overlay.delete_pending(id.as_bytes());
                fail_point!(REJECTED);
                tx.persist()?;
                fail_point!(SETTLED);
            }
            Err(EngineError::CommitRejected(reason))
        }
        CommitOutcome::Unknown { detail } => Err(EngineError::CommitOutcomeUnknown { detail }),
    }
}

/// What became of a commit that is not pending any more.
fn settled_elsewhere(guard: &mut ConversationGuard<'_>, record: &PendingRecord) -> Result<CommitSummary> {
    let config = guard.config();
    let overlay = guard.overlay()?.clone();
    let Some(loaded) = guard.loaded_if_joined()? else {
        return Err(EngineError::CommitRejected(RejectReason::StaleEpoch { current: None }));
    };
    let epoch = loaded.group.current_epoch();
    if !loaded.meta.is_own_commit(&record.head.sha256) {
        return Err(EngineError::CommitRejected(RejectReason::StaleEpoch { current: Some(epoch) }));
    }
    let (added, removed, crl_new_distribution_points) = match &record.body.state {
        PendingState::Join(_) => {
            (vec![loaded.own_client_id()?], Vec::new(), new_points(&overlay, &config, &loaded.group, None))
        }
        PendingState::Commit(secrets) => {
            // The secrets know what they change, whatever group they are applied to.
            let mut copy = loaded.group.clone();
            let description = CommitSecrets::from_bytes(secrets)
                .and_then(|secrets| copy.apply_detached_commit(secrets))
                .map_err(|error| failure(&overlay, error))?;
            let (added, removed) = changes(&copy, &description);
            (added, removed, new_points(&overlay, &config, &copy, Some(&description)))
        }
    };
    // It is on disk, but who has written it may be in another process, which has other observers.
    let conversation = guard.id.clone();
    guard.tx.session.events().push([Event::EpochChanged { conversation, epoch }]);
    Ok(CommitSummary {
        epoch: record.head.epoch + 1,
        added,
        removed,
        buffered_messages: None,
        crl_new_distribution_points,
    })
}

impl ConversationGuard<'_> {
    /// Applies the pending commit, which the hub has accepted.
    pub(crate) fn merge(&mut self, record: &PendingRecord) -> Result<CommitSummary> {
        let config = self.config();
        let overlay = self.overlay()?.clone();
        match &record.body.state {
            PendingState::Join(bytes) => {
                let joined = GroupRecord::from_bytes(bytes)?;
                overlay.replace_group(self.id.as_bytes(), joined, provider::first_serial()?);
                overlay.delete_pending(self.id.as_bytes());
                self.tx.writing_mut()?.unload(&self.id);
                self.rejoin_history()?;
                let id = self.id.clone();
                let epoch = self.loaded()?.group.current_epoch();
                self.note_epoch(epoch)?;
                let loaded = self.loaded()?;
                rotation::note_new_keys(&overlay, &id, &loaded.meta);
                Ok(CommitSummary {
                    epoch,
                    added: vec![loaded.own_client_id()?],
                    removed: Vec::new(),
                    buffered_messages: None,
                    crl_new_distribution_points: new_points(&overlay, &config, &loaded.group, None),
                })
            }
            PendingState::Commit(secrets) => {
                let id = self.id.clone();
                let loaded = self.loaded()?;
                loaded.has_replayed = false;
                if loaded.group.current_epoch() != record.head.epoch {
                    return Err(EngineError::DamagedState { what: "pending commit", source: None });
                }
                let damaged = |error| EngineError::DamagedState {
                    what: "pending commit",
                    source: Some(Box::new(error)),
                };
                let applied =
                    apply(loaded, secrets, record).map_err(damaged).map(|(summary, commit, sent)| {
                        let found = new_points(&overlay, &config, &loaded.group, Some(&commit));
                        (CommitSummary { crl_new_distribution_points: found, ..summary }, commit, sent)
                    });
                match applied {
                    Ok((summary, commit, sent)) => {
                        let merged = self.merge_history(&commit, &summary.removed);
                        if merged.is_err() {
                            self.restore()?;
                        }
                        merged?;
                        let loaded = self.loaded()?;
                        // That of the store which has made the commit: a copy of it has the same keys.
                        loaded.meta.incarnation = record.head.incarnation;
                        loaded.snapshot(&overlay)?;
                        if let (Some(message), Some(content)) = (record.body.message(), sent) {
                            // It has the first key of the epoch, which the snapshot does without already.
                            loaded.note_sent(&overlay, 0, message, content)?;
                        }
                        rotation::note_new_keys(&overlay, &id, &loaded.meta);
                        overlay.delete_pending(self.id.as_bytes());
                        self.note_epoch(summary.epoch)?;
                        Ok(summary)
                    }
                    Err(error) => {
                        // A store that is busy is not damaged.
                        let failure = overlay.take_failure();
                        self.restore()?;
                        Err(failure.unwrap_or(error))
                    }
                }
            }
        }
    }
}

/// Applies a member's own commit to the loaded group. Gives the content of the message that went along, too.
fn apply(
    loaded: &mut Loaded,
    secrets: &[u8],
    record: &PendingRecord,
) -> Result<(CommitSummary, CommitMessageDescription, Option<ContentDigest>), MlsError> {
    let description = loaded.group.apply_detached_commit(CommitSecrets::from_bytes(secrets)?)?;
    let sent = match record.body.message() {
        Some(message) => {
            // The first key of the new epoch has encrypted the message that went along.
            let key = loaded.group.next_encryption_key()?;
            Some(content_of_first(&loaded.group, &key, message).ok_or(MlsError::UnexpectedMessageType)?)
        }
        None => None,
    };
    loaded.meta.remember_own_commit(record.head.epoch, record.head.sha256);
    let (added, removed) = changes(&loaded.group, &description);
    let epoch = loaded.group.current_epoch();
    let summary =
        CommitSummary { epoch, added, removed, buffered_messages: None, crl_new_distribution_points: None };
    Ok((summary, description, sent))
}

/// The new distribution points in the certificates of those who came in by a commit of this device; without a commit, of
/// all members. The commit is taken already: that they cannot be found does not undo it.
fn new_points(
    overlay: &Overlay,
    config: &SessionConfig,
    group: &MlsGroup,
    commit: Option<&CommitMessageDescription>,
) -> NewCrlDistributionPoints {
    let config = SessionConfig { certificate_policy: CertificatePolicy::Report, ..config.clone() };
    let mut judge = Judge::new(overlay, &config);
    let judged = match commit {
        Some(commit) => judge.commit(group, commit),
        None => judge.residents(group),
    };
    if let Err(error) = judged {
        tracing::warn!(%error, "the certificates of an own commit cannot be judged");
    }
    judge.new_points()
}

/// Who is new and who is gone by a commit, given the group after it. A client in its own place is neither.
pub(crate) fn changes(after: &MlsGroup, commit: &CommitMessageDescription) -> (Vec<ClientId>, Vec<ClientId>) {
    let new_epoch = match &commit.effect {
        CommitEffect::NewEpoch(new_epoch) | CommitEffect::Removed { new_epoch, .. } => new_epoch,
        CommitEffect::ReInit(_) => return (Vec::new(), Vec::new()),
    };
    let mut added = Vec::new();
    let mut removed = Vec::new();
    for info in new_epoch.applied_proposals() {
        match &info.proposal {
            Proposal::Add(add) => added.extend(client_id_of(add.signing_identity())),
            Proposal::Remove(remove) => removed.extend(
                new_epoch
                    .prior_state()
                    .member_at_index(remove.to_remove())
                    .and_then(|member| client_id_of(&member.signing_identity).ok()),
            ),
            _ => {}
        }
    }
    if commit.is_external {
        added.extend(
            after
                .member_at_index(commit.committer)
                .and_then(|member| client_id_of(&member.signing_identity).ok()),
        );
    }
    let both: Vec<ClientId> = added.iter().filter(|client| removed.contains(client)).cloned().collect();
    added.retain(|client| !both.contains(client));
    removed.retain(|client| !both.contains(client));
    (added, removed)
}
