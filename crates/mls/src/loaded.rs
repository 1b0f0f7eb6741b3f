//! A group in memory, and what of it is on disk.
//!
//! A snapshot of a group costs O(group), so there is one per epoch and now and then. Between two of them the message keys
//! that were used up are noted in the *journal*, an entry a message; loading a group is reading the snapshot and using up
//! these keys again. The ratchet tree, most of a snapshot, is written beside it and only when it has changed.
//!
//! The library may leave a group half changed when it refuses a message: the key of a corrupted ciphertext is used up, and
//! the genuine one could not be read any more. A copy of the group for each message would cost O(group) too. Instead the
//! group is loaded again after an error. So the price is paid by the errors.

use mls_rs::{
    MlsMessage,
    error::MlsError,
    group::{ExportedTree, ReceivedMessage},
};
use tertulia_store::JournalEntry;

use crate::{
    ClientId, EngineError, Result, SessionConfig,
    error::Opaque,
    heads::Heads,
    identity::client_id_of,
    key_package::MAX_LIFETIME,
    overlay::{FinishedSnapshot, Overlay, StoredGroup},
    provider::{self, MlsGroup},
    record::GroupMeta,
    sent::{ContentDigest, OwnMessage, Sent, SentDigest, verify},
    tree::{PartDigests, StoredTree},
};

/// Most journal entries before the next snapshot.
pub(crate) const MAX_ENTRIES: u32 = 256;

/// For how many past epochs the numbers of the senders are kept. Messages of older ones are not read any more.
const KEPT_HEADS: u64 = 16;

/// A group, and where its journal and its snapshot stand.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) group: MlsGroup,
    pub(crate) meta: GroupMeta,
    heads: Heads,
    /// The messages that this device has sent in `sent_epoch`, which is the epoch of the journal.
    sent: Sent,
    sent_epoch: u64,
    /// The number of the newest journal entry or snapshot.
    serial: u64,
    /// Journal entries since the snapshot.
    entries: u32,
    /// The epoch whose tree is written beside the snapshot.
    tree_epoch: Option<u64>,
    /// Those of its parts.
    stored_tree: PartDigests,
    /// Length of the encoded tree, by which the size in memory is estimated.
    tree_bytes: usize,
    /// Whether the store does not have all of it yet.
    changed: bool,
    /// Whether the buffer has been looked through for what its epoch frees.
    pub(crate) has_replayed: bool,
}

impl Loaded {
    /// Loads a conversation, if there is one with this id.
    pub(crate) fn load(id: &[u8], overlay: &Overlay, config: &SessionConfig) -> Result<Option<Self>> {
        let Some(stored) = overlay.group(id)? else { return Ok(None) };
        let StoredGroup { meta, heads, snapshot, tree, serial, journal } = stored;
        let stored_tree = match &tree {
            Some((digest, tree)) => tree.checked(*digest)?,
            None => PartDigests::default(),
        };
        let client = provider::client(overlay, config, &meta, None, MAX_LIFETIME);
        overlay.stage_snapshot(snapshot);
        let group = match &tree {
            Some((_, tree)) => ExportedTree::from_bytes(&tree.to_bytes()?)
                .and_then(|tree| client.load_group_with_ratchet_tree(id, tree)),
            None => client.load_group(id),
        };
        let group = group.map_err(|error| match overlay.take_failure() {
            Some(failure) => failure,
            None => damaged(Some(Box::new(error))),
        })?;
        let epoch = group.current_epoch();
        let mut loaded = Self {
            tree_epoch: tree.as_ref().map(|_| epoch),
            tree_bytes: tree.map_or_else(|| group.export_tree().byte_size(), |(_, tree)| tree.size()),
            stored_tree,
            group,
            meta,
            heads: Heads::from_records(heads),
            sent: Sent::default(),
            sent_epoch: epoch,
            serial,
            entries: 0,
            changed: false,
            has_replayed: false,
        };
        // A store of the first version did not count in this epoch.
        loaded.meta.heads_since = loaded.meta.heads_since.min(epoch + 1);
        loaded.replay(journal)?;
        Ok(Some(loaded))
    }

    /// A new group, which is not in the overlay yet.
    pub(crate) fn new(group: MlsGroup, meta: GroupMeta, serial: u64) -> Self {
        Self {
            sent_epoch: group.current_epoch(),
            group,
            meta,
            heads: Heads::default(),
            sent: Sent::default(),
            serial,
            entries: 0,
            tree_epoch: None,
            stored_tree: PartDigests::default(),
            tree_bytes: 0,
            changed: true,
            has_replayed: false,
        }
    }

