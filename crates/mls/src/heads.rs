//! How far each sender has come, and so which message keys are still owed to late messages.
//!
//! The library keeps every key that was skipped, and skips 1024 at most. How many may be late, and how far a sender may
//! run ahead, is configuration here: a message that is later is refused, and the keys of such messages are deleted.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use crate::{
    EngineError, Result,
    record::{EpochHeads, GroupMeta, SenderHead},
};

/// The next generation of each sender's application ratchet, by epoch and leaf.
#[derive(Clone, Default)]
pub(crate) struct Heads {
    epochs: BTreeMap<u64, HashMap<u32, u32>>,
}

impl Heads {
    pub(crate) fn from_records(records: Vec<EpochHeads>) -> Self {
        let senders =
            |epoch: EpochHeads| epoch.senders.into_iter().map(|head| (head.leaf, head.next)).collect();
        Self { epochs: records.into_iter().map(|epoch| (epoch.epoch, senders(epoch))).collect() }
    }

    pub(crate) fn to_records(&self) -> Vec<EpochHeads> {
        let epoch = |(epoch, senders): (&u64, &HashMap<u32, u32>)| {
            let mut senders: Vec<_> =
                senders.iter().map(|(leaf, next)| SenderHead { leaf: *leaf, next: *next }).collect();
            senders.sort_unstable_by_key(|head| head.leaf);
            EpochHeads { epoch: *epoch, senders }
        };
        self.epochs.iter().map(epoch).collect()
    }

    /// Whether a message of this generation is neither too late nor too far ahead.
    pub(crate) fn check(&self, meta: &GroupMeta, epoch: u64, leaf: u32, generation: u32) -> Result<()> {
        let known = self.epochs.get(&epoch).and_then(|senders| senders.get(&leaf)).copied();
        let next = match known {
            Some(next) => next,
            // A store of the first version did not count.
            None if epoch < meta.heads_since => return Ok(()),
            None => 0,
        };
        let tolerance = meta.out_of_order_tolerance;
        if generation < next && next - 1 - generation > tolerance {
            return Err(EngineError::TooLate { generation, newest: next - 1, tolerance });
        }
        let max = meta.maximum_forward_distance;
        if generation > next && generation - next > max {
            return Err(EngineError::TooFarAhead { generation, max });
        }
        Ok(())
    }

    /// Notes a message that was read. What is returned are the generations whose keys nobody may claim any more.
    pub(crate) fn advance(&mut self, meta: &GroupMeta, epoch: u64, leaf: u32, generation: u32) -> Range<u32> {
        let next = self.epochs.entry(epoch).or_default().entry(leaf).or_insert(0);
        if generation < *next {
            return 0..0;
        }
        let tolerance = meta.out_of_order_tolerance;
        let from = next.saturating_sub(1).saturating_sub(tolerance);
        *next = generation.saturating_add(1);
        from..generation.saturating_sub(tolerance)
    }

    /// Forgets the epochs before this one.
    pub(crate) fn forget_before(&mut self, epoch: u64) {
        self.epochs = self.epochs.split_off(&epoch);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::MlsCustomConfiguration;

    fn meta() -> GroupMeta {
        GroupMeta::new(&MlsCustomConfiguration::default(), 0)
    }

    #[test]
    fn two_messages_may_be_late_and_a_thousand_missing() {
        let (meta, mut heads) = (meta(), Heads::default());
        assert!(heads.check(&meta, 1, 0, 1000).is_ok());
        assert!(matches!(
            heads.check(&meta, 1, 0, 1001),
            Err(EngineError::TooFarAhead { generation: 1001, max: 1000 })
        ));
        assert_eq!(heads.advance(&meta, 1, 0, 9), 0..7);
        for late in [7, 8] {
            assert!(heads.check(&meta, 1, 0, late).is_ok(), "{late}");
        }
        assert!(matches!(
            heads.check(&meta, 1, 0, 6),
            Err(EngineError::TooLate { generation: 6, newest: 9, tolerance: 2 })
        ));
        assert_eq!(heads.advance(&meta, 1, 0, 7), 0..0, "a late message frees nothing");
        assert_eq!(heads.advance(&meta, 1, 0, 10), 7..8);
        assert!(heads.check(&meta, 2, 0, 0).is_ok(), "each epoch counts anew");
        assert!(heads.check(&meta, 1, 1, 0).is_ok(), "each sender counts by itself");
    }

    #[test]
    fn what_is_stored_is_read() {
        let (meta, mut heads) = (meta(), Heads::default());
        for (epoch, leaf, generation) in [(1, 5, 7), (2, 5, 0), (2, 3, 1)] {
            heads.advance(&meta, epoch, leaf, generation);
        }
        let records = heads.to_records();
        assert_eq!(Heads::from_records(records.clone()).to_records(), records);
        heads.forget_before(2);
        assert_eq!(heads.to_records().len(), 1);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let (mut meta, mut heads) = (meta(), Heads::default());
        meta.heads_since = 5;
        assert!(heads.check(&meta, 4, 0, u32::MAX).is_ok(), "nobody counted then");
        heads.advance(&meta, 4, 0, u32::MAX);
        assert!(heads.check(&meta, 4, 0, u32::MAX).is_ok());
        assert!(heads.check(&meta, 4, 0, 0).is_err());
        assert!(heads.check(&meta, 5, 0, u32::MAX).is_err());
    }
}
