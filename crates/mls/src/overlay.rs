//! What a transaction has changed so far, in memory, above what the store holds.
//!
//! Reads look here first and then into the store; writes stay here until [`Overlay::apply`] hands all of them to one
//! write of the store. Dropping the overlay is the abort. The MLS library reaches its storage through it.

mod client;
mod groups;
mod library;
mod pending;
mod records;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use tertulia_store::{KeyPackageRecord, ReadTx, RecordKey, Store, StoreError, WriteTx, WriterGuard};
use zeroize::Zeroizing;

use self::{client::credential_record, groups::GroupChange, library::StorageFailed, pending::PendingChange};
pub(crate) use self::{
    client::signature_key,
    groups::{FinishedSnapshot, StoredGroup},
    records::RecordKind,
};
use crate::{CredentialRef, EngineError, Result, credential::Credential, record::PendingHead, x509::Trust};

type Secret = Zeroizing<Vec<u8>>;

/// The changes of one transaction. Clones share them.
#[derive(Clone)]
pub(crate) struct Overlay {
    /// None for a scratch overlay, under which there is nothing.
    store: Option<Store>,
    /// The right to write of the transaction that is under way, if there is one.
    writer: Arc<Mutex<Weak<WriterGuard>>>,
    changes: Arc<Mutex<Changes>>,
    trust: Trust,
    /// Whether the commit that is being made is sent readable, whatever the group's are.
    readable: Arc<AtomicBool>,
}

#[derive(Default)]
struct Changes {
    groups: HashMap<Vec<u8>, GroupChange>,
    key_packages: BTreeMap<Vec<u8>, KeyPackageChange>,
    /// The references of those in the store, if they are known.
    stored_key_packages: Option<HashSet<Vec<u8>>>,
    credentials: Vec<CredentialChange>,
    /// None deletes.
    pending: BTreeMap<Vec<u8>, Option<PendingChange>>,
    /// What the store has of them, as far as it was asked: every message asks.
    stored_pending: HashMap<Vec<u8>, Option<PendingHead>>,
    /// None deletes.
    records: BTreeMap<RecordKey, Option<Secret>>,
    data: Option<Vec<u8>>,
    /// The snapshot that the library asks for next.
    staged: Option<Secret>,
    /// Why the library's last call of its storage failed: it hands on the message only.
    failure: Option<EngineError>,
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
        Self { store: Some(store), ..Self::scratch() }
    }

    pub(crate) fn with_trust(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// An overlay above nothing, whose content is taken out and not written.
    pub(crate) fn scratch() -> Self {
        Self {
            store: None,
            writer: Arc::default(),
            changes: Arc::default(),
            trust: Trust::default(),
            readable: Arc::default(),
        }
    }

    /// Makes a commit that is sent readable, or as the group's are. There is one writer at a time, who calls it.
    pub(crate) fn sending<T>(&self, readable: bool, make: impl FnOnce() -> T) -> T {
        self.readable.store(readable, Ordering::Relaxed);
        let made = make();
        self.readable.store(false, Ordering::Relaxed);
        made
    }

    /// Whether the commit that is being made is sent readable.
    pub(crate) fn is_readable(&self) -> bool {
        self.readable.load(Ordering::Relaxed)
    }

    /// The store's incarnation, which is raised when it is found restored or copied. A view has none, and nobody writes in it.
    pub(crate) fn incarnation(&self) -> u64 {
        self.store.as_ref().map_or(0, Store::incarnation)
    }

    /// From now on it reads as the writer, for as long as there is this one.
    pub(crate) fn begin(&self, writer: &Arc<WriterGuard>) {
        *self.writer() = Arc::downgrade(writer);
    }

    fn writer(&self) -> MutexGuard<'_, Weak<WriterGuard>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        // No code that can panic runs while the lock is held half-way through a change.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored<T: Default>(&self, read: impl FnOnce(&ReadTx<'_>) -> Result<T, StoreError>) -> Result<T> {
        let Some(store) = &self.store else { return Ok(T::default()) };
        let writer = self.writer().upgrade();
        match writer {
            Some(writer) => Ok(store.read_as_writer(&writer, read)?),
            None => Ok(store.read(read)?),
        }
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

    /// Writes everything into the store's transaction, keeping as many past epochs of each group as it is to have.
    pub(crate) fn apply(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        let changes = self.changes();
        for change in &changes.credentials {
            match change {
                CredentialChange::Insert(credential) => tx.put_credential(&credential_record(credential)?)?,
                CredentialChange::Delete(reference) => tx.delete_credential(&reference.public_key)?,
            }
        }
        for (id, change) in &changes.groups {
            change.apply(id, tx)?;
        }
        for (id, pending) in &changes.pending {
            match pending {
                Some(PendingChange { head, body }) => tx.put_pending_commit(id, head, body)?,
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
