//! The hash table: from three bytes of a hint to whose it is.
//!
//! It is in 256 parts, by the first byte of the hint. So that byte needs no place, a table that grows moves a small part of its entries at a time, and
//! several threads fill it.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashTable;

use super::super::{Hint, ratcheted::Kind};

/// From hints to entries. What is not exact is: an entry is found by 24 bits, and the caller computes the whole hint.
pub(super) struct Index {
    /// As many as a byte has values.
    parts: Box<[HashTable<Slot>]>,
    len: usize,
}

/// An index that several threads fill.
pub(super) struct Building(Box<[Mutex<HashTable<Slot>>]>);

/// Entries that one thread has ready, by their parts: so that a part is taken once for all of them.
pub(super) struct Batch(Box<[Vec<Slot>]>);

const PARTS: usize = 256;

/// Whose hint it is: the sender's slot, the kind, and the generation modulo 64. No more than 64 generations of a chain are
/// expected at a time, from 32 behind the next one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u32);

/// The second and the third byte of a hint, and an entry. Bytes, and not numbers, so that there are six of them and not eight.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot {
    mark: [u8; 2],
    entry: [u8; 4],
}

impl Entry {
    /// As many as can be told apart.
    pub(super) const MAX_SENDERS: usize = 1 << 25;

    pub(super) fn new(sender: u32, kind: Kind, generation: u32) -> Self {
        let kind = u32::try_from(kind.index()).unwrap_or(0);
        Self((sender << 7) | (kind << 6) | (generation % 64))
    }

    pub(super) const fn sender(self) -> u32 {
        self.0 >> 7
    }

    pub(super) const fn kind(self) -> Kind {
        if self.0 & 64 == 0 { Kind::Application } else { Kind::Handshake }
    }

    /// The generation, of those that are at most 32 behind this one and less than 32 ahead.
    pub(super) const fn generation(self, next: u32) -> u32 {
        let lowest = next.saturating_sub(32);
        lowest + (self.0 % 64).wrapping_sub(lowest) % 64
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| HashTable::new()).collect(), len: 0 }
    }
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, hint: &Hint, entry: Entry) {
        let (part, slot) = Slot::new(hint, entry);
        slot.insert_into(&mut self.parts[part]);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, hint: &Hint, entry: Entry) {
        let (part, slot) = Slot::new(hint, entry);
        if let Ok(found) = self.parts[part].find_entry(spread(slot.mark), |other| *other == slot) {
            found.remove();
            self.len -= 1;
        }
    }

    /// What `read` makes of the first entry of which it makes something, among those that the hint may be of.
    pub(super) fn find<T>(&self, hint: &Hint, read: impl Fn(Entry) -> Option<T>) -> Option<T> {
        let (part, mark) = divide(hint);
        let mut found = None;
        self.parts[part].find(spread(mark), |slot| {
            if slot.mark == mark {
                found = read(Entry(u32::from_ne_bytes(slot.entry)));
            }
            found.is_some()
        });
        found
    }
}

impl Building {
    /// An index that gets about so many entries more. Hints are random, so each part gets about as many.
    pub(super) fn of(index: Index, more: usize) -> Self {
        let parts = index.parts.into_iter().map(|mut part| {
            part.reserve(more / PARTS, |slot| spread(slot.mark));
            Mutex::new(part)
        });
        Self(parts.collect())
    }

    /// Takes what is in the batch, which is empty afterwards.
    pub(super) fn insert(&self, batch: &mut Batch) {
        for (part, slots) in self.0.iter().zip(&mut batch.0) {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            for slot in slots.drain(..) {
                slot.insert_into(&mut part);
            }
        }
    }

    pub(super) fn done(self) -> Index {
        let parts = self.0.into_iter().map(|part| part.into_inner().unwrap_or_else(PoisonError::into_inner));
        let parts: Box<[_]> = parts.collect();
        Index { len: parts.iter().map(HashTable::len).sum(), parts }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self(vec![Vec::new(); PARTS].into())
    }
}

impl Batch {
    pub(super) fn add(&mut self, hint: &Hint, entry: Entry) {
        let (part, slot) = Slot::new(hint, entry);
        self.0[part].push(slot);
    }
}

impl Slot {
    /// The entry's part, and what is in it.
    fn new(hint: &Hint, Entry(entry): Entry) -> (usize, Self) {
        let (part, mark) = divide(hint);
        (part, Self { mark, entry: entry.to_ne_bytes() })
    }

    fn insert_into(self, part: &mut HashTable<Self>) {
        part.insert_unique(spread(self.mark), self, |slot| spread(slot.mark));
    }
}

/// The part that a hint is in, and by what it is found there.
fn divide(hint: &Hint) -> (usize, [u8; 2]) {
    let [a, b, c, ..] = *hint.as_bytes();
    (a.into(), [b, c])
}

/// Hints are random; what is left to do is to have the bits both at the lower and at the upper end, which the table uses.
fn spread(mark: [u8; 2]) -> u64 {
    u64::from(u16::from_be_bytes(mark)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_whose_it_is() {
        for next in [0, 1, 31, 32, 33, 1000, u32::MAX - 40] {
            for generation in next.saturating_sub(32)..next + 32 {
                for kind in Kind::BOTH {
                    let entry = Entry::new((1 << 25) - 1, kind, generation);
                    assert_eq!(
                        (entry.sender(), entry.kind(), entry.generation(next)),
                        ((1 << 25) - 1, kind, generation)
                    );
                }
            }
        }
    }

    #[test]
    fn hints_with_the_same_beginning_are_told_apart() {
        let mut index = Index::default();
        let hint = |last| Hint::from_bytes([1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        for sender in 0..100 {
            index.insert(&hint(0), Entry::new(sender, Kind::Application, 5));
        }
        let found = index.find(&hint(0), |entry| (entry.sender() == 63).then_some(entry));
        assert_eq!(found, Some(Entry::new(63, Kind::Application, 5)));
        index.remove(&hint(0), Entry::new(63, Kind::Application, 5));
        assert_eq!(index.find(&hint(0), |entry| (entry.sender() == 63).then_some(())), None);
        assert_eq!(index.len(), 99);
        assert_eq!(std::mem::size_of::<Slot>(), 6);
    }
}
