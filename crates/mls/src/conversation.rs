//! One conversation, open for changes in a transaction.

use mls_rs::{error::MlsError, extension::built_in::ExternalSendersExt, group::proposal::Proposal};

use crate::{
    Ciphersuite, ClientId, ConversationId, EngineError, GroupRules, MlsWirePolicy, PendingCommitInfo, Result,
    SessionConfig, TransactionContext,
    loaded::Loaded,
    overlay::Overlay,
    provider::MlsGroup,
    record::{PendingBody, PendingHead, PendingRecord},
    rules::{data_of, encrypts_handshake, is_carried_out},
    sent::ContentDigest,
    transaction::failure,
};

/// A conversation that nobody else can change meanwhile.
///
/// Created with [`TransactionContext::conversation`]. While this device's join is pending there is a guard but no
/// conversation behind it yet ([`is_joined`](Self::is_joined)): messages can be passed to it, which settle the join, and
/// it can be wiped.
#[derive(Debug)]
pub struct ConversationGuard<'tx> {
    pub(crate) tx: &'tx mut TransactionContext,
    pub(crate) id: ConversationId,
}

impl<'tx> ConversationGuard<'tx> {
    pub(crate) fn new(tx: &'tx mut TransactionContext, id: ConversationId) -> Self {
        Self { tx, id }
    }

    /// The id.
    pub fn id(&self) -> &ConversationId {
        &self.id
    }

    /// Whether this device is a member: false while a first join is pending, and after a wipe or a removal.
    pub fn is_joined(&self) -> Result<bool> {
        self.overlay()?.group_exists(self.id.as_bytes())
    }

    /// The epoch, which each commit raises by one.
    pub fn epoch(&mut self) -> Result<u64> {
        Ok(self.loaded()?.group.current_epoch())
    }

    /// The ciphersuite.
    pub fn ciphersuite(&mut self) -> Result<Ciphersuite> {
        ciphersuite(&self.loaded()?.group)
    }

    /// The members, in the order of their leaves.
    pub fn client_ids(&mut self) -> Result<Vec<ClientId>> {
        self.loaded()?.client_ids()
    }

    /// The members, in the order of their leaves: [`client_ids`](Self::client_ids) under the original's name.
    pub fn get_client_ids(&mut self) -> Result<Vec<ClientId>> {
        self.client_ids()
    }

    /// The members with the numbers of their leaves (RFC 9420, section 4.2), in that order.
    pub fn leaves(&mut self) -> Result<Vec<(u32, ClientId)>> {
        self.loaded()?.leaves()
    }

    /// The number of this device's own leaf.
    pub fn own_leaf(&mut self) -> Result<u32> {
        Ok(self.loaded()?.group.current_member_index())
    }

    /// This device's own identity here.
    pub fn own_client_id(&mut self) -> Result<ClientId> {
        self.loaded()?.own_client_id()
    }

