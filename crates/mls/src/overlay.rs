//! What a transaction has changed so far, in memory, above what the store holds.
//!
//! Reads look here first and then into the store; writes stay here until [`Overlay::apply`] hands all of them to one
//! write of the store. Dropping the overlay is the abort. The MLS library reaches its storage through it.

mod client;
mod library;
mod records;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tertulia_store::{KeyPackageRecord, ReadTx, RecordKey, Store, StoreError, WriteTx};
use zeroize::Zeroizing;

pub(crate) use self::{client::signature_key, records::RecordKind};
use self::{client::credential_record, library::StorageFailed};
use crate::{
    ConversationId, CredentialRef, EngineError, Result,
    credential::Credential,
    record::{GroupMeta, GroupRecord, PendingRecord},
};

type Secret = Zeroizing<Vec<u8>>;

/// The changes of one transaction. Clones share them.
#[derive(Clone)]
pub(crate) struct Overlay {
    /// None for a scratch overlay, under which there is nothing.
    store: Option<Store>,
    changes: Arc<Mutex<Changes>>,
}

#[derive(Default)]
struct Changes {
    groups: HashMap<Vec<u8>, GroupChange>,
    key_packages: BTreeMap<Vec<u8>, KeyPackageChange>,
    credentials: Vec<CredentialChange>,
    /// None deletes.
    pending: BTreeMap<Vec<u8>, Option<Secret>>,
    /// None deletes.
    records: BTreeMap<RecordKey, Option<Secret>>,
    data: Option<Vec<u8>>,
    /// Why the library's last call of its storage failed: it hands on the message only.
    failure: Option<EngineError>,
}

#[derive(Default)]
struct GroupChange {
    /// What the store has of the group does not count any more.
    hides_store: bool,
    /// None with `hides_store` means that the group is deleted.
    state: Option<(GroupMeta, Secret)>,
    epochs: BTreeMap<u64, Secret>,
}

enum KeyPackageChange {
    Insert { record: KeyPackageRecord, data: Secret },
    Delete,
}

enum CredentialChange {
    Insert(Credential),
    Delete(CredentialRef),
}

impl Overlay {
    pub(crate) fn new(store: Store) -> Self {
        Self { store: Some(store), changes: Arc::default() }
    }

    /// An overlay above nothing, whose content is taken out and not written.
    pub(crate) fn scratch() -> Self {
        Self { store: None, changes: Arc::default() }
    }

    /// A conversation and what is pending for it as the store has them at one moment, above nothing.
    pub(crate) fn view(store: &Store, id: &[u8]) -> Result<Self> {
        let (group, pending) =
            store.read(|tx| Ok::<_, StoreError>((tx.group_state(id)?, tx.pending_commit(id)?)))?;
        let view = Self::scratch();
        if let Some(stored) = group {
            let record = GroupRecord::from_bytes(&stored.state)?;
            view.replace_group(id, record.meta, record.snapshot);
        }
        view.changes().pending.insert(id.to_vec(), pending);
        Ok(view)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        // No code that can panic runs while the lock is held half-way through a change.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored<T: Default>(&self, read: impl FnOnce(&ReadTx<'_>) -> Result<T, StoreError>) -> Result<T> {
        match &self.store {
            Some(store) => Ok(store.read(read)?),
            None => Ok(T::default()),
        }
    }

    // Conversations.

    /// The record of a conversation: its metadata and its snapshot.
    pub(crate) fn group(&self, id: &[u8]) -> Result<Option<(GroupMeta, Secret)>> {
        if let Some(change) = self.changes().groups.get(id) {
            if let Some((meta, snapshot)) = &change.state {
                return Ok(Some((meta.clone(), snapshot.clone())));
            }
            if change.hides_store {
                return Ok(None);
            }
        }
        match self.stored(|tx| tx.group_state(id))? {
            Some(stored) => {
                let record = GroupRecord::from_bytes(&stored.state)?;
                Ok(Some((record.meta, record.snapshot)))
            }
            None => Ok(None),
        }
    }

    pub(crate) fn group_exists(&self, id: &[u8]) -> Result<bool> {
        if let Some(change) = self.changes().groups.get(id)
            && (change.state.is_some() || change.hides_store)
        {
            return Ok(change.state.is_some());
        }
        Ok(self.stored(|tx| tx.group_serials(id))?.is_some())
    }

