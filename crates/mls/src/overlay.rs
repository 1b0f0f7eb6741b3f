//! What a transaction has changed so far, in memory, above what the store holds.
//!
//! Reads look here first and then into the store; writes stay here until [`Overlay::apply`] hands all of them to one
//! write of the store. Dropping the overlay is the abort. The MLS library reaches its storage through it.

mod client;
mod library;
mod records;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tertulia_store::{
    JournalEntry, KeyPackageRecord, ReadTx, RecordKey, Store, StoreError, WriteTx, WriterGuard,
};
use zeroize::Zeroizing;

use self::{client::credential_record, library::StorageFailed};
pub(crate) use self::{client::signature_key, records::RecordKind};
use crate::{
    ConversationId, CredentialRef, EngineError, Result,
    credential::Credential,
    long_secret::LongSecret,
    record::{
        EpochHeads, GroupMeta, GroupRecord, PendingHead, PendingRecord, epoch_from_bytes, epoch_to_bytes,
    },
    tree::{StoredTree, TreeChange, TreeDigest},
    x509::Trust,
};

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

/// A pending commit as it is stored.
#[derive(Clone)]
struct PendingChange {
    head: Vec<u8>,
    body: LongSecret,
}

#[derive(Default)]
struct GroupChange {
    /// What the store has of the group does not count any more.
    hides_store: bool,
    /// None with `hides_store` means that the group is deleted.
    state: Option<GroupState>,
    tree: Option<TreeChange>,
    journal: Vec<JournalEntry>,
    epochs: BTreeMap<u64, Secret>,
}

/// A snapshot with what belongs to it.
#[derive(Clone)]
struct GroupState {
    /// That of the newest journal entry that the snapshot contains.
    serial: u64,
    meta: GroupMeta,
    heads: Vec<EpochHeads>,
    /// That of the tree beside the snapshot, if it is not in it.
    tree: Option<TreeDigest>,
    /// Whether the epoch is the same as in the snapshot before.
    same_epoch: bool,
    snapshot: LongSecret,
}

/// What a snapshot lacks when the library has written it.
pub(crate) struct FinishedSnapshot {
    pub(crate) meta: GroupMeta,
    pub(crate) heads: Vec<EpochHeads>,
    pub(crate) serial: u64,
    pub(crate) tree: TreeDigest,
    /// What of the ratchet tree is to be written.
    pub(crate) tree_change: Option<TreeChange>,
    /// Whether it is the first snapshot of its epoch.
    pub(crate) new_epoch: bool,
}

