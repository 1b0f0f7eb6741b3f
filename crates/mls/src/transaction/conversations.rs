//! Coming into conversations: creating, joining by Welcome, opening.

use mls_rs::{
    ExtensionList,
    crypto::SignaturePublicKey,
    error::MlsError,
    extension::built_in::ExternalSendersExt,
    group::Member,
    identity::{SigningIdentity, basic::BasicCredential},
};

use super::{TransactionContext, backdated, failure};
use crate::{
    ConversationGuard, ConversationId, CredentialRef, EngineError, ExternalSender, JoinedGroup,
    MlsConversationConfiguration, Result, Signer, WelcomeBundle, history,
    identity::{Judge, client_id_of},
    key_package::MAX_LIFETIME,
    loaded::Loaded,
    overlay,
    provider::{self, MlsGroup},
    record::GroupMeta,
    rotation,
    rules::{data_of, members_of, refusal, with_data, with_handshake},
    wire,
};

/// What comes to a Welcome from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinOptions {
    /// The ratchet tree (RFC 9420, section 12.4.3.3), where the Welcome does not hold it.
    pub ratchet_tree: Option<Vec<u8>>,
}

impl JoinOptions {
    /// Joins with this ratchet tree.
    #[must_use]
    pub fn with_ratchet_tree(ratchet_tree: impl Into<Vec<u8>>) -> Self {
        Self { ratchet_tree: Some(ratchet_tree.into()) }
    }
}

impl TransactionContext {
    /// Whether there is a conversation with this id. One that is only being joined does not count.
    pub fn conversation_exists(&self, id: &ConversationId) -> Result<bool> {
        self.writing()?.overlay.group_exists(id.as_bytes())
    }

    /// Creates a conversation with this device as its only member, in epoch 0.
    pub fn new_conversation(
        &mut self,
        id: &ConversationId,
        credential: &CredentialRef,
        config: MlsConversationConfiguration,
    ) -> Result<()> {
        let MlsConversationConfiguration { ciphersuite, external_senders, group_data, handshake, custom } =
            config;
        let config = self.session.config().clone();
        let writing = self.writing_mut()?;
        let overlay = writing.overlay.clone();
        if overlay.group_exists(id.as_bytes())? || overlay.pending(id.as_bytes())?.is_some() {
            return Err(EngineError::ConversationExists(id.clone()));
        }
        let credential = overlay.credential(credential)?;
        credential.ciphersuite.check_is(ciphersuite)?;
        let max = MlsConversationConfiguration::MAX_EXTERNAL_SENDERS;
        if external_senders.len() > max {
            return Err(EngineError::TooMany { requested: external_senders.len(), max });
        }
        check_group_data(group_data.as_deref())?;
        Judge::new(&overlay, &config).newcomer(&credential.signing_identity(), None)?;
        external_senders.iter().try_for_each(|sender| sender.check_fits(ciphersuite))?;
        let meta = GroupMeta::new(&custom, overlay.incarnation());
        let client = provider::client(&overlay, &config, &meta, Some(&credential), MAX_LIFETIME);
        let build = || {
            let mut extensions = ExtensionList::new();
            if !external_senders.is_empty() {
                let senders = external_senders.iter().map(external_signing_identity).collect();
                extensions.set_from(ExternalSendersExt::new(senders))?;
            }
            let extensions = with_handshake(with_data(extensions, group_data.as_deref()), handshake);
            client
                .group_builder()?
                .with_group_id(id.as_bytes().to_vec())
                .with_group_context_extensions(extensions)
                .with_now_time(backdated())
                .build()
        };
        let group = build().map_err(|error| failure(&overlay, error))?;
        history::joined(&overlay, id, &group)?;
        rotation::note_new_keys(&overlay, id, &meta);
        writing.insert(Loaded::new(group, meta, provider::first_serial()?))
    }

    /// Joins the conversation of a Welcome that answers a key package of this device. The key package is used up.
    ///
    /// A conversation of this id that exists must be wiped first. A join that is pending for an earlier epoch is dropped.
    pub fn process_welcome(&mut self, welcome: &[u8]) -> Result<WelcomeBundle> {
        self.process_welcome_with(welcome, &JoinOptions::default())
    }

