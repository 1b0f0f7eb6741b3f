//! The conversations' states: snapshots, ratchet trees, journals and the secrets of past epochs.

use std::collections::BTreeMap;

use tertulia_store::{JournalEntry, ReadTx, Store, WriteTx};

use super::{Overlay, Secret};
use crate::{
    ConversationId, Result,
    long_secret::LongSecret,
    record::{EpochHeads, GroupMeta, GroupRecord, epoch_from_bytes, epoch_to_bytes},
    tree::{StoredTree, TreeChange, TreeDigest},
};

#[derive(Default)]
pub(super) struct GroupChange {
    /// What the store has of the group does not count any more.
    pub(super) hides_store: bool,
    /// None with `hides_store` means that the group is deleted.
    pub(super) state: Option<GroupState>,
    pub(super) tree: Option<TreeChange>,
    pub(super) journal: Vec<JournalEntry>,
    pub(super) epochs: BTreeMap<u64, Secret>,
}

/// A snapshot with what belongs to it.
#[derive(Clone)]
pub(super) struct GroupState {
    /// That of the newest journal entry that the snapshot contains.
    pub(super) serial: u64,
    pub(super) meta: GroupMeta,
    pub(super) heads: Vec<EpochHeads>,
    /// That of the tree beside the snapshot, if it is not in it.
    pub(super) tree: Option<TreeDigest>,
    /// Whether the epoch is the same as in the snapshot before.
    pub(super) same_epoch: bool,
    pub(super) snapshot: LongSecret,
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

impl Overlay {
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

    pub(super) fn epoch_secrets(&self, id: &[u8], epoch: u64) -> Result<Option<Secret>> {
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

    pub(super) fn newest_epoch(&self, id: &[u8]) -> Result<Option<u64>> {
        let (changed, hides_store) = match self.changes().groups.get(id) {
            Some(change) => (change.epochs.keys().next_back().copied(), change.hides_store),
            None => (None, false),
        };
        if hides_store {
            return Ok(changed);
        }
        Ok(changed.max(self.stored(|tx| tx.max_group_epoch(id))?))
    }
}

impl GroupChange {
    /// Writes it, keeping as many past epochs as the group is to have.
    pub(super) fn apply(&self, id: &[u8], tx: &mut WriteTx<'_>) -> Result<()> {
        if self.hides_store {
            tx.delete_group(id)?;
        }
        if let Some(state) = &self.state {
            let GroupState { serial, meta, heads, tree, same_epoch, snapshot } = state;
            let bytes = GroupRecord::parts_to_bytes(meta, *tree, heads, snapshot)?;
            tx.put_group_state(id, *serial, &bytes)?;
            tx.trim_journal(id, *serial, *same_epoch)?;
        }
        if let Some(tree) = &self.tree {
            for (part, nodes) in &tree.parts {
                tx.put_group_tree_part(id, *part, nodes)?;
            }
            tx.trim_group_tree(id, tree.count)?;
        }
        for entry in &self.journal {
            tx.append_to_journal(id, entry)?;
        }
        for (epoch, secrets) in &self.epochs {
            tx.put_group_epoch(id, *epoch, &epoch_to_bytes(secrets)?)?;
        }
        if let (Some(newest), Some(state)) = (self.epochs.keys().next_back(), &self.state) {
            let kept = u64::from(state.meta.prior_epochs.max(1));
            let oldest = newest.saturating_add(1).saturating_sub(kept);
            tx.delete_group_epochs_below(id, oldest)?;
        }
        Ok(())
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
