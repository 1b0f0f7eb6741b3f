//! Joining from outside by an external commit.

use mls_rs::{MlsMessage, error::MlsError};

use super::settle::publish;
use crate::{
    CommitIntent, ConversationGuard, ConversationId, CredentialRef, EngineError, MlsCommitBundle,
    MlsGroupInfoBundle, Result, TransactionContext, VerifiableGroupInfo, WelcomeBundle,
    identity::Judge,
    key_package::MAX_LIFETIME,
    overlay::Overlay,
    provider::{self, MlsGroup},
    receive::join::keep_with_pending,
    record::{GroupMeta, GroupRecord, PendingRecord, PendingState, sha256},
    rules::own_refusal,
};

impl TransactionContext {
    /// Joins a conversation from outside by an external commit (RFC 9420, section 12.4.3.2), and sends it.
    ///
    /// `group_info` holds the ratchet tree. If this client is a member already, its old leaf
    /// is removed in the same commit: so a device whose state is lost or damaged comes back. The old state is replaced
    /// when the hub has accepted.
    ///
    /// Refused while a commit of this device is pending in the conversation, since giving it up could lose the old state
    /// for nothing. To give it up all the same, wipe the conversation first.
    pub async fn join_by_external_commit(
        &mut self,
        group_info: VerifiableGroupInfo,
        credential: &CredentialRef,
    ) -> Result<WelcomeBundle> {
        let signed_by = group_info.signed_by()?;
        let (id, record) = self.stage_join(group_info, credential)?;
        let summary = publish(self, &id, record, false).await?;
        let buffered_messages = ConversationGuard::new(self, id.clone()).replay(Vec::new())?.into_messages();
        Ok(WelcomeBundle {
            id,
            epoch: summary.epoch,
            signed_by,
            buffered_messages,
            crl_new_distribution_points: summary.crl_new_distribution_points,
        })
    }

    fn stage_join(
        &mut self,
        group_info: VerifiableGroupInfo,
        credential: &CredentialRef,
    ) -> Result<(ConversationId, PendingRecord)> {
        let refused = |error: MlsError| EngineError::InvalidGroupInfo(Some(Box::new(error)));
        let config = self.session.config().clone();
        let credential = self.writing()?.overlay.credential(credential)?;
        let own = config.client_id_policy.canonical(&credential.client_id)?;

        let (id, epoch) = (group_info.conversation_id().clone(), group_info.epoch());
        if let Some(pending) = self.writing()?.overlay.pending(id.as_bytes())? {
            return Err(EngineError::PendingCommit { epoch: pending.epoch });
        }
        credential.ciphersuite.check_is(group_info.ciphersuite()?)?;
        let old_leaf = group_info.members()?.into_iter().find_map(|(member, client)| {
            (config.client_id_policy.canonical(&client).ok()? == own).then_some(member)
        });
        let message = group_info.into_message();
        let kept = message.to_bytes().map_err(refused)?;

        // Over nothing: the library would mix the secrets of the old state with those of the new one.
        let scratch = Overlay::scratch();
        let incarnation = self.writing()?.overlay.incarnation();
        let mut meta = match self.writing()?.overlay.group(id.as_bytes())? {
            // Who comes back keeps the settings.
            Some(old) => old.meta.of_new_leaf(incarnation),
            None => GroupMeta::new(&config.joined, incarnation),
        };
        let client = provider::client(&scratch, &config, &meta, Some(&credential), MAX_LIFETIME);
        let build = || -> Result<(MlsGroup, MlsMessage), MlsError> {
            let mut builder = client.external_commit_builder()?;
            if let Some(old) = &old_leaf {
                builder = builder.with_removal(old.index);
            }
            builder.build(message)
        };
        let (mut group, commit) = build().map_err(|error| match own_refusal(&error) {
            Some(error) => error,
            None => refused(error),
        })?;
        let overlay = &self.writing()?.overlay;
        let mut judge = Judge::new(overlay, &config);
        let old_identity = old_leaf.as_ref().map(|old| &old.signing_identity);
        judge.newcomer(&credential.signing_identity(), old_identity)?;
        // The old leaf of this device is not among them any more.
        judge.residents(&group)?;
        let library = |error: MlsError| EngineError::Library(Box::new(error));
        let bundle = MlsCommitBundle {
            welcome: None,
            commit: commit.to_bytes().map_err(library)?,
            group_info: MlsGroupInfoBundle::full_plaintext(
                group
                    .group_info_message_allowing_ext_commit(true)
                    .and_then(|info| info.to_bytes())
                    .map_err(library)?,
            ),
            encrypted_message: None,
        };
        group.write_to_storage().map_err(library)?;
        let written = scratch
            .group(id.as_bytes())?
            .ok_or(EngineError::DamagedState { what: "external commit", source: None })?;
        meta.remember_own_commit(epoch, sha256(&bundle.commit));
        let joined = GroupRecord::new(meta, None, Vec::new(), written.snapshot).to_bytes()?;
        keep_with_pending(overlay, &id, kept)?;
        let state = PendingState::Join(joined);
        Ok((id, PendingRecord::new(epoch, overlay.incarnation(), bundle, state, CommitIntent::Join)))
    }
}