    /// Uses up the keys that were used up since the snapshot.
    fn replay(&mut self, journal: Vec<JournalEntry>) -> Result<()> {
        let again = |error: MlsError| damaged(Some(Box::new(error)));
        let own = self.group.current_member_index();
        for entry in journal {
            if let Some(digest) = entry.digest.as_deref().and_then(SentDigest::from_bytes) {
                self.sent.remember(digest);
            }
            if entry.serial <= self.serial {
                continue;
            }
            self.serial = entry.serial;
            self.entries += 1;
            if entry.leaf == own {
                let next = self.group.peek_next_key_generation().map_err(again)?;
                // There are not more than entries; a larger number is damage.
                if entry.generation.saturating_sub(next) > MAX_ENTRIES {
                    return Err(damaged(None));
                }
                for _ in next..=entry.generation {
                    self.group.next_encryption_key().map_err(again)?;
                }
            } else {
                self.use_up(entry.leaf, entry.generation).map_err(again)?;
                let epoch = self.group.current_epoch();
                self.advance(epoch, entry.leaf, entry.generation);
            }
        }
        Ok(())
    }

    /// Whether a message that was just decrypted is neither too late nor too far ahead. If it is, the group must be loaded
    /// again.
    pub(crate) fn check_generation(&self, epoch: u64, leaf: u32, generation: u32) -> Result<()> {
        self.heads.check(&self.meta, epoch, leaf, generation)
    }

    /// Notes that a message was decrypted with the key of this generation.
    pub(crate) fn note_received(
        &mut self,
        overlay: &Overlay,
        epoch: u64,
        leaf: u32,
        generation: u32,
    ) -> Result<()> {
        self.advance(epoch, leaf, generation);
        if epoch == self.group.current_epoch() {
            self.append(overlay, leaf, generation, None)
        } else {
            // The keys of past epochs are not in the snapshot; the library writes those that have changed along with it.
            self.snapshot(overlay)
        }
    }

    /// Notes that this message, which has this content, was encrypted with the key of this generation.
    pub(crate) fn note_sent(
        &mut self,
        overlay: &Overlay,
        generation: u32,
        message: &[u8],
        content: ContentDigest,
    ) -> Result<()> {
        let digest = SentDigest::new(message, content);
        // Entries with a digest stay in the journal for as long as the epoch lasts.
        let kept = self.sent.remember(digest).then(|| digest.to_bytes());
        let own = self.group.current_member_index();
        self.append(overlay, own, generation, kept)
    }

    /// Whether this device remembers that it has sent this message in this epoch.
    pub(crate) fn has_sent(&self, message: &[u8]) -> bool {
        // In a store of the first version it must be believed.
        self.sent.has(message) || self.group.current_epoch() < self.meta.heads_since
    }

    /// Whether a message of this epoch that names this device as its sender is proof that another copy of the store is in
    /// use. A content that was sent before is no proof: any member can encrypt it once more, with its signature.
    pub(crate) fn is_of_a_copy(&self, message: &[u8]) -> bool {
        match verify(&self.group, message) {
            OwnMessage::Signed(content) => !self.sent.has_content(content),
            OwnMessage::Unproven => false,
        }
    }

    fn append(
        &mut self,
        overlay: &Overlay,
        leaf: u32,
        generation: u32,
        digest: Option<Vec<u8>>,
    ) -> Result<()> {
        self.serial += 1;
        self.entries += 1;
        self.changed = true;
        let entry = JournalEntry { serial: self.serial, leaf, generation, digest };
        overlay.append_to_journal(self.group.group_id(), entry);
        if self.entries >= MAX_ENTRIES { self.snapshot(overlay) } else { Ok(()) }
    }

    /// Notes how far a sender of this epoch has come, and deletes the keys of messages that would come too late.
    fn advance(&mut self, epoch: u64, leaf: u32, generation: u32) {
        let obsolete = self.heads.advance(&self.meta, epoch, leaf, generation);
        if epoch == self.group.current_epoch() {
            for generation in obsolete {
                // Most of them are used up already, which is the error.
                drop(self.use_up(leaf, generation));
            }
        }
    }

    /// Uses up a key of this epoch: to derive it is to delete it.
    fn use_up(&mut self, leaf: u32, generation: u32) -> Result<(), MlsError> {
        // The library wants the index of the leaf's node in the tree, not that of the leaf (RFC 9420, section 4.1.2).
        // One beyond the tree, which a damaged journal can name, it would not notice.
        let nodes = self.group.export_tree().nodes().len();
        let node = leaf.checked_mul(2).filter(|node| usize::try_from(*node).is_ok_and(|node| node < nodes));
        let node = node.filter(|_| self.group.member_at_index(leaf).is_some());
        let node = node.ok_or(MlsError::InvalidLeafConsumption)?;
        self.group.derive_decryption_key(node, generation).map(drop)
    }

    /// Writes the group into the overlay if `strict` and keys were used up since the snapshot: they are gone from it then.
    pub(crate) fn flush(&mut self, overlay: &Overlay, strict: bool) -> Result<()> {
        if strict && self.entries > 0 { self.snapshot(overlay) } else { Ok(()) }
    }

