//! The index of all hints: computed when the table is loaded, and kept as epochs come.

use std::sync::{PoisonError, RwLock};

use rayon::iter::ParallelIterator as _;

use super::{
    Epoch, HINTS, HintTable, Hints, Sender,
    index::{Batch, Building, Entry, Index},
};
use crate::{
    epoch::EpochId,
    hint::{
        Hint, HintError,
        ratcheted::{Chains, Kind},
        record::{EpochRecord, Record},
    },
};

impl HintTable {
    /// Makes the table from its records, as at the start of the program.
    pub fn load<R: AsRef<[u8]>>(mut self, records: impl IntoIterator<Item = R>) -> Result<Self, HintError> {
        let records: Vec<_> =
            records.into_iter().map(|record| Record::decode(record.as_ref())).collect::<Result<_, _>>()?;
        let mut lacks_past = false;
        for record in records {
            let Record { conversation, conversation_type, epochs } = record;
            let last = epochs.len().saturating_sub(1);
            for (at, epoch) in epochs.into_iter().enumerate() {
                let id = EpochId { conversation, conversation_type, epoch: epoch.epoch };
                let slot = self.place(id, epoch)?;
                if let Some(epoch) = self.epochs.get_mut(slot) {
                    epoch.later = at < last;
                    lacks_past |= epoch.later;
                }
            }
        }
        self.index_current(lacks_past);
        Ok(self)
    }

    /// Computes the keys of all senders, and the hints of those of current epochs. Hashing is nearly all of the work, and all cores share it.
    fn index_current(&mut self, lacks_past: bool) {
        let Self { epochs, senders, conversations, .. } = self;
        let last = conversations.values().filter_map(|conversation| epochs.get(*conversation.epochs.last()?));
        let current: usize = last.map(|epoch| epoch.senders.len()).sum();
        // What is late comes on top, and is rare.
        let building = Building::of(Index::default(), current.saturating_mul(HINTS));
        senders.par_chunks_mut().for_each_init(Batch::default, |batch, (first, chunk)| {
            for (slot, sender) in (first..).zip(chunk) {
                let Some(sender) = sender else { continue };
                let Some(epoch) = epochs.get(sender.epoch) else { continue };
                Chains::of(&epoch.secrets).write_keys(sender.at, &mut sender.keys);
                if !epoch.later {
                    sender.hints(slot, |hint, entry| batch.add(&hint, entry));
                }
            }
            building.insert(batch);
        });
        self.index = RwLock::new(Hints { index: building.done(), lacks_past });
    }

    /// Computes the hints of the epochs that were left for later. All cores share that, too.
    pub(super) fn index_past(&self) {
        let mut hints = self.index.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have done it meanwhile.
        if !std::mem::take(&mut hints.lacks_past) {
            return;
        }
        let Self { epochs, senders, .. } = self;
        let is_later = |sender: &Sender| epochs.get(sender.epoch).is_some_and(|epoch| epoch.later);
        let new =
            senders.par_chunks().map(|(_, chunk)| chunk.iter().flatten().filter(|s| is_later(s)).count());
        let building =
            Building::of(std::mem::take(&mut hints.index), new.sum::<usize>().saturating_mul(HINTS));
        senders.par_chunks().for_each_init(Batch::default, |batch, (first, chunk)| {
            for (slot, sender) in (first..).zip(chunk) {
                let Some(sender) = sender.as_ref().filter(|sender| is_later(sender)) else { continue };
                sender.hints(slot, |hint, entry| batch.add(&hint, entry));
            }
            building.insert(batch);
        });
        hints.index = building.done();
    }

    /// Adds an epoch as the current one.
    pub(super) fn add(&mut self, id: EpochId, record: EpochRecord) -> Result<(), HintError> {
        let slot = self.place(id, record)?;
        let Self { index, epochs, senders, .. } = self;
        let Some(epoch) = epochs.get(slot) else { return Ok(()) };
        let Some(index) = index_of(index, epoch) else { return Ok(()) };
        let chains = Chains::of(&epoch.secrets);
        for of_sender in &epoch.senders {
            let Some(sender) = senders.get_mut(*of_sender) else { continue };
            chains.write_keys(sender.at, &mut sender.keys);
            sender.hints(*of_sender, |hint, entry| index.insert(&hint, entry));
        }
        Ok(())
    }
}

/// The index, if it has the hints of this epoch.
pub(super) fn index_of<'a>(hints: &'a mut RwLock<Hints>, epoch: &Epoch) -> Option<&'a mut Index> {
    let Hints { index, lacks_past } = hints.get_mut().unwrap_or_else(PoisonError::into_inner);
    (!epoch.later || !*lacks_past).then_some(index)
}

impl Sender {
    /// All hints that are expected of it, whose slot this is.
    pub(super) fn hints(&self, slot: u32, mut each: impl FnMut(Hint, Entry)) {
        for kind in Kind::BOTH {
            let chain = self.keys.chain(kind);
            for generation in self.lanes[kind.index()].expected(kind.window()) {
                each(chain.hint(generation), Entry::new(slot, kind, generation));
            }
        }
    }
}
