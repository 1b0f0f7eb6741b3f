//! The storage of the MLS library.

use mls_rs::{
    GroupStateStorage, KeyPackageStorage, PreSharedKeyStorage,
    error::IntoAnyError,
    psk::{ExternalPskId, PreSharedKey},
};
use mls_rs_core::{
    group::{EpochRecord, GroupState},
    key_package::KeyPackageData,
};

use super::{Overlay, Secret, groups::GroupState as SnapshotState};
use crate::{MlsCustomConfiguration, record::GroupMeta};

/// Stands for the error that [`Overlay::take_failure`] gives.
#[derive(Debug, thiserror::Error)]
#[error("the storage failed")]
pub(crate) struct StorageFailed;

impl IntoAnyError for StorageFailed {
    fn into_dyn_error(self) -> Result<Box<dyn std::error::Error + Send + Sync>, Self> {
        Ok(Box::new(self))
    }
}

impl GroupStateStorage for Overlay {
    type Error = StorageFailed;

    fn state(&self, group_id: &[u8]) -> Result<Option<Secret>, StorageFailed> {
        if let Some(staged) = self.changes().staged.take() {
            return Ok(Some(staged));
        }
        let group = self.report(self.group(group_id))?;
        Ok(group.map(|group| group.snapshot.into_zeroizing()))
    }

    fn epoch(&self, group_id: &[u8], epoch_id: u64) -> Result<Option<Secret>, StorageFailed> {
        self.report(self.epoch_secrets(group_id, epoch_id))
    }

    fn write(
        &mut self,
        state: GroupState,
        epoch_inserts: Vec<EpochRecord>,
        epoch_updates: Vec<EpochRecord>,
    ) -> Result<(), StorageFailed> {
        let mut changes = self.changes();
        let change = changes.groups.entry(state.id).or_default();
        // What else belongs to it follows by `finish_snapshot`.
        let same_epoch = change.state.as_ref().map_or(!change.hides_store, |state| state.same_epoch);
        change.state = Some(SnapshotState {
            serial: 0,
            meta: GroupMeta::new(&MlsCustomConfiguration::default(), 0),
            heads: Vec::new(),
            tree: None,
            same_epoch,
            snapshot: state.data.into(),
        });
        for record in epoch_inserts.into_iter().chain(epoch_updates) {
            change.epochs.insert(record.id, record.data);
        }
        Ok(())
    }

    fn max_epoch_id(&self, group_id: &[u8]) -> Result<Option<u64>, StorageFailed> {
        self.report(self.newest_epoch(group_id))
    }
}

impl Overlay {
    /// Forgets all but the newest `keep` past epochs of a group, for an overlay that is never written.
    pub(crate) fn prune_epochs(&self, id: &[u8], keep: u16) {
        if let Some(change) = self.changes().groups.get_mut(id) {
            while change.epochs.len() > usize::from(keep.max(1)) {
                change.epochs.pop_first();
            }
        }
    }
}

impl KeyPackageStorage for Overlay {
    type Error = StorageFailed;

    fn delete(&mut self, id: &[u8]) -> Result<(), StorageFailed> {
        self.report(self.consume_key_package(id))
    }

    fn insert(&mut self, id: Vec<u8>, pkg: KeyPackageData) -> Result<(), StorageFailed> {
        self.report(self.insert_key_package(id, &pkg))
    }

    fn get(&self, id: &[u8]) -> Result<Option<KeyPackageData>, StorageFailed> {
        self.report(self.key_package(id))
    }
}

impl PreSharedKeyStorage for Overlay {
    type Error = StorageFailed;

    fn get(&self, id: &ExternalPskId) -> Result<Option<PreSharedKey>, StorageFailed> {
        Ok(self.report(self.psk(id))?.map(PreSharedKey::from))
    }
}