    /// Writes the group into the overlay.
    pub(crate) fn snapshot(&mut self, overlay: &Overlay) -> Result<()> {
        let library = |error: MlsError| match overlay.take_failure() {
            Some(failure) => failure,
            None => EngineError::Library(Box::new(error)),
        };
        let epoch = self.group.current_epoch();
        let tree = if self.tree_epoch == Some(epoch) {
            None
        } else {
            Some(StoredTree::of(&self.group.export_tree()).map_err(|error| library(error.into()))?)
        };
        let new_epoch = self.sent_epoch != epoch;
        if new_epoch {
            self.sent_epoch = epoch;
            self.sent.clear();
            self.heads.forget_before(epoch.saturating_sub(KEPT_HEADS));
        }
        self.group.write_to_storage_without_ratchet_tree().map_err(library)?;
        self.serial += 1;
        self.entries = 0;
        self.changed = true;
        let tree_change = tree.map(|tree| {
            self.tree_epoch = Some(epoch);
            self.tree_bytes = tree.size();
            let stored = std::mem::replace(&mut self.stored_tree, tree.digests());
            self.stored_tree.change(tree, &stored)
        });
        overlay.finish_snapshot(
            self.group.group_id(),
            FinishedSnapshot {
                meta: self.meta.clone(),
                heads: self.heads.to_records(),
                serial: self.serial,
                tree: self.stored_tree.of_all(),
                tree_change,
                new_epoch,
            },
        );
        Ok(())
    }

    /// The ratchet tree, encoded as in the extension (RFC 9420, section 12.4.3.3).
    pub(crate) fn tree(&self) -> Result<Vec<u8>> {
        self.group.export_tree().to_bytes().map_err(|error| EngineError::Library(Box::new(error)))
    }

    /// Whether the store does not have all of it yet.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    /// The store has all of it.
    pub(crate) fn written(&mut self) {
        self.changed = false;
    }

    /// The number of the newest thing that was written, which tells whether the store has something newer.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// About how many bytes it takes in memory. A decoded tree takes some three times its encoding.
    pub(crate) fn size(&self) -> usize {
        16 * 1024 + 3 * self.tree_bytes + self.sent.size()
    }

    /// The group as it was before an operation that failed.
    pub(crate) fn restored(self, overlay: &Overlay, config: &SessionConfig) -> Result<Self> {
        let id = self.group.group_id();
        let mut fresh = Self::load(id, overlay, config)?.ok_or_else(|| damaged(None))?;
        fresh.changed = self.changed;
        Ok(fresh)
    }

    /// Decrypts or applies a message. After an error the group must be replaced by [`Self::restored`].
    pub(crate) fn process(
        &mut self,
        message: MlsMessage,
    ) -> Result<ReceivedMessage, mls_rs::error::MlsError> {
        self.group.process_incoming_message(message)
    }

    /// The members, in the order of their leaves.
    pub(crate) fn client_ids(&self) -> Result<Vec<ClientId>> {
        let roster = self.group.roster();
        roster
            .members_iter()
            .map(|member| client_id_of(&member.signing_identity).map_err(EngineError::from))
            .collect()
    }

    /// The members with the numbers of their leaves, in that order.
    pub(crate) fn leaves(&self) -> Result<Vec<(u32, ClientId)>> {
        let roster = self.group.roster();
        let leaf =
            |member: mls_rs::group::Member| Ok((member.index, client_id_of(&member.signing_identity)?));
        roster.members_iter().map(leaf).collect()
    }

    /// This device's identity in the group.
    pub(crate) fn own_client_id(&self) -> Result<ClientId> {
        let identity =
            self.group.current_member_signing_identity().map_err(|error| damaged(Some(Box::new(error))))?;
        client_id_of(identity).map_err(EngineError::from)
    }

    /// Seconds that this device waits before it commits pending proposals.
    pub(crate) fn commit_delay(&self) -> u64 {
        let own = self.group.current_member_index();
        let roster = self.group.roster();
        let (mut place, mut members) = (0, 0);
        for member in roster.members_iter() {
            place += u64::from(member.index < own);
            members += 1;
        }
        delay(place, self.group.current_epoch(), members)
    }
}

/// The wait in `epoch` of the member at place `index`, from 0, among `members`, in seconds: one after the other, ever
/// longer, and another one first in each epoch.
fn delay(index: u64, epoch: u64, members: u64) -> u64 {
    let members = members.max(1);
    match (epoch % members + index % members) % members + 1 {
        1 => 0,
        2 => 15,
        3 => 30,
        position => {
            #[allow(clippy::cast_precision_loss)] // a group has less than 2^24 members
            let wait = (position as f64).ln() * 120.0;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at least 166, at most 1997
            let wait = wait as u64;
            wait.saturating_sub(106)
        }
    }
}

fn damaged(source: Option<Opaque>) -> EngineError {
    EngineError::DamagedState { what: "conversation", source }
}

#[cfg(test)]
mod tests {
    use super::delay;

    #[test]
    fn members_wait_one_after_the_other() {
        let waits: Vec<u64> = (0..6).map(|index| delay(index, 0, 6)).collect();
        assert_eq!(waits, [0, 15, 30, 60, 87, 109]);
        assert_eq!(delay(2, 4, 6), 0, "another member is first in another epoch");
        assert_eq!(delay(0, 0, 0), 0);
        assert_eq!(delay(99, 0, 100), 446);
    }
}
