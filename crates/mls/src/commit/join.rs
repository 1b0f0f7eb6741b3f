//! Joining from outside by an external commit.

use mls_rs::{MlsMessage, error::MlsError, extension::built_in::RatchetTreeExt};

use super::settle::publish;
use crate::{
    ConversationId, CredentialRef, EngineError, MlsCommitBundle, Result, TransactionContext, WelcomeBundle,
    identity::client_id_of,
    key_package::MAX_LIFETIME,
    overlay::Overlay,
    provider::{self, MlsGroup},
    record::{GroupMeta, GroupRecord, PendingRecord, PendingState, sha256},
    wire,
};

impl TransactionContext {
    /// Joins a conversation from outside by an external commit (RFC 9420, section 12.4.3.2), and sends it.
    ///
    /// `group_info` holds the ratchet tree, bare or as an `MLSMessage`. If this client is a member already, its old leaf
    /// is removed in the same commit: so a device whose state is lost or damaged comes back. The old state is replaced
    /// when the hub has accepted.
    ///
    /// Refused while a commit of this device is pending in the conversation, since giving it up could lose the old state
    /// for nothing. To give it up all the same, wipe the conversation first.
    pub async fn join_by_external_commit(
        &mut self,
        group_info: &[u8],
        credential: &CredentialRef,
    ) -> Result<WelcomeBundle> {
        let (id, record) = self.stage_join(group_info, credential)?;
        let summary = publish(self, &id, record, false).await?;
        Ok(WelcomeBundle {
            id,
            epoch: summary.epoch,
            buffered_messages: summary.buffered_messages,
            crl_new_distribution_points: None,
        })
    }

    fn stage_join(
        &mut self,
        group_info: &[u8],
        credential: &CredentialRef,
    ) -> Result<(ConversationId, PendingRecord)> {
        let refused = |error: MlsError| EngineError::InvalidGroupInfo(Some(Box::new(error)));
        let config = self.session.config().clone();
        let credential = self.writing()?.overlay.credential(credential)?;
        let own =
            config.client_id_policy.canonical(&credential.client_id).map_err(EngineError::InvalidClientId)?;

        let message = wire::group_info(group_info).map_err(refused)?;
        let info = message.as_group_info().ok_or(EngineError::InvalidGroupInfo(None))?;
        let context = info.group_context();
        let (id, epoch) = (ConversationId::from(context.group_id.as_slice()), context.epoch);
        if let Some(pending) = self.writing()?.overlay.pending(id.as_bytes())? {
            return Err(EngineError::PendingCommit { epoch: pending.epoch });
        }
        let suite = *context.cipher_suite;
        if suite != credential.ciphersuite.number() {
            return Err(EngineError::UnsupportedCiphersuite(suite));
        }
        let tree = info
            .extensions()
            .get_as::<RatchetTreeExt>()
            .map_err(|error| EngineError::InvalidGroupInfo(Some(Box::new(error))))?
            .ok_or(EngineError::InvalidGroupInfo(None))?;
        let old_leaf = tree.tree_data().roster().members_iter().find_map(|member| {
            let client = client_id_of(&member.signing_identity).ok()?;
            (config.client_id_policy.canonical(&client).ok()? == own).then_some(member.index)
        });

        // Over nothing: the library would mix the secrets of the old state with those of the new one.
        let scratch = Overlay::scratch();
        let mut meta = GroupMeta::new(&config.joined, self.writing()?.overlay.incarnation());
        let client = provider::client(&scratch, &config, &meta, Some(&credential), MAX_LIFETIME);
        let build = || -> Result<(MlsGroup, MlsMessage), MlsError> {
            let mut builder = client.external_commit_builder()?;
            if let Some(leaf) = old_leaf {
                builder = builder.with_removal(leaf);
            }
            builder.build(message.clone())
        };
        let (mut group, commit) = build().map_err(refused)?;
        let library = |error: MlsError| EngineError::Library(Box::new(error));
        let bundle = MlsCommitBundle {
            welcome: None,
            commit: commit.to_bytes().map_err(library)?,
            group_info: group
                .group_info_message_allowing_ext_commit(true)
                .and_then(|info| info.to_bytes())
                .map_err(library)?,
            encrypted_message: None,
        };
        group.write_to_storage().map_err(library)?;
        let written = scratch
            .group(id.as_bytes())?
            .ok_or(EngineError::DamagedState { what: "external commit", source: None })?;
        meta.remember_own_commit(epoch, sha256(&bundle.commit));
        let joined = GroupRecord::new(meta, true, Vec::new(), written.snapshot).to_bytes()?;
        Ok((id, PendingRecord::new(epoch, bundle, PendingState::Join(joined))))
    }
}
