//! Taking another credential into use in a conversation.

use super::CommitOptions;
use crate::{
    CommitIntent, CommitSummary, ConversationGuard, CredentialRef, EngineError, Result,
    commit::{bundle, refused_commit},
    conversation::ciphersuite,
    history::HistoryChange,
    identity::Judge,
};

impl ConversationGuard<'_> {
    /// Gives the own leaf another credential of the same client, and new keys: a certificate in the place of a basic
    /// credential, or a new certificate in the place of one that expires. Pending proposals go with the commit.
    ///
    /// Under [`CertificatePolicy::Enforce`](crate::CertificatePolicy::Enforce) a certificate that is not good is refused, as
    /// it would be by the others, and so is the way back to a basic credential.
    pub async fn set_credential_by_ref(&mut self, credential: &CredentialRef) -> Result<()> {
        self.set_credential_by_ref_with(credential, CommitOptions::default()).await.map(drop)
    }

    /// [`set_credential_by_ref`](Self::set_credential_by_ref), with what goes along and with a summary.
    pub async fn set_credential_by_ref_with(
        &mut self,
        credential: &CredentialRef,
        options: CommitOptions,
    ) -> Result<CommitSummary> {
        self.refuse_to_commit(false)?;
        let config = self.config();
        let overlay = self.overlay()?.clone();
        let loaded = self.loaded()?;
        let credential = overlay.credential(credential)?;
        credential.ciphersuite.check_is(ciphersuite(&loaded.group)?)?;
        let own = loaded.own_client_id()?;
        let policy = &config.client_id_policy;
        if policy.canonical(&own)? != policy.canonical(&credential.client_id)? {
            return Err(EngineError::WrongClient(credential.client_id.clone()));
        }
        let damaged = |error| EngineError::Library(Box::new(error));
        let before = loaded.group.current_member_signing_identity().map_err(damaged)?.clone();
        let identity = credential.signing_identity();
        let mut judge = Judge::new(&overlay, &config);
        judge.newcomer(&identity, Some(&before))?;
        let refused = judge.gone_bad(&loaded.group)?;
        let plan = self.plan_history(HistoryChange::Keep, &[], false, &options)?;
        let loaded = self.loaded()?;
        let built = overlay.trust().refusing(refused, || {
            let mut builder = loaded.group.commit_builder();
            if let Some(new) = &plan.new {
                builder = builder.add_member(new.key_package.clone())?;
            }
            for leaf in &plan.remove {
                builder = builder.remove_member(*leaf)?;
            }
            builder.set_new_signing_identity(credential.signer(), identity).build_detached()
        });
        match built.and_then(|(output, secrets)| Ok((bundle(&output)?, secrets))) {
            Ok((bundle, secrets)) => {
                let record = self.finish_staging(bundle, secrets, options, plan)?;
                self.publish(record.with_intent(CommitIntent::Credential)).await
            }
            Err(error) => {
                self.restore()?;
                Err(refused_commit(&overlay, error, false))
            }
        }
    }
}
