//! Proposals from outside the group (RFC 9420, section 12.1.8).

use mls_rs::{
    ExtensionList, MlsMessage,
    error::MlsError,
    extension::built_in::ExternalSendersExt,
    external_client::{ExternalClient, ExternalGroup, ExternalReceivedMessage, builder::MlsConfig},
    group::Member,
    identity::SigningIdentity,
};

use super::bundle;
use crate::{
    ClientId, CredentialRef, EngineError, MlsProposalBundle, Result, SessionConfig, TransactionContext,
    VerifiableGroupInfo,
    credential::Credential,
    identity::{PolicyIdentityProvider, client_id_of},
    key_package::MAX_LIFETIME,
    overlay::Overlay,
    provider,
    record::GroupMeta,
    transaction::backdated,
};

impl TransactionContext {
    /// Proposes to a conversation to add this device, with a key package that is made for it (RFC 9420, section
    /// 12.1.8.2).
    ///
    /// `group_info` holds the ratchet tree, in which no member's key package has expired: the library looks at that of each who has made no
    /// commit yet. An external commit does not, and brings this device in just as well. Send the proposal after
    /// [`finish`](Self::finish): the Welcome that answers it needs what is stored. Nothing is pending meanwhile, and
    /// nothing is renewed: if a commit leaves the proposal out, make another one with a fresh group info.
    pub fn new_external_add_proposal(
        &mut self,
        group_info: VerifiableGroupInfo,
        credential: &CredentialRef,
    ) -> Result<MlsProposalBundle> {
        let config = self.session.config().clone();
        let overlay = self.writing()?.overlay.clone();
        let credential = overlay.credential(credential)?;
        let info = group_info_of(group_info, &credential)?;
        let mut group = observe(&overlay, &config, None, info.clone())?;
        if member(&config, &group, &credential.client_id)?.is_some() {
            return Err(EngineError::AlreadyMember(credential.client_id.clone()));
        }
        let meta = GroupMeta::new(&config.joined, overlay.incarnation());
        let client = provider::client(&overlay, &config, &meta, Some(&credential), MAX_LIFETIME);
        let none = ExtensionList::new;
        let proposed =
            client.external_add_proposal(&info, None, Vec::new(), none(), none(), Some(backdated()));
        match proposed.and_then(|message| described(&mut group, message)) {
            Ok(bundle) => Ok(bundle),
            Err(error) => Err(overlay.take_failure().unwrap_or_else(|| refused(error))),
        }
    }

    /// Proposes to a conversation to remove a member, as one of its external senders (RFC 9420, section 12.1.8.1): the
    /// credential's public key is among the conversation's
    /// [`external_senders`](crate::MlsConversationConfiguration::external_senders).
    ///
    /// `group_info` holds the ratchet tree.
    ///
    /// # Errors
    ///
    /// [`NoExternalSender`](EngineError::NoExternalSender) when the conversation does not know the key.
    pub fn new_external_remove_proposal(
        &mut self,
        group_info: VerifiableGroupInfo,
        client_id: &ClientId,
        credential: &CredentialRef,
    ) -> Result<MlsProposalBundle> {
        let config = self.session.config().clone();
        let credential = self.writing()?.overlay.credential(credential)?;
        let info = group_info_of(group_info, &credential)?;
        let sender = sender_with_key(&info, &credential.public_key)?.ok_or(EngineError::NoExternalSender)?;
        let overlay = self.writing()?.overlay.clone();
        let mut group = observe(&overlay, &config, Some((&credential, sender)), info)?;
        let target = member(&config, &group, client_id)?
            .ok_or_else(|| EngineError::NoSuchMember(client_id.clone()))?;
        group
            .propose_remove(target.index, Vec::new())
            .and_then(|message| described(&mut group, message))
            .map_err(|error| EngineError::Library(Box::new(error)))
    }
}

fn refused(error: MlsError) -> EngineError {
    EngineError::InvalidGroupInfo(Some(Box::new(error)))
}

/// The group info, of a group with the credential's ciphersuite.
fn group_info_of(info: VerifiableGroupInfo, credential: &Credential) -> Result<MlsMessage> {
    credential.ciphersuite.check_is(info.ciphersuite()?)?;
    Ok(info.into_message())
}

/// The group as who is outside sees it.
fn observe(
    overlay: &Overlay,
    config: &SessionConfig,
    sender: Option<(&Credential, SigningIdentity)>,
    info: MlsMessage,
) -> Result<ExternalGroup<impl MlsConfig + use<>>> {
    let builder = ExternalClient::builder().crypto_provider(provider::crypto_provider()).identity_provider(
        PolicyIdentityProvider {
            clients: config.client_id_policy.clone(),
            certificates: config.certificate_policy,
            trust: overlay.trust().clone(),
        },
    );
    let client = match sender {
        Some((credential, identity)) => builder.signer(credential.signer(), identity).build(),
        None => builder.build(),
    };
    // Members who have said nothing for long may be in it by a key package that has expired since (RFC 9420, section 7.3).
    client.observe_group(info, None, None).map_err(refused)
}

fn member(
    config: &SessionConfig,
    group: &ExternalGroup<impl MlsConfig>,
    client: &ClientId,
) -> Result<Option<Member>> {
    let canonical = |client: &ClientId| config.client_id_policy.canonical(client);
    let wanted = canonical(client).map_err(EngineError::InvalidClientId)?;
    let is_it = |member: &Member| {
        client_id_of(&member.signing_identity).and_then(|client| canonical(&client)).ok().as_ref()
            == Some(&wanted)
    };
    Ok(group.roster().members_iter().find(is_it))
}

fn sender_with_key(info: &MlsMessage, public_key: &[u8]) -> Result<Option<SigningIdentity>> {
    let context = info.as_group_info().ok_or(EngineError::InvalidGroupInfo(None))?.group_context();
    let senders = context
        .extensions
        .get_as::<ExternalSendersExt>()
        .map_err(|error| EngineError::InvalidGroupInfo(Some(Box::new(error))))?;
    let senders = senders.as_ref().map(ExternalSendersExt::allowed_senders).unwrap_or_default();
    Ok(senders.iter().find(|sender| sender.signature_key.as_bytes() == public_key).cloned())
}

/// A proposal with its reference, as the members will see it.
fn described(
    group: &mut ExternalGroup<impl MlsConfig>,
    message: MlsMessage,
) -> Result<MlsProposalBundle, MlsError> {
    let proposal = message.to_bytes()?;
    match group.process_incoming_message(message)? {
        ExternalReceivedMessage::Proposal(description) => Ok(bundle(proposal, description.proposal_ref())),
        _ => Err(MlsError::UnexpectedMessageType),
    }
}
