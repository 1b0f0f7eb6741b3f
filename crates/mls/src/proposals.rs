//! Proposals of this device: changes that somebody, this device or another, commits later.

mod external;
pub(crate) mod renewal;

use mls_rs::{MlsMessage, error::MlsError, group::ReceivedMessage, time::MlsTime};

use crate::{
    ClientId, ConversationGuard, ConversationId, EngineError, KeyPackage, MlsProposalBundle, Result,
    TransactionContext, conversation::ciphersuite, identity::Judge, provider::MlsGroup, rules::refusal,
};

/// What a proposal of this device is to bring about.
#[derive(Debug)]
pub(crate) enum Intent {
    Add(KeyPackage),
    /// With the leaf that it must have, if not any.
    Remove(ClientId, Option<u32>),
    Update,
}

impl TransactionContext {
    /// Proposes to add a client by its key package.
    ///
    /// Like every own proposal it waits in this device's state at once, and is part of its next commit. Send it to the
    /// others after [`finish`](Self::finish). If another member's commit leaves it out, it is
    /// [renewed](crate::MlsConversationDecryptMessage::proposals).
    pub async fn new_add_proposal(
        &mut self,
        id: &ConversationId,
        key_package: KeyPackage,
    ) -> Result<MlsProposalBundle> {
        self.conversation(id).await?.propose(&Intent::Add(key_package))
    }

    /// Proposes to remove a client. It may be this device itself, which others have to commit: so one leaves.
    pub async fn new_remove_proposal(
        &mut self,
        id: &ConversationId,
        client_id: ClientId,
    ) -> Result<MlsProposalBundle> {
        self.conversation(id).await?.propose(&Intent::Remove(client_id, None))
    }

    /// Proposes new keys for this device's own leaf. Others have to commit it; in a commit of its own the device gets new
    /// keys anyhow.
    pub async fn new_update_proposal(&mut self, id: &ConversationId) -> Result<MlsProposalBundle> {
        self.conversation(id).await?.propose(&Intent::Update)
    }
}

impl ConversationGuard<'_> {
    /// Forgets the pending proposals, own and others', so that application messages can be sent without committing them.
    ///
    /// The other members do not forget theirs. If one of them commits a forgotten proposal, that commit is
    /// [buffered](crate::Outcome::Buffered) until the proposal comes again.
    pub fn clear_pending_proposals(&mut self) -> Result<()> {
        self.refuse_while_pending()?;
        let overlay = self.overlay()?.clone();
        let loaded = self.loaded()?;
        if loaded.group.commit_required() {
            loaded.group.clear_proposal_cache();
            loaded.snapshot(&overlay)?;
        }
        Ok(())
    }

    /// Forgets the pending proposals, own and others', because the delivery service has withdrawn them all: no commit can have
    /// one of them any more. Those that it sends again afterwards are pending again.
    ///
    /// It can be called while a commit of this device is pending, which stays as it is: the delivery service refuses it if it
    /// refers to a proposal that was withdrawn.
    pub fn withdraw_pending_proposals(&mut self) -> Result<()> {
        let overlay = self.overlay()?.clone();
        match self.loaded_if_joined()? {
            Some(loaded) if loaded.group.commit_required() => {
                loaded.group.clear_proposal_cache();
                loaded.snapshot(&overlay)
            }
            _ => Ok(()),
        }
    }

    /// Makes a proposal of this device in the current epoch.
    pub(crate) fn propose(&mut self, intent: &Intent) -> Result<MlsProposalBundle> {
        self.refuse_while_pending()?;
        let config = self.config();
        let policy = &config.client_id_policy;
        let overlay = self.overlay()?.clone();
        let mut judge = Judge::new(&overlay, &config);
        let loaded = self.loaded()?;
        // An encrypted proposal would use a key of this epoch, perhaps a second time.
        if loaded.meta.encrypts_handshake() && loaded.meta.incarnation != Some(overlay.incarnation()) {
            return Err(EngineError::StateRestored);
        }
        let group = &mut loaded.group;
        let member = |group: &MlsGroup, client: &ClientId| {
            let canonical = policy.canonical(client)?;
            Ok::<_, EngineError>(group.member_with_identity(canonical.as_bytes()).ok())
        };
        let proposed = match intent {
            Intent::Add(package) => {
                if member(group, package.client_id())?.is_some() {
                    return Err(EngineError::AlreadyMember(package.client_id().clone()));
                }
                check(group, package)?;
                let message = package.checked_message(MlsTime::now().seconds_since_epoch())?;
                let content = message.as_key_package().ok_or(EngineError::InvalidKeyPackage(None))?;
                judge.key_package(content.signing_identity(), group)?;
                group.propose_add(message, Vec::new())
            }
            Intent::Remove(client, leaf) => {
                let member = member(group, client)?
                    .filter(|member| leaf.is_none_or(|leaf| leaf == member.index))
                    .ok_or_else(|| EngineError::NoSuchMember(client.clone()))?;
                group.propose_remove(member.index, Vec::new())
            }
            Intent::Update => group.propose_update(Vec::new()),
        };
        let bundle = proposed
            .and_then(|message| described(group, message))
            .map_err(library)
            .and_then(|bundle| loaded.snapshot(&overlay).map(|()| bundle));
        match bundle {
            Ok(bundle) => Ok(MlsProposalBundle { crl_new_distribution_points: judge.new_points(), ..bundle }),
            Err(error) => {
                self.restore()?;
                Err(error)
            }
        }
    }
}

/// Whether the key package is valid, now and in this group. The library checks it when it is committed only.
fn check(group: &mut MlsGroup, package: &KeyPackage) -> Result<()> {
    let refused = |error: MlsError| match refusal(&error) {
        Some(error) => error,
        None => EngineError::InvalidKeyPackage(Some(Box::new(error))),
    };
    package.ciphersuite().check_is(ciphersuite(group)?)?;
    let message = package.checked_message(MlsTime::now().seconds_since_epoch())?;
    match group.process_incoming_message(message).map_err(refused)? {
        ReceivedMessage::KeyPackage(_) => Ok(()),
        _ => Err(EngineError::InvalidKeyPackage(None)),
    }
}

/// A message of this device with its proposal's reference, which the library tells who receives it: it is known, so that
/// receiving it changes nothing.
fn described(group: &mut MlsGroup, message: MlsMessage) -> Result<MlsProposalBundle, MlsError> {
    let proposal = message.to_bytes()?;
    match group.process_incoming_message(message)? {
        ReceivedMessage::Proposal(description) => Ok(bundle(proposal, description.proposal_ref())),
        _ => Err(MlsError::UnexpectedMessageType),
    }
}

fn bundle(proposal: Vec<u8>, proposal_ref: Vec<u8>) -> MlsProposalBundle {
    MlsProposalBundle { proposal, proposal_ref, crl_new_distribution_points: None }
}

fn library(error: MlsError) -> EngineError {
    EngineError::Library(Box::new(error))
}
