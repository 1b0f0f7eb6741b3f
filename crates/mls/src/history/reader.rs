//! Reading a span.

use std::fmt;

use mls_rs::{
    MlsMessage,
    error::MlsError,
    group::{CommitEffect, ContentType, ReceivedMessage},
};

use super::{HistorySecret, LABEL, unframe};
use crate::{
    ClientId, ConversationId, EngineError, KeyPackage, MlsConversationDecryptMessage, Outcome, Result,
    SessionConfig, WireIdentity,
    commit::changes,
    key_package::MAX_LIFETIME,
    overlay::Overlay,
    provider::{self, MlsGroup},
    receive::header,
    record::GroupMeta,
    wire,
};

/// The library's limit to how far a message may be ahead of its sender's last one.
const MAX_FORWARD: u32 = 1024;

/// Most proposals of one epoch that are remembered.
const MAX_PROPOSALS: usize = 10_000;

/// Reads a conversation's log as its history client, in memory. It can send nothing, and leaves no trace on disk.
///
/// Pass it the messages of the log in order, beginning with those behind the commit that added the history client (what
/// comes before is an error that changes nothing). It can be read again from the beginning by opening the secret again.
///
/// That the secret is genuine shows in that the messages of the log can be read with it: each is signed by its sender. A
/// member who wants to be sure that the members are the true ones compares
/// [`epoch_authenticator`](Self::epoch_authenticator) with its own conversation's in an epoch that both are in.
pub struct HistoryClient {
    id: ConversationId,
    client_id: ClientId,
    first_epoch: u64,
    /// The epoch that was ended by the removal of the history client.
    last_epoch: Option<u64>,
    config: SessionConfig,
    overlay: Overlay,
    group: MlsGroup,
}

impl HistoryClient {
    /// Opens a span. It costs about as much as joining the conversation did.
    ///
    /// `config` decides which identities may be members; it must be that of the conversation's devices.
    ///
    /// # Errors
    ///
    /// [`InvalidHistorySecret`](EngineError::InvalidHistorySecret) when the secret does not fit together.
    pub fn open(secret: &HistorySecret, config: &SessionConfig) -> Result<Self> {
        let refused = |error: MlsError| EngineError::InvalidHistorySecret(Some(Box::new(error)));
        let content = secret.content()?;
        let credential = content.credential()?;
        let data = content.key_package()?;
        let welcome = MlsMessage::from_bytes(&content.welcome).map_err(refused)?;
        let overlay = Overlay::scratch();
        let package = KeyPackage::from_bytes(&data.key_package_bytes)
            .map_err(|error| EngineError::InvalidHistorySecret(Some(Box::new(error))))?;
        overlay.insert_key_package(package.reference().to_vec(), &data)?;
        let meta = GroupMeta::new(&config.joined, 0);
        let client = provider::client(&overlay, config, &meta, Some(&credential), MAX_LIFETIME);
        let (mut group, _) = client.join_group(None, &welcome, None).map_err(refused)?;
        let is_consistent = group.group_id() == secret.conversation_id().as_bytes()
            && group.current_epoch() == secret.first_epoch()
            && group.current_member_signing_identity().map_err(refused)? == &credential.signing_identity();
        if !is_consistent {
            return Err(EngineError::InvalidHistorySecret(None));
        }
        group.write_to_storage().map_err(refused)?;
        Ok(Self {
            id: secret.conversation_id().clone(),
            client_id: secret.client_id().clone(),
            first_epoch: secret.first_epoch(),
            last_epoch: None,
            config: config.clone(),
            overlay,
            group,
        })
    }

    /// Whose history it is.
    pub fn conversation_id(&self) -> &ConversationId {
        &self.id
    }

    /// The member that the span is read as.
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The epoch that the reader is in.
    pub fn epoch(&self) -> u64 {
        self.group.current_epoch()
    }

    /// The last epoch of the span, once its end was read.
    pub fn last_epoch(&self) -> Option<u64> {
        self.last_epoch
    }

    /// The epoch authenticator (RFC 9420, section 8.7), by which members see that they are in the same state.
    pub fn epoch_authenticator(&self) -> Result<Vec<u8>> {
        let secret =
            self.group.epoch_authenticator().map_err(|error| EngineError::Library(Box::new(error)))?;
        Ok(secret.as_bytes().to_vec())
    }