/// A group to be loaded.
pub(crate) struct StoredGroup {
    pub(crate) meta: GroupMeta,
    pub(crate) heads: Vec<EpochHeads>,
    pub(crate) snapshot: LongSecret,
    /// With the digest that it should have. None when it is in the snapshot.
    pub(crate) tree: Option<(TreeDigest, StoredTree)>,
    pub(crate) serial: u64,
    /// In order, with some entries that are contained in the snapshot.
    pub(crate) journal: Vec<JournalEntry>,
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
        Self { store: Some(store), writer: Arc::default(), changes: Arc::default(), trust: Trust::default() }
    }

    pub(crate) fn with_trust(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// An overlay above nothing, whose content is taken out and not written.
    pub(crate) fn scratch() -> Self {
        Self { store: None, writer: Arc::default(), changes: Arc::default(), trust: Trust::default() }
    }

    /// An overlay above nothing with a conversation as the store has it at one moment.
    pub(crate) fn view(store: &Store, id: &[u8]) -> Result<Self> {
        let view = Self::scratch();
        store.read(|tx| -> Result<()> {
            if let Some(stored) = StoredGroup::read(tx, id)? {
                let mut changes = view.changes();
                let change = changes.groups.entry(id.to_vec()).or_default();
                change.hides_store = true;
                change.journal = stored.journal;
                change.state = Some(GroupState {
                    serial: stored.serial,
                    meta: stored.meta,
                    heads: stored.heads,
                    tree: stored.tree.as_ref().map(|(digest, _)| *digest),
                    same_epoch: false,
                    snapshot: stored.snapshot,
                });
                change.tree = stored.tree.map(|(_, tree)| TreeChange::whole(tree));
            }
            Ok(())
        })?;
        Ok(view)
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

    // Conversations.

    /// A conversation, to be loaded.
    pub(crate) fn group(&self, id: &[u8]) -> Result<Option<StoredGroup>> {
        let (state, tree, journal, hides_store) = match self.changes().groups.get(id) {
            Some(change) => {
                (change.state.clone(), change.tree.clone(), change.journal.clone(), change.hides_store)
            }
            None => (None, None, Vec::new(), false),
        };
        let below = match &self.store {
            Some(store) if !hides_store => store.read(|tx| StoredGroup::read(tx, id))?,
            _ => None,
        };
        let mut group = match (state, below) {
            (Some(state), below) => {
                let (below_tree, below_journal) = below.map_or((None, Vec::new()), |b| (b.tree, b.journal));
                StoredGroup {
                    tree: state.tree.map(|digest| {
                        let below = below_tree.map(|(_, tree)| tree).unwrap_or_default();
                        let tree = match tree {
                            Some(change) => change.on(below),
                            None => below,
                        };
                        (digest, tree)
                    }),
                    journal: if state.same_epoch { below_journal } else { Vec::new() },
                    meta: state.meta,
                    heads: state.heads,
                    snapshot: state.snapshot,
                    serial: state.serial,
                }
            }
            (None, Some(below)) => below,
            (None, None) => return Ok(None),
        };
        group.journal.extend(journal);
        Ok(Some(group))
    }

    /// Whether this transaction has changed the group.
    pub(crate) fn has_changes_of_group(&self, id: &[u8]) -> bool {
        self.changes().groups.contains_key(id)
    }

    /// The number of the newest thing that the store has of a conversation, if it has it at all.
    pub(crate) fn stored_serial(&self, id: &[u8]) -> Result<Option<u64>> {
        Ok(self.stored(|tx| tx.group_serials(id))?.map(|(state, journal)| state.max(journal)))
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

    /// The library asks for this snapshot next.
    pub(crate) fn stage_snapshot(&self, snapshot: LongSecret) {
        self.changes().staged = Some(snapshot.into_zeroizing());
    }

    /// Completes the snapshot that the library has just written.
    pub(crate) fn finish_snapshot(&self, id: &[u8], finished: FinishedSnapshot) {
        let FinishedSnapshot { meta, heads, serial, tree, tree_change, new_epoch } = finished;
        let mut changes = self.changes();
        let Some(change) = changes.groups.get_mut(id) else { return };
        let Some(state) = change.state.as_mut() else { return };
        // What the store has in its journal is of the epoch before, if any snapshot of this transaction began a new one.
        let same_epoch = !new_epoch && state.same_epoch;
        let snapshot = std::mem::take(&mut state.snapshot);
        *state = GroupState { serial, meta, heads, tree: Some(tree), same_epoch, snapshot };
        change.journal.retain(|entry| !new_epoch && entry.digest.is_some());
        change.tree = match (change.tree.take(), tree_change) {
            (Some(before), Some(later)) => Some(before.then(later)),
            (before, later) => later.or(before),
        };
    }

    /// Notes that a message key was used up.
    pub(crate) fn append_to_journal(&self, id: &[u8], entry: JournalEntry) {
        self.changes().groups.entry(id.to_vec()).or_default().journal.push(entry);
    }

    /// Puts a group in the place of whatever there was under its id.
    pub(crate) fn replace_group(&self, id: &[u8], record: GroupRecord, serial: u64) {
        let state = GroupState {
            serial,
            meta: record.meta,
            heads: record.heads,
            tree: record.tree,
            same_epoch: false,
            snapshot: record.snapshot,
        };
        let change = GroupChange { hides_store: true, state: Some(state), ..GroupChange::default() };
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
        self.stored(|tx| tx.group_epoch(id, epoch))?.map(epoch_from_bytes).transpose()
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

    /// What tells the commit that waits for its outcome from others.
    pub(crate) fn pending(&self, id: &[u8]) -> Result<Option<PendingHead>> {
        let changed =
            self.changes().pending.get(id).map(|change| change.as_ref().map(|change| change.head.clone()));
        if let Some(head) = changed {
            return head.map(|head| PendingHead::from_bytes(&head)).transpose();
        }
        if let Some(known) = self.changes().stored_pending.get(id) {
            return Ok(known.clone());
        }
        let pending = self.read_pending(id)?;
        // Nobody else changes it before the transaction ends.
        if self.writer().strong_count() > 0 {
            self.changes().stored_pending.insert(id.to_vec(), pending.clone());
        }
        Ok(pending)
    }

    fn read_pending(&self, id: &[u8]) -> Result<Option<PendingHead>> {
        let (head, body) = self.stored(|tx| {
            let head = tx.pending_head(id)?;
            // Of the first version, which is all in one.
            let is_first = head.as_ref().is_some_and(Vec::is_empty);
            Ok((head, if is_first { tx.pending_body(id)? } else { None }))
        })?;
        match (head, body) {
            (_, Some(body)) => Ok(Some(PendingRecord::from_version_1(&body)?.head)),
            (Some(head), None) => PendingHead::from_bytes(&head).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The two parts of the commit that waits for its outcome, as they are stored.
    pub(crate) fn pending_parts(&self, id: &[u8]) -> Result<Option<(Vec<u8>, LongSecret)>> {
        let changed = self.changes().pending.get(id).cloned();
        match changed {
            Some(change) => Ok(change.map(|change| (change.head, change.body))),
            None => {
                self.stored(|tx| Ok(tx.pending_head(id)?.zip(tx.pending_body(id)?.map(LongSecret::from))))
            }
        }
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

    /// Keeps a commit until its outcome is known. `tree` as [`PendingRecord`]'s body has it.
    pub(crate) fn set_pending(&self, id: &[u8], record: &PendingRecord, tree: &[u8]) -> Result<()> {
        let (head, body) = (record.head.to_bytes()?.to_vec(), record.body.to_bytes(tree)?);
        let change = PendingChange { head, body };
        self.changes().pending.insert(id.to_vec(), Some(change));
        Ok(())
    }

    pub(crate) fn delete_pending(&self, id: &[u8]) {
        self.changes().pending.insert(id.to_vec(), None);
        self.delete_record(RecordKind::PendingHistory.of(id, b""));
        self.delete_record(RecordKind::PendingJoin.of(id, b""));
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
            if change.hides_store {
                tx.delete_group(id)?;
            }
            if let Some(state) = &change.state {
                let GroupState { serial, meta, heads, tree, same_epoch, snapshot } = state;
                let bytes = GroupRecord::parts_to_bytes(meta, *tree, heads, snapshot)?;
                tx.put_group_state(id, *serial, &bytes)?;
                tx.trim_journal(id, *serial, *same_epoch)?;
            }
            if let Some(tree) = &change.tree {
                for (part, nodes) in &tree.parts {
                    tx.put_group_tree_part(id, *part, nodes)?;
                }
                tx.trim_group_tree(id, tree.count)?;
            }
            for entry in &change.journal {
                tx.append_to_journal(id, entry)?;
            }
            for (epoch, secrets) in &change.epochs {
                tx.put_group_epoch(id, *epoch, &epoch_to_bytes(secrets)?)?;
            }
            if let (Some(newest), Some(state)) = (change.epochs.keys().next_back(), &change.state) {
                let kept = u64::from(state.meta.prior_epochs.max(1));
                let oldest = newest.saturating_add(1).saturating_sub(kept);
                tx.delete_group_epochs_below(id, oldest)?;
            }
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

impl StoredGroup {
    fn read(tx: &ReadTx<'_>, id: &[u8]) -> Result<Option<Self>> {
        let Some(stored) = tx.group_state(id)? else { return Ok(None) };
        let record = GroupRecord::from_bytes(&stored.state)?;
        let tree = match record.tree {
            Some(digest) => Some((digest, StoredTree { parts: tx.group_tree(id)? })),
            None => None,
        };
        Ok(Some(Self {
            meta: record.meta,
            heads: record.heads,
            snapshot: record.snapshot,
            tree,
            serial: stored.serial,
            journal: tx.journal(id)?,
        }))
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overlay")
    }
}
