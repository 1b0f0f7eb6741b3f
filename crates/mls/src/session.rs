//! A device's door to its conversations.

use std::{fmt, sync::Arc, time::SystemTime};

use tertulia_store::Store;

use crate::{
    Ciphersuite, ClientId, ClientIdPolicy, ConversationId, EngineError, MlsTransport, PendingCommitInfo,
    Result, SessionConfig, TransactionContext, cache::GroupCache, conversation, events::Events, family,
    history, loaded::Loaded, overlay::Overlay, record::PendingHead, rotation,
};

/// The engine of one device, above its store. Cheap to clone.
///
/// Several sessions may share a store, in one process or in several: groups that are kept in memory between transactions are
/// compared with the store before they are used.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    transport: Arc<dyn MlsTransport>,
    config: SessionConfig,
    /// The changes of the transaction that is under way. The groups in the cache have it as their storage.
    overlay: Overlay,
    cache: GroupCache,
    events: Events,
}

impl Session {
    /// Opens the engine above a store.
    pub fn open(store: Store, transport: Arc<dyn MlsTransport>, config: SessionConfig) -> Result<Self> {
        let overlay = Overlay::new(store.clone());
        let cache = GroupCache::new(config.cache_bytes);
        let events = Events::default();
        Ok(Self { inner: Arc::new(Inner { store, transport, config, overlay, cache, events }) })
    }

    /// Begins a transaction, as soon as no other is under way on this store, in this process or another. Of those who
    /// share this [`Store`] who waits longest comes first. To wait no longer, drop the future.
    ///
    /// Observers are told first what they do not know yet.
    pub async fn new_transaction(&self) -> Result<TransactionContext> {
        self.deliver_events().await;
        TransactionContext::begin(self.clone()).await
    }

    /// A conversation as it is on disk now. It does not wait for transactions, and does not follow them.
    pub fn conversation(&self, id: &ConversationId) -> Result<ConversationView> {
        let incarnation = self.inner.overlay.incarnation();
        let (serial, pending, rotation) = self.inner.store.read(|tx| -> Result<_> {
            let serials = tx.group_serials(id.as_bytes())?;
            let serial = serials.map(|(state, journal)| state.max(journal));
            Ok((serial, tx.pending_head(id.as_bytes())?, tx.record(&rotation::key(id))?))
        })?;
        let next_key_rotation = rotation::due_at(rotation)?;
        let Some(serial) = serial else { return Err(EngineError::ConversationNotFound(id.clone())) };
        let pending = match pending {
            None => None,
            // Of the first version: all of it is needed.
            Some(head) if head.is_empty() => self.reading().pending(id.as_bytes())?,
            Some(head) => Some(PendingHead::from_bytes(&head)?),
        };
        let pending = pending.map(|pending| pending.info());
        if let Some(loaded) = self.inner.cache.look(id.as_bytes(), serial) {
            return self.view(id, loaded, pending, incarnation, next_key_rotation);
        }
        let overlay = Overlay::view(&self.inner.store, id.as_bytes())?;
        let loaded = Loaded::load(id.as_bytes(), &overlay, self.config())?;
        match loaded {
            Some(loaded) => self.view(id, Arc::new(loaded), pending, incarnation, next_key_rotation),
            None => Err(EngineError::ConversationNotFound(id.clone())),
        }
    }

    /// Whether there is a conversation with this id. One that is only being joined does not count.
    pub fn conversation_exists(&self, id: &ConversationId) -> Result<bool> {
        self.reading().group_exists(id.as_bytes())
    }

    /// All conversations of this device.
    pub fn conversations(&self) -> Result<Vec<ConversationId>> {
        self.reading().group_ids()
    }

    /// The commit of this device in a conversation that waits for its outcome. The conversation may not exist yet.
    pub fn pending_commit(&self, id: &ConversationId) -> Result<Option<PendingCommitInfo>> {
        Ok(self.reading().pending(id.as_bytes())?.map(|pending| pending.info()))
    }

