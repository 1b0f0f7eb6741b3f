//! Values that are named by small numbers.

use rayon::{
    iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator},
    slice::ParallelSliceMut as _,
};

/// How many values lie together.
const CHUNK: usize = 256;

/// Values that are named by small numbers, which are used again. They are never moved, and are wiped where they are, if they wipe themselves when they are
/// dropped: so what they have of keys is in one place, and not in those that they were moved away from.
pub(super) struct Slots<T> {
    /// Each has room for [`CHUNK`] from the start. All but the last are full.
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(super) fn len(&self) -> usize {
        self.places() - self.free.len()
    }

    /// Puts a value into a slot.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            if let Some(place) = self.place(slot) {
                *place = Some(value);
            }
            return slot;
        }
        let slot = u32::try_from(self.places()).expect("senders are limited, and every epoch has one");
        if let Some(chunk) = self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            chunk.push(Some(value));
        } else {
            let mut chunk = Vec::with_capacity(CHUNK);
            chunk.push(Some(value));
            self.chunks.push(chunk);
        }
        slot
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        let (chunk, at) = parts(slot);
        self.chunks.get(chunk)?.get(at)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.place(slot)?.as_mut()
    }

    /// Drops the value in a slot.
    pub(super) fn remove(&mut self, slot: u32) {
        if let Some(place) = self.place(slot).filter(|place| place.is_some()) {
            *place = None;
            self.free.push(slot);
        }
    }

    /// All values for several threads: pieces of them, each with the slot of its first one.
    pub(super) fn par_chunks_mut(&mut self) -> impl ParallelIterator<Item = (u32, &mut Vec<Option<T>>)>
    where
        T: Send,
    {
        let chunks = self.chunks.par_chunks_mut(1).enumerate();
        chunks.flat_map_iter(|(number, chunk)| {
            // No more than there are slots, which `insert` has numbered.
            let first = u32::try_from(number * CHUNK).unwrap_or(u32::MAX);
            chunk.iter_mut().map(move |chunk| (first, chunk))
        })
    }

    /// All values for several threads to read: pieces of them, each with the slot of its first one.
    pub(super) fn par_chunks(&self) -> impl ParallelIterator<Item = (u32, &Vec<Option<T>>)>
    where
        T: Sync,
    {
        // No more than there are slots, which `insert` has numbered.
        let first = |number: usize| u32::try_from(number * CHUNK).unwrap_or(u32::MAX);
        self.chunks.par_iter().enumerate().map(move |(number, chunk)| (first(number), chunk))
    }

    fn place(&mut self, slot: u32) -> Option<&mut Option<T>> {
        let (chunk, at) = parts(slot);
        self.chunks.get_mut(chunk)?.get_mut(at)
    }

    fn places(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * CHUNK + last
    }
}

fn parts(slot: u32) -> (usize, usize) {
    (slot as usize / CHUNK, slot as usize % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a map; and what was removed makes room.
        #[test]
        fn what_is_in_a_slot_stays_there(steps in proptest::collection::vec(0_u32..4, 0..2000)) {
            let mut slots = Slots::default();
            let mut model = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                if let Some(slot) = model.keys().nth(number % model.len().max(1)).copied().filter(|_| step == 0) {
                    slots.remove(slot);
                    slots.remove(slot);
                    model.remove(&slot);
                } else {
                    let slot = slots.insert(number);
                    prop_assert_eq!(model.insert(slot, number), None);
                    prop_assert!((slot as usize) <= model.len() + number);
                }
                prop_assert_eq!(slots.len(), model.len());
            }
            prop_assert!(model.iter().all(|(slot, value)| slots.get(*slot) == Some(value)));
            let mut seen = BTreeMap::new();
            let each = slots.par_chunks_mut().map(|(first, chunk)| (first, chunk.clone())).collect::<Vec<_>>();
            for (first, chunk) in each {
                seen.extend((first..).zip(chunk).filter_map(|(slot, value)| Some((slot, value?))));
            }
            prop_assert_eq!(&seen, &model);
            let each = slots.par_chunks().map(|(first, chunk)| (first, chunk.clone())).collect::<Vec<_>>();
            let each = each.into_iter().flat_map(|(first, chunk)| (first..).zip(chunk));
            let seen: BTreeMap<_, _> = each.filter_map(|(slot, value)| Some((slot, value?))).collect();
            prop_assert_eq!(seen, model);
        }
    }
}