    /// A key of `length` bytes from the exporter of this epoch (RFC 9420, section 8.5).
    pub fn export_secret_key(&mut self, length: usize) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        export_secret_key(&self.loaded()?.group, length)
    }

    /// What the application's rules keep in the group's context: see [`GroupRules`](crate::GroupRules).
    pub fn group_data(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(group_data(&self.loaded()?.group))
    }

    /// How the group's members send handshake messages, by what the group is set up with.
    pub fn handshake(&mut self) -> Result<MlsWirePolicy> {
        let is_encrypted = encrypts_handshake(&self.loaded()?.group.context().extensions);
        Ok(if is_encrypted { MlsWirePolicy::Ciphertext } else { MlsWirePolicy::Plaintext })
    }

    /// The raw public key of the first external sender, which is the hub's.
    pub fn get_external_sender(&mut self) -> Result<Vec<u8>> {
        external_sender(&self.loaded()?.group)?.ok_or(EngineError::NoExternalSender)
    }

    /// Whether the store was restored from a backup or copied since this device got its leaf's keys, so that it must not encrypt before it has updated them
    /// ([`EngineError::StateRestored`]).
    pub fn is_restored(&mut self) -> Result<bool> {
        let incarnation = self.overlay()?.incarnation();
        Ok(self.loaded()?.meta.incarnation != Some(incarnation))
    }

    /// How many proposals wait to be committed.
    pub fn pending_proposals(&mut self) -> Result<usize> {
        Ok(self.loaded()?.group.get_cached_proposals().len())
    }

    /// The commit of this device that waits for its outcome.
    pub fn pending_commit(&self) -> Result<Option<PendingCommitInfo>> {
        Ok(self.pending()?.map(|pending| pending.info()))
    }

    /// Encrypts an application message for the members of this epoch.
    ///
    /// Refused while a commit or proposals are pending, since RFC 9420 demands that they come first. Send the result only
    /// after the transaction is finished: until then a crash would make the next message use the same key.
    pub fn encrypt_message(&mut self, message: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        self.encrypt(message.as_ref(), &[])
    }

    pub(crate) fn encrypt(&mut self, message: &[u8], authenticated_data: &[u8]) -> Result<Vec<u8>> {
        self.refuse_while_pending()?;
        let overlay = self.overlay()?.clone();
        let loaded = self.loaded()?;
        if loaded.meta.incarnation != Some(overlay.incarnation()) {
            return Err(EngineError::StateRestored);
        }
        let count = loaded.group.get_cached_proposals().len();
        if count > 0 {
            return Err(EngineError::PendingProposals { count });
        }
        let content = ContentDigest::new(authenticated_data, message);
        let mut encrypt = || -> Result<_, MlsError> {
            let generation = loaded.group.peek_next_key_generation()?;
            let message = loaded.group.encrypt_application_message(message, authenticated_data.to_vec())?;
            Ok((generation, message.to_bytes()?))
        };
        let noted = match encrypt() {
            Ok((generation, bytes)) => {
                loaded.note_sent(&overlay, generation, &bytes, content).map(|()| bytes)
            }
            Err(error) => Err(failure(&overlay, error)),
        };
        if noted.is_err() {
            self.restore()?;
        }
        noted
    }

    /// Deletes the conversation from this device with all its secrets, and what is pending for it. Nobody is told.
    pub fn wipe(&mut self) -> Result<()> {
        self.tx.wipe_conversation(&self.id.clone())
    }

    // For the modules that commit and receive.

    pub(crate) fn config(&self) -> SessionConfig {
        self.tx.session.config().clone()
    }

    pub(crate) fn overlay(&self) -> Result<&Overlay> {
        Ok(&self.tx.writing()?.overlay)
    }

    /// What tells the commit that waits for its outcome from others.
    pub(crate) fn pending(&self) -> Result<Option<PendingHead>> {
        self.overlay()?.pending(self.id.as_bytes())
    }

    /// All of the commit that waits for its outcome, which is said to be there.
    pub(crate) fn pending_record(&mut self) -> Result<PendingRecord> {
        let damaged = EngineError::DamagedState { what: "pending commit", source: None };
        let (head, body) = self.overlay()?.pending_parts(self.id.as_bytes())?.ok_or(damaged)?;
        if head.is_empty() {
            return PendingRecord::from_version_1(&body);
        }
        let head = PendingHead::from_bytes(&head)?;
        let tree = self.tree_of_pending(&head)?;
        Ok(PendingRecord { body: PendingBody::from_bytes(&body, head.is_join(), &tree)?, head })
    }

    /// Keeps a commit until its outcome is known.
    pub(crate) fn keep_pending(&mut self, record: &PendingRecord) -> Result<()> {
        let tree = self.tree_of_pending(&record.head)?;
        self.overlay()?.set_pending(self.id.as_bytes(), record, &tree)
    }

    /// The tree that a pending commit is compressed against: that of the epoch which it ends, if it is a member's.
    fn tree_of_pending(&mut self, head: &PendingHead) -> Result<Vec<u8>> {
        if head.is_join() { Ok(Vec::new()) } else { self.loaded()?.tree() }
    }

    pub(crate) fn loaded_if_joined(&mut self) -> Result<Option<&mut Loaded>> {
        let config = self.config();
        self.tx.writing_mut()?.loaded(&self.id, &config)
    }

    pub(crate) fn loaded(&mut self) -> Result<&mut Loaded> {
        let id = self.id.clone();
        self.loaded_if_joined()?.ok_or(EngineError::ConversationNotFound(id))
    }

    /// Undoes a failed operation on the group. When that fails too, the transaction is over: to go on with less than
    /// what was done in it would use keys twice.
    pub(crate) fn restore(&mut self) -> Result<()> {
        let config = self.config();
        let restored = self.tx.writing_mut()?.restore(&self.id, &config);
        if restored.is_err() {
            self.tx.abort();
        }
        restored
    }

    pub(crate) fn refuse_while_pending(&self) -> Result<()> {
        match self.pending()? {
            Some(pending) => Err(EngineError::PendingCommit { epoch: pending.epoch }),
            None => Ok(()),
        }
    }
}

/// What the guard and the read-only view both tell.
pub(crate) fn ciphersuite(group: &MlsGroup) -> Result<Ciphersuite> {
    Ciphersuite::from_number(*group.cipher_suite())
}

/// Label and context of the exporter, which the existing clients use too.
const EXPORTER_LABEL: &[u8] = b"exporter";
const EXPORTER_CONTEXT: &[u8] = b"";

pub(crate) fn export_secret_key(group: &MlsGroup, length: usize) -> Result<zeroize::Zeroizing<Vec<u8>>> {
    let max = usize::from(u16::MAX).min(255 * ciphersuite(group)?.hash_length());
    if length == 0 || length > max {
        return Err(EngineError::InvalidKeyLength { requested: length, max });
    }
    let secret = group
        .export_secret(EXPORTER_LABEL, EXPORTER_CONTEXT, length)
        .map_err(|error| EngineError::Library(Box::new(error)))?;
    Ok(zeroize::Zeroizing::new(secret.as_bytes().to_vec()))
}

pub(crate) fn external_sender(group: &MlsGroup) -> Result<Option<Vec<u8>>> {
    let senders =
        group.context().extensions.get_as::<ExternalSendersExt>().map_err(|error| {
            EngineError::DamagedState { what: "conversation", source: Some(Box::new(error)) }
        })?;
    let first = senders.as_ref().and_then(|senders| senders.allowed_senders().first());
    Ok(first.map(|sender| sender.signature_key.as_bytes().to_vec()))
}

pub(crate) fn group_data(group: &MlsGroup) -> Option<Vec<u8>> {
    data_of(&group.context().extensions).map(<[u8]>::to_vec)
}

/// Whether one of the pending proposals removes this device, and is to be carried out.
pub(crate) fn is_to_be_removed(rules: Option<&dyn GroupRules>, group: &MlsGroup) -> bool {
    let own = group.current_member_index();
    group.get_cached_proposals().iter().any(|cached| {
        matches!(cached.proposal(), Proposal::Remove(remove) if remove.to_remove() == own)
            && is_carried_out(rules, group, cached.proposal(), *cached.sender())
    })
}