    /// Reads the next message of the log.
    ///
    /// The outcomes are those of [`decrypt_message`](crate::ConversationGuard::decrypt_message) for a member who has
    /// sent nothing. The commit that ends the span gives `is_active: false`; late messages of the last epochs can still be
    /// read after it.
    ///
    /// # Errors
    ///
    /// The reader stands as before after an error. [`BeforeHistory`](EngineError::BeforeHistory) and
    /// [`HistoryEnded`](EngineError::HistoryEnded) when the message is outside the span;
    /// [`FutureEpoch`](EngineError::FutureEpoch) when commits are missing in between.
    pub fn process(&mut self, message: impl AsRef<[u8]>) -> Result<MlsConversationDecryptMessage> {
        let message = wire::message(message.as_ref())?;
        let header = header(&message, &self.id)?;
        let current = self.group.current_epoch();
        if header.epoch < self.first_epoch {
            return Err(EngineError::BeforeHistory { epoch: header.epoch, first: self.first_epoch });
        }
        if let Some(last) = self.last_epoch.filter(|last| header.epoch > *last) {
            return Err(EngineError::HistoryEnded { epoch: header.epoch, last });
        }
        if header.epoch > current {
            return Err(EngineError::FutureEpoch { epoch: header.epoch, current });
        }
        let is_over = header.epoch < current || self.last_epoch.is_some();
        if is_over && header.content != ContentType::Application {
            return Ok(MlsConversationDecryptMessage::new(Outcome::StaleEpoch, current));
        }
        let cached = self.group.get_cached_proposals().len();
        if header.content == ContentType::Proposal && cached >= MAX_PROPOSALS {
            return Err(EngineError::TooMany { requested: cached + 1, max: MAX_PROPOSALS });
        }
        let processed = self.group.process_incoming_message(message);
        match self.received(header.epoch, processed) {
            Ok(result) => Ok(result),
            // The key is gone: the message was read before. Looking for it changes nothing.
            Err(MlsError::KeyMissing(_)) => {
                Ok(MlsConversationDecryptMessage::new(Outcome::Duplicate, header.epoch))
            }
            Err(error) => {
                self.restore()?;
                match error {
                    MlsError::EpochNotFound | MlsError::InvalidEpoch if header.epoch < current => {
                        Ok(MlsConversationDecryptMessage::new(Outcome::StaleEpoch, header.epoch))
                    }
                    MlsError::InvalidFutureGeneration(generation) => {
                        Err(EngineError::TooFarAhead { generation, max: MAX_FORWARD })
                    }
                    MlsError::ProposalNotFound => Err(EngineError::ProposalMissing),
                    error => Err(EngineError::InvalidMessage(Box::new(error))),
                }
            }
        }
    }

    /// Who is at a leaf. Certificates are not judged: that was done when the message was new.
    fn member(&self, leaf: u32) -> Option<WireIdentity> {
        WireIdentity::of(&self.overlay, &self.group.member_at_index(leaf)?.signing_identity).ok()
    }

    fn received(
        &mut self,
        epoch: u64,
        processed: Result<ReceivedMessage, MlsError>,
    ) -> Result<MlsConversationDecryptMessage, MlsError> {
        match processed? {
            ReceivedMessage::ApplicationMessage(description) => {
                let mut result = MlsConversationDecryptMessage::new(Outcome::Application, epoch);
                result.app_msg = if description.authenticated_data == LABEL {
                    unframe(description.data()).and_then(|(_, application)| application)
                } else {
                    Some(description.data().to_vec())
                };
                if result.app_msg.is_none() {
                    result.outcome = Outcome::History;
                }
                result.identity = self.member(description.sender_index);
                result.sender_client_id = result.identity.as_ref().map(|identity| identity.client_id.clone());
                Ok(result)
            }
            ReceivedMessage::Proposal(_) => {
                self.group.write_to_storage()?;
                Ok(MlsConversationDecryptMessage::new(Outcome::Proposal, epoch))
            }
            ReceivedMessage::Commit(commit) => {
                let mut result = MlsConversationDecryptMessage::new(Outcome::Commit, epoch + 1);
                match &commit.effect {
                    CommitEffect::NewEpoch(_) => {
                        self.group.write_to_storage()?;
                        self.overlay.prune_epochs(self.id.as_bytes(), self.config.prior_epochs);
                    }
                    CommitEffect::Removed { .. } => {
                        self.last_epoch = Some(epoch);
                        result.is_active = false;
                    }
                    // Groups are not reinitialised.
                    CommitEffect::ReInit(_) => return Err(MlsError::UnexpectedMessageType),
                }
                (result.added, result.removed) = changes(&self.group, &commit);
                result.identity = self.member(commit.committer);
                result.external_join = commit.is_external;
                result.has_epoch_changed = true;
                Ok(result)
            }
            _ => Err(MlsError::UnexpectedMessageType),
        }
    }

    /// The group as it was after the last commit or proposal: a refused message may have left it half changed. Keys that
    /// were used since are there again, which does not matter to who cannot send.
    fn restore(&mut self) -> Result<()> {
        let meta = GroupMeta::new(&self.config.joined, 0);
        let client = provider::client(&self.overlay, &self.config, &meta, None, MAX_LIFETIME);
        self.group =
            client.load_group(self.id.as_bytes()).map_err(|error| EngineError::Library(Box::new(error)))?;
        Ok(())
    }
}

impl fmt::Debug for HistoryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryClient")
            .field("conversation", &self.id)
            .field("client_id", &self.client_id)
            .field("first_epoch", &self.first_epoch)
            .field("epoch", &self.epoch())
            .field("last_epoch", &self.last_epoch)
            .finish_non_exhaustive()
    }
}