    /// All commits that wait for their outcome, to be settled after a start.
    pub fn pending_commits(&self) -> Result<Vec<(ConversationId, PendingCommitInfo)>> {
        let overlay = self.reading();
        let mut pending = Vec::new();
        for id in overlay.pending_ids()? {
            if let Some(record) = overlay.pending(id.as_bytes())? {
                pending.push((id, record.info()));
            }
        }
        Ok(pending)
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn transport(&self) -> &dyn MlsTransport {
        &*self.inner.transport
    }

    /// How the session was configured.
    pub fn config(&self) -> &SessionConfig {
        &self.inner.config
    }

    /// The overlay of the transaction that holds the writer's lock.
    pub(crate) fn overlay(&self) -> &Overlay {
        &self.inner.overlay
    }

    pub(crate) fn cache(&self) -> &GroupCache {
        &self.inner.cache
    }

    fn view(
        &self,
        id: &ConversationId,
        loaded: Arc<Loaded>,
        pending: Option<PendingCommitInfo>,
        incarnation: u64,
        next_key_rotation: Option<SystemTime>,
    ) -> Result<ConversationView> {
        let policy = Arc::clone(&self.config().client_id_policy);
        let store = self.reading();
        let (parent, children) = (family::parent(&store, id)?, family::children(&store, id)?);
        let needs_history_rotation = history::is_stale(&store, id)?;
        Ok(ConversationView {
            id: id.clone(),
            needs_history_rotation,
            loaded,
            pending,
            incarnation,
            next_key_rotation,
            parent,
            children,
            store,
            policy,
        })
    }

    pub(crate) fn events(&self) -> &Events {
        &self.inner.events
    }

    fn reading(&self) -> Overlay {
        Overlay::new(self.inner.store.clone()).with_trust(self.inner.overlay.trust().for_reading())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// A conversation to look at, as it was when it was opened.
pub struct ConversationView {
    id: ConversationId,
    pub(crate) loaded: Arc<Loaded>,
    pending: Option<PendingCommitInfo>,
    incarnation: u64,
    next_key_rotation: Option<SystemTime>,
    needs_history_rotation: bool,
    /// What certificates are judged with.
    pub(crate) store: Overlay,
    pub(crate) policy: Arc<dyn ClientIdPolicy>,
    parent: Option<ConversationId>,
    children: Vec<ConversationId>,
}

impl ConversationView {
    /// The id.
    pub fn id(&self) -> &ConversationId {
        &self.id
    }

    /// The epoch, which each commit raises by one.
    pub fn epoch(&self) -> u64 {
        self.loaded.group.current_epoch()
    }

    /// The ciphersuite.
    pub fn ciphersuite(&self) -> Result<Ciphersuite> {
        conversation::ciphersuite(&self.loaded.group)
    }

    /// The members, in the order of their leaves.
    pub fn client_ids(&self) -> Result<Vec<ClientId>> {
        self.loaded.client_ids()
    }

    /// The members, in the order of their leaves: [`client_ids`](Self::client_ids) under the original's name.
    pub fn get_client_ids(&self) -> Result<Vec<ClientId>> {
        self.client_ids()
    }

    /// This device's own identity here.
    pub fn own_client_id(&self) -> Result<ClientId> {
        self.loaded.own_client_id()
    }

    /// The epoch authenticator (RFC 9420, section 8.7), which members compare to see that they are in the same state.
    pub fn epoch_authenticator(&self) -> Result<Vec<u8>> {
        let secret =
            self.loaded.group.epoch_authenticator().map_err(|error| EngineError::Library(Box::new(error)))?;
        Ok(secret.as_bytes().to_vec())
    }

    /// A key of `length` bytes from the exporter of this epoch (RFC 9420, section 8.5).
    pub fn export_secret_key(&self, length: usize) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        conversation::export_secret_key(&self.loaded.group, length)
    }

    /// What the application's rules keep in the group's context: see [`GroupRules`](crate::GroupRules).
    pub fn group_data(&self) -> Option<Vec<u8>> {
        conversation::group_data(&self.loaded.group)
    }

    /// The raw public key of the first external sender, which is the hub's, if there is one.
    pub fn external_sender(&self) -> Result<Option<Vec<u8>>> {
        conversation::external_sender(&self.loaded.group)
    }

    /// The raw public key of the first external sender, which is the hub's, under the original's name: without one it is an
    /// error, [`EngineError::NoExternalSender`].
    pub fn get_external_sender(&self) -> Result<Vec<u8>> {
        self.external_sender()?.ok_or(EngineError::NoExternalSender)
    }

    /// The commit of this device that waits for its outcome.
    pub fn pending_commit(&self) -> Option<&PendingCommitInfo> {
        self.pending.as_ref()
    }

    /// Whether the store was restored from a backup or copied since this device got its leaf's keys, so that it must not
    /// encrypt before it has updated them ([`EngineError::StateRestored`]).
    pub fn is_restored(&self) -> bool {
        self.loaded.meta.incarnation != Some(self.incarnation)
    }

    /// Whether history is shared: a history client is a member.
    pub fn is_history_enabled(&self) -> Result<bool> {
        Ok(self.client_ids()?.iter().any(ClientId::is_history_client))
    }

    /// Whether somebody who was removed holds the secret of the open span of history, see
    /// [`ConversationGuard::needs_history_rotation`](crate::ConversationGuard::needs_history_rotation).
    pub fn needs_history_rotation(&self) -> bool {
        self.needs_history_rotation
    }

    /// When this device is to rotate its keys here. None without a
    /// [`key_rotation_span`](crate::MlsCustomConfiguration::key_rotation_span).
    pub fn next_key_rotation(&self) -> Option<SystemTime> {
        self.next_key_rotation
    }

    /// The conversation that this one is a child of, see
    /// [`mark_as_child_of`](crate::ConversationGuard::mark_as_child_of).
    pub fn parent(&self) -> Option<&ConversationId> {
        self.parent.as_ref()
    }

    /// The children of this conversation.
    pub fn children(&self) -> &[ConversationId] {
        &self.children
    }

    /// How many proposals wait to be committed.
    pub fn pending_proposals(&self) -> usize {
        self.loaded.group.get_cached_proposals().len()
    }
}

impl fmt::Debug for ConversationView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConversationView")
            .field("id", &self.id)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
