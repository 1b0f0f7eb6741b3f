//! Reading a span.

use std::fmt;

use mls_rs::{
    MlsMessage,
    error::MlsError,
    group::{
        ApplicationMessageDescription, CommitEffect, CommitMessageDescription, ContentType, ReceivedMessage,
    },
};

use super::{HistorySecret, LABEL, unframe};
use crate::{
    ClientId, ConversationId, EngineError, KeyPackage, MlsConversationDecryptMessage, Outcome, Result,
    SessionConfig, WireIdentity,
    commit::changes,
    key_package::MAX_LIFETIME,
    loaded::Loaded,
    overlay::Overlay,
    provider,
    receive::{Header, header},
    record::GroupMeta,
    rules::refusal,
    wire,
};

/// Most proposals of one epoch that are remembered.
const MAX_PROPOSALS: usize = 10_000;

/// Reads a conversation's log as its history client, in memory. It can send nothing, and leaves no trace on disk.
///
/// Messages that come out of order, and gaps, are treated as the session's settings for joined conversations say.
///
/// Pass it the messages of the log in order, beginning with those behind the commit that added the history client (what
/// comes before is an error that changes nothing). It can be read again from the beginning by opening the secret again.
///
/// That the secret is genuine shows in that the messages of the log can be read with it: each is signed by its sender. Who
/// they are, a made-up group can lie about. A span that is [verified](crate::HistorySpan::is_verified) is of this conversation;
/// with one that is open, a newcomer reads the log up to its own epoch and has it
/// [confirmed](crate::ConversationGuard::confirm_history).
pub struct HistoryClient {
    id: ConversationId,
    client_id: ClientId,
    first_epoch: u64,
    secret: HistorySecret,
    /// The epoch that was ended by the removal of the history client.
    last_epoch: Option<u64>,
    config: SessionConfig,
    /// Above nothing, and never written.
    overlay: Overlay,
    loaded: Loaded,
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
        let (group, _) = client.join_group(None, &welcome, None).map_err(refused)?;
        let is_consistent = group.group_id() == secret.conversation_id().as_bytes()
            && group.current_epoch() == secret.first_epoch()
            && group.current_member_signing_identity().map_err(refused)? == &credential.signing_identity();
        if !is_consistent {
            return Err(EngineError::InvalidHistorySecret(None));
        }
        content.check_leaf_key()?;
        let mut loaded = Loaded::new(group, meta, provider::first_serial()?);
        loaded.snapshot(&overlay)?;
        Ok(Self {
            id: secret.conversation_id().clone(),
            client_id: secret.client_id().clone(),
            first_epoch: secret.first_epoch(),
            secret: secret.clone(),
            last_epoch: None,
            config: config.clone(),
            overlay,
            loaded,
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

    /// What it was opened with.
    pub fn secret(&self) -> &HistorySecret {
        &self.secret
    }

    /// The epoch that the reader is in.
    pub fn epoch(&self) -> u64 {
        self.loaded.group.current_epoch()
    }

    /// The last epoch of the span, once its end was read.
    pub fn last_epoch(&self) -> Option<u64> {
        self.last_epoch
    }

    /// The epoch authenticator (RFC 9420, section 8.7), by which members see that they are in the same state.
    pub fn epoch_authenticator(&self) -> Result<Vec<u8>> {
        let secret =
            self.loaded.group.epoch_authenticator().map_err(|error| EngineError::Library(Box::new(error)))?;
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
    /// [`MissingCommits`](EngineError::MissingCommits) when commits are missing in between.
    pub fn process(&mut self, message: impl AsRef<[u8]>) -> Result<MlsConversationDecryptMessage> {
        let message = wire::message(message.as_ref())?;
        let header = header(&message, &self.id)?;
        let current = self.loaded.group.current_epoch();
        if header.epoch < self.first_epoch {
            return Err(EngineError::BeforeHistory { epoch: header.epoch, first: self.first_epoch });
        }
        if let Some(last) = self.last_epoch.filter(|last| header.epoch > *last) {
            return Err(EngineError::HistoryEnded { epoch: header.epoch, last });
        }
        if header.epoch > current {
            return Err(EngineError::MissingCommits { epoch: header.epoch, current });
        }
        let is_over = header.epoch < current || self.last_epoch.is_some();
        if is_over && header.content != ContentType::Application {
            return Ok(MlsConversationDecryptMessage::new(Outcome::StaleEpoch, current));
        }
        let cached = self.loaded.group.get_cached_proposals().len();
        if header.content == ContentType::Proposal && cached >= MAX_PROPOSALS {
            return Err(EngineError::TooMany { requested: cached + 1, max: MAX_PROPOSALS });
        }
        match self.loaded.process(message) {
            Ok(received) => {
                let result = self.received(header.epoch, received);
                if result.is_err() {
                    self.restore()?;
                }
                result
            }
            Err(error) => self.refused(&header, current, error),
        }
    }

    fn received(&mut self, epoch: u64, received: ReceivedMessage) -> Result<MlsConversationDecryptMessage> {
        match received {
            ReceivedMessage::ApplicationMessage(description) => {
                self.received_application(epoch, &description)
            }
            ReceivedMessage::Commit(commit) => self.received_commit(epoch, &commit),
            ReceivedMessage::Proposal(_) => {
                self.loaded.snapshot(&self.overlay)?;
                Ok(MlsConversationDecryptMessage::new(Outcome::Proposal, epoch))
            }
            // The header has excluded them.
            _ => Err(EngineError::UnexpectedMessage),
        }
    }

    fn received_application(
        &mut self,
        epoch: u64,
        description: &ApplicationMessageDescription,
    ) -> Result<MlsConversationDecryptMessage> {
        let leaf = description.sender_index;
        self.refuse_listener(leaf)?;
        // The library always tells it of what was encrypted.
        let generation = description.unauthenticated_key_generation.unwrap_or_default();
        self.loaded.check_generation(epoch, leaf, generation)?;
        self.loaded.note_received(&self.overlay, epoch, leaf, generation)?;
        let app_msg = if description.authenticated_data == LABEL {
            unframe(description.data()).and_then(|(_, application)| application)
        } else {
            Some(description.data().to_vec())
        };
        let outcome = if app_msg.is_some() { Outcome::Application } else { Outcome::History };
        let mut result = MlsConversationDecryptMessage::new(outcome, epoch);
        result.app_msg = app_msg;
        result.identity = self.member(leaf);
        result.sender_client_id = result.identity.as_ref().map(|identity| identity.client_id.clone());
        Ok(result)
    }

    /// Refuses, as the members do, what a history client has sent: whoever holds its secret could have.
    fn refuse_listener(&self, leaf: u32) -> Result<()> {
        match self.member(leaf) {
            Some(sender) if sender.client_id.is_history_client() => {
                Err(EngineError::SenderOnlyListens(sender.client_id))
            }
            _ => Ok(()),
        }
    }

    /// Who is at a leaf. Certificates are not judged: that was done when the message was new.
    fn member(&self, leaf: u32) -> Option<WireIdentity> {
        WireIdentity::of(&self.overlay, &self.loaded.group.member_at_index(leaf)?.signing_identity).ok()
    }

    fn received_commit(
        &mut self,
        epoch: u64,
        commit: &CommitMessageDescription,
    ) -> Result<MlsConversationDecryptMessage> {
        self.refuse_listener(commit.committer)?;
        let mut result = MlsConversationDecryptMessage::new(Outcome::Commit, epoch + 1);
        match &commit.effect {
            CommitEffect::NewEpoch(_) => {
                self.loaded.snapshot(&self.overlay)?;
                self.overlay.prune_epochs(self.id.as_bytes(), self.loaded.meta.prior_epochs);
            }
            CommitEffect::Removed { .. } => {
                self.last_epoch = Some(epoch);
                result.is_active = false;
            }
            CommitEffect::ReInit(_) => {
                return Err(EngineError::InvalidMessage("groups are not reinitialised".into()));
            }
        }
        (result.added, result.removed) = changes(&self.loaded.group, commit);
        result.identity = self.member(commit.committer);
        result.external_join = commit.is_external;
        result.note_new_epoch();
        Ok(result)
    }

    /// The library would not have the message: which of the outcomes or errors is it?
    fn refused(
        &mut self,
        header: &Header,
        current: u64,
        error: MlsError,
    ) -> Result<MlsConversationDecryptMessage> {
        // The others may have used up a key.
        if !matches!(error, MlsError::KeyMissing(_) | MlsError::InvalidFutureGeneration(_)) {
            self.restore()?;
        }
        match error {
            // It was read before.
            MlsError::KeyMissing(_) => {
                Ok(MlsConversationDecryptMessage::new(Outcome::Duplicate, header.epoch))
            }
            MlsError::EpochNotFound | MlsError::InvalidEpoch if header.epoch < current => {
                Ok(MlsConversationDecryptMessage::new(Outcome::StaleEpoch, header.epoch))
            }
            MlsError::InvalidFutureGeneration(generation) => {
                let max = self.loaded.meta.maximum_forward_distance;
                Err(EngineError::TooFarAhead { generation, max })
            }
            error => Err(match refusal(&error) {
                Some(error) => error,
                None => EngineError::InvalidMessage(Box::new(error)),
            }),
        }
    }

    /// The group as it was before a message that was refused.
    fn restore(&mut self) -> Result<()> {
        let loaded = Loaded::load(self.id.as_bytes(), &self.overlay, &self.config)?;
        self.loaded = loaded.ok_or(EngineError::DamagedState { what: "history", source: None })?;
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