    /// [`process_welcome`](Self::process_welcome) with what does not come in the Welcome.
    pub fn process_welcome_with(&mut self, welcome: &[u8], options: &JoinOptions) -> Result<WelcomeBundle> {
        let message = wire::message(welcome)?;
        let tree = options.ratchet_tree.as_deref().map(wire::ratchet_tree).transpose()?;
        let config = self.session.config().clone();
        let writing = self.writing_mut()?;
        let overlay = writing.overlay.clone();
        let references = message.welcome_key_package_references();
        if references.is_empty() {
            return Err(EngineError::UnexpectedMessage);
        }
        overlay.remember_key_packages()?;
        let mut own = None;
        for reference in references {
            if let Some(data) = overlay.key_package(reference)? {
                own = Some((reference, data));
                break;
            }
        }
        let (reference, own) = own.ok_or(EngineError::KeyPackageNotFound)?;
        let key = overlay::signature_key(&own)?;
        let credential = overlay.credential_with_key(&key)?.ok_or(EngineError::CredentialNotFound)?;

        let meta = GroupMeta::new(&config.joined, overlay.key_package_incarnation(reference)?);
        let client = provider::client(&overlay, &config, &meta, Some(&credential), MAX_LIFETIME);
        let (group, info) = client.join_group(tree, &message, None).map_err(|error| {
            match (overlay.take_failure(), refusal(&error)) {
                (Some(failure), _) => failure,
                (None, Some(error)) => error,
                (None, None) if matches!(error, MlsError::MissingRequiredPsk) => EngineError::PskMissing,
                (None, None) => EngineError::InvalidWelcome(Box::new(error)),
            }
        })?;
        let id = ConversationId::from(group.group_id());
        if overlay.group_exists(id.as_bytes())? {
            return Err(EngineError::ConversationExists(id));
        }
        if let Some(rules) = &config.group_rules {
            rules.check_joined(&joined_group(&group, info.sender)?).map_err(EngineError::RulesBroken)?;
        }
        let signed_by = signer(group.member_at_index(info.sender))?;
        let mut judge = Judge::new(&overlay, &config);
        judge.residents(&group)?;
        let crl_new_distribution_points = judge.new_points();
        fail_point!(WELCOMED);
        let epoch = group.current_epoch();
        history::joined(&overlay, &id, &group)?;
        rotation::note_new_keys(&overlay, &id, &meta);
        writing.insert(Loaded::new(group, meta, provider::first_serial()?))?;
        // A join for an earlier epoch was not taken, or is undone: else nobody could have added this device.
        if overlay.pending(id.as_bytes())?.is_some_and(|pending| pending.epoch < epoch) {
            overlay.delete_pending(id.as_bytes());
        }
        let mut guard = ConversationGuard::new(self, id.clone());
        guard.note_epoch(epoch)?;
        let buffered_messages = guard.replay(Vec::new())?.into_messages();
        Ok(WelcomeBundle { id, epoch, signed_by, buffered_messages, crl_new_distribution_points })
    }

    /// Opens a conversation for changes: one that exists, or one whose join is pending.
    ///
    /// It is async as all that may wait; the lock is held already, so that it does not.
    #[allow(clippy::unused_async)] // the contract has it async, and loading a large group may move off the thread
    pub async fn conversation(&mut self, id: &ConversationId) -> Result<ConversationGuard<'_>> {
        let config = self.session.config().clone();
        let writing = self.writing_mut()?;
        if writing.loaded(id, &config)?.is_none() && writing.overlay.pending(id.as_bytes())?.is_none() {
            return Err(EngineError::ConversationNotFound(id.clone()));
        }
        Ok(ConversationGuard::new(self, id.clone()))
    }
}

/// The member that has signed a group info.
pub(crate) fn signer(member: Option<Member>) -> Result<Signer> {
    let member = member.ok_or(EngineError::InvalidGroupInfo(None))?;
    let client_id = client_id_of(&member.signing_identity)?;
    Ok(Signer { client_id, signature_key: member.signing_identity.signature_key.to_vec() })
}

/// What the application's rules are asked about.
fn joined_group(group: &MlsGroup, welcomed_by: u32) -> Result<JoinedGroup> {
    let mut members = members_of(&group.roster())?;
    let own = client_id_of(
        &group
            .current_member_signing_identity()
            .map_err(|error| EngineError::InvalidWelcome(Box::new(error)))?
            .clone(),
    )?;
    let welcomed_by = members
        .get(&welcomed_by)
        .cloned()
        .ok_or_else(|| EngineError::InvalidWelcome(Box::new(MlsError::InvalidSender)))?;
    Ok(JoinedGroup {
        conversation: ConversationId::from(group.group_id()),
        own,
        welcomed_by,
        data: data_of(&group.context().extensions).map(<[u8]>::to_vec),
        members: std::mem::take(&mut members).into_values().collect(),
    })
}

/// Refuses group data that is too long.
pub(crate) fn check_group_data(data: Option<&[u8]>) -> Result<()> {
    let (len, max) = (data.map_or(0, <[u8]>::len), MlsConversationConfiguration::MAX_GROUP_DATA);
    if len > max { Err(EngineError::GroupDataTooLong { len, max }) } else { Ok(()) }
}

/// How an external sender stands in the group's context.
fn external_signing_identity(sender: &ExternalSender) -> SigningIdentity {
    SigningIdentity::new(
        BasicCredential::new(ExternalSender::IDENTITY.to_vec()).into_credential(),
        SignaturePublicKey::new(sender.as_bytes().to_vec()),
    )
}