    pub(crate) fn group_ids(&self) -> Result<Vec<ConversationId>> {
        let mut ids = self.stored(|tx| tx.group_ids())?;
        let changes = self.changes();
        ids.retain(|id| {
            changes.groups.get(id).is_none_or(|change| change.state.is_some() || !change.hides_store)
        });
        for (id, change) in &changes.groups {
            if change.state.is_some() && !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        Ok(ids.into_iter().map(ConversationId::from).collect())
    }

    /// Sets the metadata of a group whose snapshot the library has just written.
    pub(crate) fn set_meta(&self, id: &[u8], meta: GroupMeta) {
        if let Some(state) = self.changes().groups.get_mut(id).and_then(|change| change.state.as_mut()) {
            state.0 = meta;
        }
    }

    /// Puts a group in the place of whatever there was under its id.
    pub(crate) fn replace_group(&self, id: &[u8], meta: GroupMeta, snapshot: Secret) {
        let change =
            GroupChange { hides_store: true, state: Some((meta, snapshot)), epochs: BTreeMap::new() };
        self.changes().groups.insert(id.to_vec(), change);
    }

    /// Deletes a group with all its secrets.
    pub(crate) fn delete_group(&self, id: &[u8]) {
        let change = GroupChange { hides_store: true, ..GroupChange::default() };
        self.changes().groups.insert(id.to_vec(), change);
    }

    fn epoch_secrets(&self, id: &[u8], epoch: u64) -> Result<Option<Secret>> {
        if let Some(change) = self.changes().groups.get(id) {
            if let Some(secrets) = change.epochs.get(&epoch) {
                return Ok(Some(secrets.clone()));
            }
            if change.hides_store {
                return Ok(None);
            }
        }
        self.stored(|tx| tx.group_epoch(id, epoch))
    }

    fn newest_epoch(&self, id: &[u8]) -> Result<Option<u64>> {
        let (changed, hides_store) = match self.changes().groups.get(id) {
            Some(change) => (change.epochs.keys().next_back().copied(), change.hides_store),
            None => (None, false),
        };
        if hides_store {
            return Ok(changed);
        }
        Ok(changed.max(self.stored(|tx| tx.max_group_epoch(id))?))
    }

    // Pending commits.

    pub(crate) fn pending(&self, id: &[u8]) -> Result<Option<PendingRecord>> {
        let changed = self.changes().pending.get(id).cloned();
        let bytes = match changed {
            Some(bytes) => bytes,
            None => self.stored(|tx| tx.pending_commit(id))?,
        };
        bytes.map(|bytes| PendingRecord::from_bytes(&bytes)).transpose()
    }

    pub(crate) fn pending_ids(&self) -> Result<Vec<ConversationId>> {
        let mut ids = self.stored(|tx| tx.pending_commit_ids())?;
        for (id, change) in &self.changes().pending {
            ids.retain(|stored| stored != id);
            if change.is_some() {
                ids.push(id.clone());
            }
        }
        Ok(ids.into_iter().map(ConversationId::from).collect())
    }

    pub(crate) fn set_pending(&self, id: &[u8], record: &PendingRecord) -> Result<()> {
        let bytes = record.to_bytes()?;
        self.changes().pending.insert(id.to_vec(), Some(bytes));
        Ok(())
    }

    pub(crate) fn delete_pending(&self, id: &[u8]) {
        self.changes().pending.insert(id.to_vec(), None);
    }

    // The application's blob.

    pub(crate) fn data(&self) -> Result<Option<Vec<u8>>> {
        if let Some(data) = &self.changes().data {
            return Ok(Some(data.clone()));
        }
        self.stored(|tx| tx.data())
    }

    pub(crate) fn set_data(&self, data: Vec<u8>) {
        self.changes().data = Some(data);
    }

    // Writing.

    /// Writes everything into the store's transaction, keeping the newest `prior_epochs` past epochs of each group.
    pub(crate) fn apply(&self, tx: &mut WriteTx<'_>, prior_epochs: u16) -> Result<()> {
        let changes = self.changes();
        for change in &changes.credentials {
            match change {
                CredentialChange::Insert(credential) => tx.put_credential(&credential_record(credential))?,
                CredentialChange::Delete(reference) => tx.delete_credential(&reference.public_key)?,
            }
        }
        for (id, change) in &changes.groups {
            if change.hides_store {
                tx.delete_group(id)?;
            }
            if let Some((meta, snapshot)) = &change.state {
                let record = GroupRecord::new(meta.clone(), snapshot.clone()).to_bytes()?;
                tx.put_group_state(id, 0, &record)?;
            }
            for (epoch, secrets) in &change.epochs {
                tx.put_group_epoch(id, *epoch, secrets)?;
            }
            if let Some(newest) = change.epochs.keys().next_back() {
                let oldest = (newest + 1).saturating_sub(u64::from(prior_epochs.max(1)));
                tx.delete_group_epochs_below(id, oldest)?;
            }
        }
        for (id, pending) in &changes.pending {
            match pending {
                Some(bytes) => tx.put_pending_commit(id, bytes)?,
                None => tx.delete_pending_commit(id)?,
            }
        }
        for (reference, change) in &changes.key_packages {
            match change {
                KeyPackageChange::Insert { record, data } => tx.put_key_package(record, data)?,
                KeyPackageChange::Delete => tx.delete_key_package(reference)?,
            }
        }
        for (key, value) in &changes.records {
            match value {
                Some(value) => tx.put_record(key, value)?,
                None => tx.delete_record(key)?,
            }
        }
        if let Some(data) = &changes.data {
            tx.set_data(data)?;
        }
        Ok(())
    }

    /// Forgets all changes, once they are written.
    pub(crate) fn clear(&self) {
        *self.changes() = Changes::default();
    }

    // The library's errors.

    /// The error behind the library's last storage failure, if there was one since the last call.
    pub(crate) fn take_failure(&self) -> Option<EngineError> {
        self.changes().failure.take()
    }

    fn report<T>(&self, result: Result<T>) -> Result<T, StorageFailed> {
        result.map_err(|error| {
            self.changes().failure = Some(error);
            StorageFailed
        })
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overlay")
    }
}
